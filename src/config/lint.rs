//! What routes let through together that none of them would alone (X8). Most of it is found by asking the very table that requests
//! are matched by: a route that its own requests do not reach is an error, and a way around a rule is a warning.
//!
//! Only what is hardly ever meant is said. A public landing page above or below a protected one, public assets, and a public host
//! beside a protected one are ordinary.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use http::Method;

use super::reader::Report;
use crate::gateway::RouteSettings;
use crate::policy::Access;
use crate::web::host::Host;
use crate::web::path::read_path;
use crate::web::route::{Place, RouteMatch, RouteTable};

mod aliases;
mod names;

pub(super) use self::names::{Named, of_names};

/// One route and where it stands.
pub(super) type Standing = (RouteSettings, Range<usize>);

/// Says of `routes`, which do not tie, what could surprise. `line` tells the line of a place.
pub(super) fn of_routes(routes: &[Standing], report: &Report, line: &dyn Fn(usize) -> usize) {
    let Some(seen) = Seen::new(routes) else { return };
    seen.unreachable(report);
    seen.open_neighbours(report, line);
    seen.case_twins(report, line);
    seen.refused_pages(report);
    seen.other_methods(report, line);
    aliases::warn(&seen, report, line);
}

/// All routes, and the table as requests meet it.
struct Seen<'r> {
    routes: &'r [Standing],
    table: RouteTable<usize>,
}

impl<'r> Seen<'r> {
    /// Nothing where two routes tie, which has been reported: what follows from a guess is no news.
    fn new(routes: &'r [Standing]) -> Option<Self> {
        let mut table = RouteTable::default();
        let fits = |(index, (route, _)): (usize, &Standing)| {
            let RouteSettings { host, path, exact, methods, .. } = route;
            table.insert(&Place { host: host.as_deref(), path, exact: *exact, methods }, index)
        };
        routes.iter().enumerate().all(fits).then_some(Self { routes, table })
    }

