//! `[[routes]]`: which request goes where, who may, and what the upstream hears of them.

use std::ops::Range;
use std::path::Path;

use super::access;
use super::answers;
use super::header_rules::{self, Direction, Touched};
use super::headers;
use super::lint::{self, Named};
use super::login::origins;
use super::matching::{Matching, Ties};
use super::proxy::Defaults;
use super::reader::{Field, Section};
use super::rewrite;
use super::server::Server;
use super::upstreams;
use crate::gateway::identity_headers::HeaderFirewall;
use crate::gateway::route_answer::RouteAnswer;
use crate::gateway::{HeaderPreset, RouteSettings};
use crate::policy::Access;
use crate::proxy::{GroupSettings, MemberSettings, UpstreamAddress};

const MISSING: &str = "add one:\n[[routes]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:3000\"]";

/// All routes, with ties and collisions refused. `users` is the user file, `line` tells the line of a place.
pub(super) fn read(
    root: &mut Section<'_>,
    server: &Server,
    proxy: &Defaults,
    base: &Path,
    users: &Path,
    line: impl Fn(usize) -> usize,
) -> Vec<RouteSettings> {
    let Some(list) = root.take("routes") else {
        root.report().error(
            0..0,
            "there is no route, so the gateway has nothing to stand in front of",
            MISSING,
        );
        return Vec::new();
    };
    if list.list_is_empty() {
        list.error("`routes` is empty", MISSING);
    }
    let (mut touched, mut named) = (Vec::new(), Vec::new());
    let mut one = |section| one(section, server, proxy, base, (&mut touched, &mut named));
    let routes: Vec<(RouteSettings, Range<usize>)> =
        list.list().unwrap_or_default().iter().filter_map(|entry| entry.table().and_then(&mut one)).collect();
    let firewall = HeaderFirewall::new(routes.iter().map(|(route, _)| &route.headers));
    for (name, span) in touched {
        if firewall.carries_identity(&name) {
            let what =
                format!("{:?} carries an identity, or can be confused with one that does", name.as_str());
            root.report().error(span, what, "only the gateway says who asks: take it out");
        }
    }
    let mut ties = Ties::default();
    for (route, span) in &routes {
        ties.add(route, span, root.report(), &line);
    }
    lint::of_routes(&routes, root.report(), &line);
    lint::of_names(&named, users, root.report());
    routes.into_iter().map(|(route, _)| route).collect()
}

fn one(
    mut section: Section<'_>,
    server: &Server,
    proxy: &Defaults,
    base: &Path,
    (touched, named): (&mut Vec<Touched>, &mut Vec<Named>),
) -> Option<(RouteSettings, Range<usize>)> {
    let own_name = section.take("name");
    let span = section.first_span("path");
    let matching = Matching::read(&mut section, &server.prefix);
    let upstream_field = section.take("upstream");
    let answer = answers::read(&mut section, upstream_field.as_ref(), base);
    let upstream = upstreams::read(&mut section, upstream_field.as_ref(), server, proxy);
    let title_case = section.take("title_case_headers").and_then(|f| f.boolean()).unwrap_or(false);
    let upstream = match &answer {
        Some(_) => Some(without_upstream()),
        None => upstream.map(|group| GroupSettings {
            members: group.members.into_iter().map(|m| MemberSettings { title_case, ..m }).collect(),
            ..group
        }),
    };
    let max_body = section.take("max_body").and_then(|f| max_body(&f));
    if upstream_field.is_none() && answer.is_none() {
        let what = "`routes.upstream` is missing, and so are `redirect`, `respond` and `static`";
        section.report().error(section.span(), what, "upstream = [\"http://127.0.0.1:3000\"]");
    }
    let rewrite = rewrite::path(&mut section, matching.as_ref());
    let host_header = rewrite::host(&mut section);
    let request_headers = header_rules::read(&mut section, "request_headers", Direction::Request, touched);
    let response_headers = header_rules::read(&mut section, "response_headers", Direction::Response, touched);
    let access = section.take("access").map(|f| access::read(&f, server.settings.tls.as_ref(), named));
    let headers = section.take("headers").and_then(|f| headers::read(&f)).unwrap_or(HeaderPreset::Remote);
    let mut flag = |key, usual| section.take(key).and_then(|f| f.boolean()).unwrap_or(usual);
    let allow_encoded_slashes = flag("allow_encoded_slashes", false);
    let allow_trailers = flag("allow_trailers", false);
    let allow_odd_header_names = flag("allow_odd_header_names", false);
    let counts_as_activity = flag("counts_as_activity", true);
    let websocket_origins = section.take("websocket_origins").map(|f| origins(&f)).unwrap_or_default();
    if let Some(answer) = &answer {
        refuse_idle_keys(&section, answer.as_ref());
    }
    section.finish();
    // A part that is wrong has been reported: the route is left out, so that nothing follows from a guess.
    let access = access.map_or(Some(Access::Authenticated), |a| a)?;
    let (matching, upstream, answer) = (matching?, upstream?, answer.map_or(Some(None), |a| a.map(Some))?);
    let name = own_name.as_ref().and_then(name).unwrap_or_else(|| matching.name());
    let Matching { host, path, exact, methods } = matching;
    let route = RouteSettings {
        name,
        host,
        path,
        exact,
        methods,
        upstream,
        answer,
        rewrite,
        host_header,
        request_headers,
        response_headers,
        access,
        headers,
        allow_encoded_slashes,
        allow_odd_header_names,
        allow_trailers,
        max_body,
        counts_as_activity,
        websocket_origins,
    };
    Some((route, span))
}

/// A number of bytes; `false` is no limit.
fn max_body(field: &Field<'_>) -> Option<u64> {
    if field.as_boolean() == Some(false) {
        return None;
    }
    if field.as_boolean() == Some(true) {
        field.error("`routes.max_body` is no limit", "a number of bytes, or false for none");
        return None;
    }
    field.number(1..=1 << 50)
}

/// Of a route that answers itself.
fn without_upstream() -> GroupSettings {
    let mut group = GroupSettings::single(UpstreamAddress::http("localhost", 1));
    group.members.clear();
    group
}

/// Keys that mean nothing on a route with an answer of its own.
fn refuse_idle_keys(section: &Section<'_>, answer: Option<&RouteAnswer>) {
    let rewriting: &[&str] = match answer {
        Some(RouteAnswer::Redirect(_)) | None => &[],
        Some(RouteAnswer::Respond(_) | RouteAnswer::Static(_)) => &["strip_prefix", "replace_prefix"],
    };
    let upstream = [
        "host_header",
        "request_headers",
        "headers",
        "websocket_origins",
        "balance",
        "health",
        "ejection",
        "upstream_tls",
        "max_body",
        "allow_trailers",
        "title_case_headers",
    ];
    for key in upstream.iter().chain(rewriting) {
        if let Some(span) = section.span_of(key) {
            let what = format!("`routes.{key}` means nothing on a route that has no upstream");
            section.report().error(span, what, "take it out");
        }
    }
}

fn name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    field.error(format!("{text:?} is not a route name"), "1 to 64 visible characters without spaces");
    None
}
