//! `server.listen`: addresses as text, or as tables that say what is spoken there.

use std::path::Path;

use super::address::{clash, listen_address};
use super::reader::{Field, Section};
use crate::server::{ListenAddress, ListenerSettings};

const DEFAULT: &str = "127.0.0.1:8080";

/// The public listeners; at least one, unless there are problems.
pub(super) fn read(section: &mut Section<'_>, base: &Path) -> Vec<ListenerSettings> {
    let Some(field) = section.take("listen") else {
        return listen_address(DEFAULT, base).into_iter().map(ListenerSettings::plain).collect();
    };
    if field.list_is_empty() {
        field.error("`server.listen` is empty", format!("for example [{DEFAULT:?}]"));
    }
    let mut listen: Vec<ListenerSettings> = Vec::new();
    for entry in field.list().unwrap_or_default() {
        let Some(listener) = one(&entry, base) else { continue };
        if listen.iter().any(|other| clash(&other.address, &listener.address)) {
            entry.error(format!("\"{}\" is listened on twice", listener.address), "take one out");
        }
        listen.push(listener);
    }
    listen
}

fn one(entry: &Field<'_>, base: &Path) -> Option<ListenerSettings> {
    if !entry.is_table() {
        let text = entry.expect("an address, or a table with one", entry.as_text())?;
        return address(entry, text, base).map(ListenerSettings::plain);
    }
    let mut table = entry.table()?;
    let field = table.require("address", "for example address = \"0.0.0.0:443\"");
    let address = field.and_then(|f| f.text().and_then(|text| address(&f, text, base)));
    let tls = table.take("tls").and_then(|f| f.boolean()).unwrap_or(false);
    table.finish();
    Some(ListenerSettings { address: address?, tls })
}

/// An address to listen on.
pub(super) fn address(field: &Field<'_>, text: &str, base: &Path) -> Option<ListenAddress> {
    let mend = "write \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/fluidgate.sock\"";
    if text.is_empty() {
        field.error(format!("`{}` has an empty entry", field.name), mend);
        return None;
    }
    listen_address(text, base).map_err(|what| field.error(what, mend)).ok()
}
