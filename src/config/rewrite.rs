//! `strip_prefix`, `replace_prefix` and `host_header` of a route: what the upstream sees another way than the client.

use http::HeaderValue;

use super::matching::Matching;
use super::reader::{Field, Section};
use super::server::path_prefix;
use crate::gateway::rewrite::{HostHeader, PathRewrite};
use crate::web::host::Host;

/// The exchange of the route's prefix, if it has one.
pub(super) fn path(section: &mut Section<'_>, matching: Option<&Matching>) -> Option<PathRewrite> {
    let strip = section.take("strip_prefix");
    let replace = section.take("replace_prefix");
    let stripped = strip.as_ref().and_then(Field::boolean).unwrap_or(false);
    let replacement = match (&strip, &replace) {
        (Some(strip), Some(_)) if stripped => {
            strip.error(
                "`strip_prefix` and `replace_prefix` stand together",
                "replace_prefix alone does both",
            );
            return None;
        }
        (_, Some(replace)) => replacement(replace, matching)?,
        (Some(strip), None) if stripped => {
            if matching.is_some_and(|matching| matching.path == "/") {
                strip.error("this route has the path \"/\", so there is no prefix to strip", "take it out");
                return None;
            }
            "/".to_owned()
        }
        _ => return None,
    };
    let matching = matching?;
    Some(PathRewrite::new(&matching.path, matching.exact, &replacement))
}

fn replacement(field: &Field<'_>, matching: Option<&Matching>) -> Option<String> {
    let text = field.text()?;
    let mut path = path_prefix(text)
        .map_err(|what| field.error(format!("{text:?} is not a path: {what}"), "for example \"/app\""))
        .ok()?;
    let exact = matching.is_some_and(|matching| matching.exact);
    if exact && text.len() > 1 && text.ends_with('/') {
        path.push('/');
    }
    if matching.is_some_and(|matching| matching.path == path) {
        field.warn("the prefix is replaced by itself", "take it out");
    }
    Some(path)
}

/// The Host that the upstream gets.
pub(super) fn host(section: &mut Section<'_>) -> HostHeader {
    let Some(field) = section.take("host_header") else { return HostHeader::Pass };
    match field.text() {
        Some("upstream") => HostHeader::Upstream,
        Some("pass") | None => HostHeader::Pass,
        Some(name) => match (Host::parse(name), HeaderValue::from_str(name)) {
            (Ok(_), Ok(value)) => HostHeader::Named(value),
            _ => {
                let what = format!("{name:?} is not a host");
                field.error(what, "\"pass\", \"upstream\", or a host such as \"app.example.com\"");
                HostHeader::Pass
            }
        },
    }
}
