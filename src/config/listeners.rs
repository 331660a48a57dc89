//! `server.listen`: addresses as text, or as tables that say what is spoken there.

use std::ops::Range;
use std::path::Path;

use super::address::{clash, listen_address};
use super::reader::{Field, Section};
use crate::server::{ListenAddress, ListenerSettings};

const DEFAULT: &str = "127.0.0.1:8080";

/// What was found.
pub(super) struct Listeners {
    /// At least one, unless there are problems.
    pub(super) settings: Vec<ListenerSettings>,
    /// Where `proxy_protocol` is on for clients that have an address.
    pub(super) needs_proxies: Option<Range<usize>>,
}

/// The public listeners.
pub(super) fn read(section: &mut Section<'_>, base: &Path) -> Listeners {
    let mut found = Listeners { settings: Vec::new(), needs_proxies: None };
    let Some(field) = section.take("listen") else {
        found.settings = listen_address(DEFAULT, base).into_iter().map(ListenerSettings::plain).collect();
        return found;
    };
    if field.list_is_empty() {
        field.error("`server.listen` is empty", format!("for example [{DEFAULT:?}]"));
    }
    for entry in field.list().unwrap_or_default() {
        let Some(listener) = one(&entry, base) else { continue };
        if found.settings.iter().any(|other| clash(&other.address, &listener.address)) {
            entry.error(format!("\"{}\" is listened on twice", listener.address), "take one out");
        }
        if listener.proxy_protocol {
            found.needs_proxies.get_or_insert(entry.span());
        }
        found.settings.push(listener);
    }
    found
}

fn one(entry: &Field<'_>, base: &Path) -> Option<ListenerSettings> {
    if !entry.is_table() {
        let text = entry.expect("an address, or a table with one", entry.as_text())?;
        return address(entry, text, base).map(ListenerSettings::plain);
    }
    let mut table = entry.table()?;
    let field = table.require("address", "for example address = \"0.0.0.0:443\"");
    let address = field.and_then(|f| f.text().and_then(|text| address(&f, text, base)));
    let mut switch = |key| table.take(key).and_then(|f| f.boolean()).unwrap_or(false);
    let (tls, proxy_protocol, h2c) = (switch("tls"), switch("proxy_protocol"), switch("h2c"));
    let to_https = switch("redirect_to_https");
    let port = table.take("https_port").and_then(|f| f.number(1..=65535)).and_then(|n| u16::try_from(n).ok());
    table.finish();
    if tls && h2c {
        let what = "`h2c` is HTTP/2 without TLS, and this listener has `tls`";
        entry.error(what, "take `h2c` out: with TLS, HTTP/2 is offered anyway (tls.http2)");
    }
    if tls && to_https {
        let what = "`redirect_to_https` on a listener that is https already";
        entry.error(what, "put it on the listener of plain HTTP");
    }
    let to_https = to_https.then_some(port.unwrap_or(443));
    Some(ListenerSettings { address: address?, tls, proxy_protocol, h2c, to_https })
}

/// An address to listen on.
pub(super) fn address(field: &Field<'_>, text: &str, base: &Path) -> Option<ListenAddress> {
    let mend = "write \"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/run/fluidgate.sock\" or \"systemd:NAME\"";
    if text.is_empty() {
        field.error(format!("`{}` has an empty entry", field.name), mend);
        return None;
    }
    listen_address(text, base).map_err(|what| field.error(what, mend)).ok()
}