    /// The route that takes such a request.
    fn taker(&self, host: &str, path: &str, method: &Method) -> Option<&'r Standing> {
        match self.table.find(&Host::parse(host).ok()?.name, &read_path(path).ok()?, method) {
            RouteMatch::One(index) => self.routes.get(*index),
            RouteMatch::None | RouteMatch::Method(_) | RouteMatch::Ambiguous => None,
        }
    }

    /// The route that takes such a request by one of `methods`, if it lets in more people than `guarded` does.
    fn way_around(
        &self,
        guarded: &RouteSettings,
        host: &str,
        path: &str,
        methods: &[Method],
    ) -> Option<&'r Standing> {
        let takers = methods.iter().filter_map(|method| self.taker(host, path, method));
        takers.into_iter().find(|(other, _)| is_weaker(&other.access, &guarded.access))
    }

    fn unreachable(&self, report: &Report) {
        for (route, span) in self.routes {
            // A prefix may leave its own path to an exact one.
            let below = format!("{}/any-other-path", route.path.strip_suffix('/').unwrap_or(&route.path));
            let path = if route.exact { &route.path } else { &below };
            let own = |method: &Method| {
                self.taker(&sample_host(route), path, method)
                    .is_some_and(|(taker, _)| std::ptr::eq(taker, route))
            };
            if !asked(&route.methods).iter().any(own) {
                let what = "no request can reach this route";
                report.error(span.clone(), what, "change its host or path, or remove it");
            }
        }
    }

    /// Many apps take `/a` and `/a/` for one page.
    fn open_neighbours(&self, report: &Report, line: &dyn Fn(usize) -> usize) {
        for (route, span) in self.routes.iter().filter(|(route, _)| route.exact && route.path != "/") {
            let beside = toggled(&route.path);
            let open = self.way_around(route, &sample_host(route), &beside, &asked(&route.methods));
            let Some((other, place)) = open else { continue };
            let what = format!(
                "this exact path {}, but {beside:?} beside it {} (the route in line {})",
                needs(&route.access),
                lets_in(&other.access),
                line(place.start)
            );
            report.warn(
                span.clone(),
                what,
                "many apps take both for one page: drop `exact`, or protect both alike",
            );
        }
    }

    /// Paths that differ in case only, or would lie below one another but for it: an app on a file system that does not tell them
    /// apart serves the same.
    fn case_twins(&self, report: &Report, line: &dyn Fn(usize) -> usize) {
        let mut guarded: HashMap<(Option<&str>, String), &Standing> = HashMap::new();
        for standing in self.routes.iter().filter(|(route, _)| route.access != Access::Public) {
            let key = (standing.0.host.as_deref(), standing.0.path.to_ascii_lowercase());
            guarded.entry(key).or_insert(standing);
        }
        for (route, span) in self.routes {
            let lower = route.path.to_ascii_lowercase();
            let twin = ancestors(&lower).find_map(|above| {
                let (twin, place) = guarded.get(&(route.host.as_deref(), above.to_owned()))?;
                let same_start = route.path.get(..twin.path.len()) == Some(twin.path.as_str());
                (!same_start && is_weaker(&route.access, &twin.access)).then_some((twin, place))
            });
            if let Some((twin, place)) = twin {
                let what = format!(
                    "this path {}, and only by upper and lower case it is not that of the route in line {}, which {}",
                    lets_in(&route.access),
                    line(place.start),
                    needs(&twin.access)
                );
                report.warn(span.clone(), what, "spell both alike, or protect both alike");
            }
        }
    }

    /// A prefix that is served but for its own page, which another route reads in another case.
    fn refused_pages(&self, report: &Report) {
        for (route, span) in self.routes.iter().filter(|(route, _)| !route.exact) {
            let host = sample_host(route);
            let Ok(host) = Host::parse(&host) else { continue };
            let refused = |page: &String| {
                read_path(page).is_ok_and(|path| {
                    self.table.find(&host.name, &path, &Method::GET) == RouteMatch::Ambiguous
                })
            };
            if let Some(page) = [route.path.clone(), toggled(&route.path)].into_iter().find(refused) {
                report.warn(
                    span.clone(),
                    format!("{page:?} of this route is refused: another route's path differs by case only"),
                    "give that page an exact route, or spell both alike",
                );
            }
        }
    }

    /// Of one place: a rule for some methods, and a laxer one for all others.
    fn other_methods(&self, report: &Report, line: &dyn Fn(usize) -> usize) {
        let mut rest: HashMap<_, &Standing> = HashMap::new();
        for standing in self.routes.iter().filter(|(route, _)| route.methods.is_empty()) {
            rest.insert((&standing.0.host, &standing.0.path, standing.0.exact), standing);
        }
        for (route, span) in self.routes.iter().filter(|(route, _)| !route.methods.is_empty()) {
            let Some((other, place)) = rest.get(&(&route.host, &route.path, route.exact)) else { continue };
            if is_weaker(&other.access, &route.access) {
                let what = format!(
                    "methods that this route does not name fall to the one in line {}, which {}",
                    line(place.start),
                    lets_in(&other.access)
                );
                report.warn(
                    span.clone(),
                    what,
                    "let that one name its methods: `methods = [\"GET\"]`; others are then 405",
                );
            }
        }
    }
}

/// A host that the route takes and, where it takes many, no more specific one probably does.
fn sample_host(route: &RouteSettings) -> String {
    match route.host.as_deref() {
        None => "any-other-host.invalid".to_owned(),
        Some(host) => match host.strip_prefix("*.") {
            Some(suffix) => format!("any-other-host.{suffix}"),
            None => host.to_owned(),
        },
    }
}

/// The methods to ask by: those that are named, or two that every app takes and one that no route names.
fn asked(methods: &[Method]) -> Vec<Method> {
    if methods.is_empty() {
        [Method::GET, Method::POST].into_iter().chain(Method::from_bytes(b"ANY-OTHER")).collect()
    } else {
        methods.to_vec()
    }
}

/// Without the slash at its end, or with one.
fn toggled(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// `/a/b`, `/a`, `/`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/')? {
        0 if path.len() > 1 => path.get(..1),
        0 => None,
        slash => path.get(..slash),
    })
}

fn is_weaker(access: &Access, than: &Access) -> bool {
    let rank = |access: &Access| match access {
        Access::Public => 0,
        Access::Authenticated => 1,
        Access::Members { .. } => 2,
    };
    rank(access).cmp(&rank(than)) == Ordering::Less
}

fn lets_in(access: &Access) -> &'static str {
    match access {
        Access::Public => "is public",
        Access::Authenticated => "takes everybody who is signed in",
        Access::Members { .. } => "takes others",
    }
}

fn needs(access: &Access) -> &'static str {
    match access {
        Access::Members { .. } => "is for some only",
        Access::Public | Access::Authenticated => "needs a session",
    }
}

#[cfg(test)]
mod tests;
