//! Ways to the same page of the same upstream, or the same file, with another rule: by a prefix that is stripped or replaced, by
//! another host, or because a host's own routes come before the paths that all hosts share.

use std::collections::HashMap;
use std::path::PathBuf;

use http::{HeaderValue, Uri};

use super::super::reader::Report;
use super::{Seen, Standing, ancestors, asked, is_weaker, lets_in, needs, sample_host};
use crate::gateway::RouteSettings;
use crate::gateway::rewrite::HostHeader;
use crate::gateway::route_answer::RouteAnswer;
use crate::proxy::UpstreamAddress;

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Target<'r> {
    Upstream(&'r UpstreamAddress),
    Files,
}

/// One warning for each route that leads around another one's rule.
pub(super) fn warn(seen: &Seen<'_>, report: &Report, line: &dyn Fn(usize) -> usize) {
    let mut doors: HashMap<(Target<'_>, String), Vec<usize>> = HashMap::new();
    for (index, (route, _)) in seen.routes.iter().enumerate() {
        for target in targets(route) {
            doors.entry((target, behind(route))).or_default().push(index);
        }
    }
    let mut said = vec![false; seen.routes.len()];
    for (guarded, place) in seen.routes {
        let inner = behind(guarded);
        for target in targets(guarded) {
            let above = ancestors(&inner).filter_map(|above| doors.get(&(target, above.to_owned())));
            for index in above.flatten() {
                let (Some((door, span)), Some(said)) = (seen.routes.get(*index), said.get_mut(*index)) else {
                    continue;
                };
                if *said || !is_weaker(&door.access, &guarded.access) {
                    continue;
                }
                let Some(path) = way(seen, (door, span), guarded, &inner, target) else { continue };
                *said = true;
                let host = door.host.as_deref().unwrap_or("any host");
                let what = format!(
                    "{path:?} on {host} {}, and leads to what the route in line {} protects, which {}",
                    lets_in(&door.access),
                    line(place.start),
                    needs(&guarded.access)
                );
                report.warn(span.clone(), what, "give that path a route with the same `access` here too");
            }
        }
    }
}

/// The path by which `door` leads to what `guarded` protects.
fn way(
    seen: &Seen<'_>,
    door: (&RouteSettings, &std::ops::Range<usize>),
    guarded: &RouteSettings,
    inner: &str,
    target: Target<'_>,
) -> Option<String> {
    let (door, _) = door;
    let outer = behind(door);
    let rest = inner.strip_prefix(outer.strip_suffix('/').unwrap_or(&outer))?;
    let rest = if rest == "/" { "" } else { rest };
    if door.exact && !rest.is_empty() {
        return None;
    }
    let path = format!("{}{rest}", door.path.strip_suffix('/').unwrap_or(&door.path));
    let path = if path.is_empty() { "/".to_owned() } else { path };
    if !is_surprise(door, guarded, &path, target) {
        return None;
    }
    let found: Option<&Standing> =
        seen.way_around(guarded, &sample_host(door), &path, &asked(&guarded.methods));
    found.is_some_and(|(found, _)| std::ptr::eq(found, door)).then_some(path)
}

/// Whether nobody would think of it. A host that is named apart is meant to have a rule of its own, and an upstream that is told
/// which host was asked for may show another site there.
fn is_surprise(door: &RouteSettings, guarded: &RouteSettings, path: &str, target: Target<'_>) -> bool {
    if door.host == guarded.host {
        // At one place, exact or by its methods, a rule of its own is what was meant.
        return door.path != guarded.path;
    }
    if target == Target::Files {
        return true;
    }
    let (at_door, at_guarded) = (told(door), told(guarded));
    match (&door.host, &guarded.host) {
        // The rule was for all hosts, and this one's own routes come first.
        (Some(_), None) => path != door.path,
        (Some(own), Some(all)) if all.strip_prefix('*').is_some_and(|suffix| own.ends_with(suffix)) => {
            path != door.path
        }
        _ => at_door.is_none() || at_door == at_guarded,
    }
}

/// The host that the upstream is told; `None` for whatever a client says.
fn told(route: &RouteSettings) -> Option<&[u8]> {
    match &route.host_header {
        HostHeader::Named(name) => Some(HeaderValue::as_bytes(name)),
        HostHeader::Upstream => Some(b""),
        HostHeader::Pass => route.host.as_deref().filter(|host| !host.starts_with('*')).map(str::as_bytes),
    }
}

fn targets(route: &RouteSettings) -> Vec<Target<'_>> {
    match &route.answer {
        None => route.upstream.members.iter().map(|member| Target::Upstream(&member.address)).collect(),
        Some(RouteAnswer::Static(_)) => vec![Target::Files],
        Some(RouteAnswer::Redirect(_) | RouteAnswer::Respond(_)) => Vec::new(),
    }
}

/// What the route's own path is behind it: a path of the upstream, or a folder.
fn behind(route: &RouteSettings) -> String {
    if let Some(RouteAnswer::Static(files)) = &route.answer {
        let folder: PathBuf = files.folder.canonicalize().unwrap_or_else(|_| files.folder.clone());
        return folder.to_string_lossy().into_owned();
    }
    let rewritten = route.rewrite.as_ref().and_then(|rewrite| {
        let own: Uri = route.path.parse().ok()?;
        rewrite.target(&own).ok().map(|target| target.path().to_owned())
    });
    rewritten.unwrap_or_else(|| route.path.clone())
}
