//! `request_headers` and `response_headers` of a route: fields to take out, set and add, and those that must be left alone.

use std::ops::Range;

use http::{HeaderName, HeaderValue};

use super::reader::{Field, Section};
use crate::gateway::header_rules::HeaderRules;
use crate::gateway::identity_headers::fold;

/// Which way the message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// A name that a rule touches, and where it stands.
pub(super) type Touched = (HeaderName, Range<usize>);

/// The rules below `key`; every name in them goes to `touched`, to be held against the identity headers of all routes.
pub(super) fn read(
    section: &mut Section<'_>,
    key: &'static str,
    direction: Direction,
    touched: &mut Vec<Touched>,
) -> HeaderRules {
    let Some(mut table) = section.take(key).and_then(|field| field.table()) else {
        return HeaderRules::default();
    };
    let mut pairs = |key| {
        let entries = table.take(key).and_then(|field| field.entries()).unwrap_or_default();
        entries
            .into_iter()
            .filter_map(|(name, span, field)| {
                if direction == Direction::Request {
                    // Credentials for an upstream may stand here.
                    field.mask();
                }
                let name = named(&field, name, span, direction, true, touched)?;
                Some((name, value(&field)?))
            })
            .collect::<Vec<_>>()
    };
    let (set, add) = (pairs("set"), pairs("add"));
    let names = table.take("remove").and_then(|field| field.texts()).unwrap_or_default();
    let remove = names
        .into_iter()
        .filter_map(|(field, text)| named(&field, text, field.span(), direction, false, touched))
        .collect();
    table.finish();
    HeaderRules { remove, set, add }
}

fn named(
    field: &Field<'_>,
    text: &str,
    span: Range<usize>,
    direction: Direction,
    writes: bool,
    touched: &mut Vec<Touched>,
) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        field.error_at(
            span,
            format!("{text:?} is not a header name"),
            "letters, digits and -, such as \"X-App\"",
        );
        return None;
    };
    if let Some((why, mend)) = refusal(name.as_str(), direction, writes) {
        field.error_at(span, format!("{text:?} cannot be changed by a route: {why}"), mend);
        return None;
    }
    touched.push((name.clone(), span));
    Some(name)
}

/// Why a name is none of a route's business, and what to do about it. Of a request's field a rule changes every spelling, so that
/// one stands for all.
fn refusal(name: &str, direction: Direction, writes: bool) -> Option<(&'static str, &'static str)> {
    let folded: String = name.bytes().map(fold).map(char::from).collect();
    let name = if direction == Direction::Request { &folded } else { name };
    match name {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade"
        | "http2-settings" | "expect" | "proxy" => {
            Some(("it belongs to one connection", "take it out; the gateway sees to it"))
        }
        _ if name.starts_with("proxy-") => {
            Some(("it belongs to one connection", "take it out; the gateway sees to it"))
        }
        "content-length" => Some(("it frames the message", "take it out; the gateway sees to it")),
        "host" if direction == Direction::Request => {
            Some(("it says whom the request is for", "use host_header"))
        }
        "via" | "x-request-id" => Some(("it traces the request", "take it out; the gateway sets it")),
        "cookie" if writes => Some(("sessions travel in it", "let the client send its cookies")),
        "set-cookie" if writes => Some(("sessions are kept by it", "let the app set its cookies")),
        _ if name.starts_with("sec-websocket-") => {
            Some(("it belongs to a handshake", "take it out; both sides agree by it"))
        }
        _ => None,
    }
}

fn value(field: &Field<'_>) -> Option<HeaderValue> {
    let text = field.text()?;
    if let Ok(value) = HeaderValue::from_str(text) {
        return Some(value);
    }
    field.error(
        format!("`{}` has a value that no header can have", field.name),
        "visible characters and spaces",
    );
    None
}
