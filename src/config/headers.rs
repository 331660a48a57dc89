//! `headers` of a route: a preset, or own names that cannot break a request.

use http::HeaderName;

use super::reader::{Field, Section};
use crate::gateway::HeaderPreset;

/// Names that frame, route or authorise a message, or that the gateway writes itself.
const TAKEN: [&str; 31] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A preset's name, or a table of own names.
pub(super) fn read(field: &Field<'_>) -> Option<HeaderPreset> {
    if !field.is_table() {
        field.expect("the name of a preset, or { user = \"X-User\" }", field.as_text())?;
        let presets = [("remote", 'r'), ("x-forwarded", 'f'), ("x-auth-request", 'a'), ("none", 'n')];
        return field.word(&presets).map(|preset| match preset {
            'r' => HeaderPreset::Remote,
            'f' => HeaderPreset::XForwarded,
            'a' => HeaderPreset::XAuthRequest,
            _ => HeaderPreset::None,
        });
    }
    let mut table = field.table()?;
    let mut seen = Vec::new();
    let user = name(&mut table, "user", &mut seen);
    let display = name(&mut table, "name", &mut seen);
    let email = name(&mut table, "email", &mut seen);
    let groups = name(&mut table, "groups", &mut seen);
    table.finish();
    if seen.is_empty() {
        field.error("`headers` names no header", "write headers = \"none\" if none is meant");
    }
    Some(HeaderPreset::Own { user, name: display, email, groups })
}

fn name(table: &mut Section<'_>, key: &'static str, seen: &mut Vec<HeaderName>) -> Option<HeaderName> {
    let field = table.take(key)?;
    let text = field.text()?;
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        field
            .error(format!("{text:?} is not a header name"), "letters, digits and -, for example \"X-User\"");
        return None;
    };
    if TAKEN.contains(&name.as_str()) {
        let what = format!("{text:?} has a meaning of its own and cannot carry an identity");
        field.error(what, "take another name, for example \"X-User\"");
    } else if !name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let what = format!("{text:?} can be confused with another header: many servers read _ and . as -");
        field.error(what, "use letters, digits and - alone");
    } else if seen.contains(&name) {
        field.error(format!("{text:?} is used twice"), "give every attribute a header of its own");
    }
    seen.push(name.clone());
    Some(name)
}
