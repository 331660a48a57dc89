//! Which requests a route takes: `host`, `path`, `exact`, `methods`; and that no two routes take the same ones. What routes do to
//! each other's rules is in `lint.rs`.

use std::collections::HashMap;
use std::ops::Range;

use http::Method;

use super::address::is_host;
use super::reader::{Field, Report, Section};
use super::server::path_prefix;
use crate::gateway::RouteSettings;

/// What a request must be like for a route to take it.
pub(super) struct Matching {
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) exact: bool,
    pub(super) methods: Vec<Method>,
}

impl Matching {
    /// Of one route; `None` when something in it is wrong, which has been reported.
    pub(super) fn read(section: &mut Section<'_>, prefix: &str) -> Option<Self> {
        let host = section.take("host").map(|f| host(&f));
        let path_field = section.take("path");
        let exact = section.take("exact").and_then(|f| f.boolean()).unwrap_or(false);
        let path = path_field.map_or(Some("/".to_owned()), |f| path(&f, prefix, exact));
        let methods = section.take("methods").map_or(Some(Vec::new()), |f| methods(&f));
        let host = host.map_or(Some(None), |h| h.map(Some))?;
        Some(Self { host, path: path?, exact, methods: methods? })
    }

    /// What logs call the route when nothing else was said: `*/a`, `wiki.test/a$` for an exact path, `*/a[GET,PUT]`.
    pub(super) fn name(&self) -> String {
        let host = self.host.as_deref().unwrap_or("*");
        let end = if self.exact { "$" } else { "" };
        let methods = match &*self.methods {
            [] => String::new(),
            some => format!("[{}]", some.iter().map(Method::as_str).collect::<Vec<_>>().join(",")),
        };
        format!("{host}{}{end}{methods}", self.path)
    }
}

/// Host, path, and whether the path is exact.
type Spot<'r> = (Option<&'r str>, &'r str, bool);

/// Finds routes that take the same requests, or have the same name.
#[derive(Default)]
pub(super) struct Ties<'r> {
    places: HashMap<Spot<'r>, Vec<(&'r RouteSettings, Range<usize>)>>,
    names: HashMap<&'r str, Range<usize>>,
}

impl<'r> Ties<'r> {
    /// Reports `route`, which stands at `span`, when one before it takes the same requests. `line` tells the line of a place.
    pub(super) fn add(
        &mut self,
        route: &'r RouteSettings,
        span: &Range<usize>,
        report: &Report,
        line: impl Fn(usize) -> usize,
    ) {
        let place = self.places.entry((route.host.as_deref(), &*route.path, route.exact)).or_default();
        if let Some((other, first)) = place.iter().find(|(other, _)| share(&other.methods, &route.methods)) {
            let methods = if other.methods.is_empty() { "" } else { " and a method" };
            let what = format!(
                "this route has the host and path{methods} of the route in line {}",
                line(first.start)
            );
            report.error(span.clone(), what, "no request can tell them apart: change or remove one");
        } else if let Some(first) = self.names.get(&*route.name) {
            let what =
                format!("the name {:?} is that of the route in line {}", route.name, line(first.start));
            report.error(span.clone(), what, "logs could not tell them apart: change one");
        }
        place.push((route, span.clone()));
        self.names.entry(&route.name).or_insert_with(|| span.clone());
    }
}

/// Whether some request's method is taken by both. A route without methods stands behind one that names them.
fn share(a: &[Method], b: &[Method]) -> bool {
    (a.is_empty() && b.is_empty()) || a.iter().any(|method| b.contains(method))
}

/// An exact host, `[v6 address]`, or `*.suffix`; lower case in any case.
fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let v6 = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    // As requests are read: one spelling of each address.
    let read = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|address| format!("[{address}]")),
        None => is_host(text.strip_prefix("*.").unwrap_or(text)).then(|| text.to_ascii_lowercase()),
    };
    if read.is_none() {
        field.error(
            format!("{text:?} is not a host"),
            "\"wiki.example.com\" or \"*.example.com\", without a port",
        );
    }
    read
}

/// A prefix without its last slash; an exact path as it stands.
fn path(field: &Field<'_>, prefix: &str, exact: bool) -> Option<String> {
    let text = field.text()?;
    let path = path_prefix(text);
    let mut path = path
        .map_err(|what| field.error(format!("{text:?} is not a path: {what}"), "for example \"/wiki\""))
        .ok()?;
    if path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let what = format!("{text:?} lies below {prefix}, which the gateway answers itself");
        field.error(what, "take another path, or change server.prefix");
    }
    if exact && text.len() > 1 && text.ends_with('/') {
        path.push('/');
    }
    Some(path)
}

/// The methods of RFC 9110, WebDAV and its kin, and PURGE: what else stands in a list is probably a slip.
const USUAL: [&str; 27] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "SEARCH",
    "REPORT",
    "ACL",
    "BIND",
    "UNBIND",
    "REBIND",
    "LINK",
    "UNLINK",
    "MKCALENDAR",
    "QUERY",
    "CHECKOUT",
    "PURGE",
];

fn methods(field: &Field<'_>) -> Option<Vec<Method>> {
    if field.list_is_empty() {
        field.error("`methods` is empty, so no request could match", "take it out to match any method");
        return None;
    }
    let mut methods = Vec::new();
    for (entry, text) in field.texts()? {
        let upper = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let Some(method) = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper) else {
            entry.error(format!("{text:?} is not a method"), "methods are upper-case words, such as \"GET\"");
            return None;
        };
        if method == Method::CONNECT {
            entry.error("CONNECT is never forwarded", "a WebSocket over HTTP/2 counts as a GET");
        } else if methods.contains(&method) {
            entry.error(format!("{text:?} stands twice"), "take one out");
        } else if !USUAL.contains(&text) {
            entry.warn(format!("{text:?} is no method that is in common use"), "check its spelling");
        }
        methods.push(method);
    }
    Some(methods)
}
