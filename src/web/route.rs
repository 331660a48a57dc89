//! Route matching: host (exact, then the longest wildcard, then any), then path (exact, then the longest prefix by whole segments),
//! then method (one that a route names, then any) (P5).
//!
//! Host and path choose the place, and only there the method chooses: a request that no route of the place takes is never passed
//! on to a less specific one, where another rule might hold. A lookup costs one hash of the host and one per path segment,
//! whatever the number of routes.

use std::collections::HashMap;

use http::Method;

use crate::web::path::PathReadings;

/// Routes of targets `T`. No request can be taken by two of them alike.
#[derive(Debug)]
pub struct RouteTable<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<Box<str>, Paths<T>>,
    any: Paths<T>,
}

/// What a request must be like for a route to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    /// Lower case, exact or `*.suffix`; `None` is any host.
    pub host: Option<&'a str>,
    /// Starts with `/`; a prefix does not end with one, but for `/` itself.
    pub path: &'a str,
    /// The whole path and not a prefix of it.
    pub exact: bool,
    /// The methods; empty for any. GET stands for HEAD too, where no route names HEAD.
    pub methods: &'a [Method],
}

impl<'a> Place<'a> {
    /// Everything below `path`.
    pub fn below(host: Option<&'a str>, path: &'a str) -> Self {
        Self { host, path, exact: false, methods: &[] }
    }
}

#[derive(Debug)]
struct Paths<T> {
    exact: HashMap<Box<str>, Methods<T>>,
    by_prefix: HashMap<Box<str>, Methods<T>>,
    /// The longest prefix in bytes: longer paths are cut down to it first.
    longest: usize,
}

/// The routes of one host and path.
#[derive(Debug)]
struct Methods<T> {
    named: Vec<(Box<[Method]>, T)>,
    any: Option<T>,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), by_prefix: HashMap::new(), longest: 0 }
    }
}

impl<T> Default for Methods<T> {
    fn default() -> Self {
        Self { named: Vec::new(), any: None }
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: Paths::default() }
    }
}

/// What matching found.
#[derive(Debug, PartialEq, Eq)]
pub enum RouteMatch<'a, T> {
    /// One route, whichever way the path is read.
    One(&'a T),
    /// No route for this host and path.
    None,
    /// The routes of this host and path take these methods only.
    Method(Vec<Method>),
    /// The readings of the path lead to different routes: refuse.
    Ambiguous,
}

impl<T> RouteTable<T> {
    /// Adds a route. Returns whether no other one has the same place; a tie is not added.
    pub fn insert(&mut self, place: &Place<'_>, target: T) -> bool {
        let paths = match place.host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix("*.") {
                Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
                None => self.exact.entry(host.into()).or_default(),
            },
        };
        let by_path = if place.exact { &mut paths.exact } else { &mut paths.by_prefix };
        if !place.exact {
            paths.longest = paths.longest.max(place.path.len());
        }
        by_path.entry(place.path.into()).or_default().insert(place.methods, target)
    }

    /// Finds the most specific route. A host whose own routes do not cover the path falls back to less specific hosts.
    pub fn find(&self, host: &str, path: &PathReadings<'_>, method: &Method) -> RouteMatch<'_, T> {
        let primary = self.find_place(host, &path.primary);
        let same = |other: &String| match (primary, self.find_place(host, other)) {
            // Where the method leads is the same for the same place.
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (None, None) => true,
            _ => false,
        };
        match primary {
            _ if !path.others.iter().all(same) => RouteMatch::Ambiguous,
            Some(methods) => match methods.find(method) {
                Some(target) => RouteMatch::One(target),
                None => RouteMatch::Method(methods.all()),
            },
            None => RouteMatch::None,
        }
    }

    /// Whether any route could serve `host`.
    pub fn serves(&self, host: &str) -> bool {
        let suffixes = || {
            std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'))
                .map(|(_, rest)| rest)
        };
        !self.any.is_empty()
            || self.exact.contains_key(host)
            || suffixes().any(|suffix| self.wildcard.contains_key(suffix))
    }

    fn find_place(&self, host: &str, path: &str) -> Option<&Methods<T>> {
        if let Some(target) = self.exact.get(host).and_then(|paths| paths.find(path)) {
            return Some(target);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(target) = self.wildcard.get(suffix).and_then(|paths| paths.find(path)) {
                    return Some(target);
                }
                rest = suffix;
            }
        }
        self.any.find(path)
    }
}

impl<T> Paths<T> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.by_prefix.is_empty()
    }

    fn find(&self, path: &str) -> Option<&Methods<T>> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(path)
        {
            return Some(found);
        }
        // Cut to the last slash within reach of the longest prefix, then segment by segment down to "/".
        let mut candidate = path;
        while candidate.len() > self.longest.max(1) {
            candidate = parent(candidate)?;
        }
        loop {
            #[cfg(test)]
            tests::count_lookup();
            if let Some(found) = self.by_prefix.get(candidate) {
                return Some(found);
            }
            candidate = parent(candidate)?;
        }
    }
}

impl<T> Methods<T> {
    fn insert(&mut self, methods: &[Method], target: T) -> bool {
        if methods.is_empty() {
            let free = self.any.is_none();
            if free {
                self.any = Some(target);
            }
            return free;
        }
        let free = !methods.iter().any(|method| self.named(method).is_some());
        if free {
            self.named.push((methods.into(), target));
        }
        free
    }

    fn find(&self, method: &Method) -> Option<&T> {
        if self.named.is_empty() {
            return self.any.as_ref();
        }
        let as_get = || self.named(&Method::GET).filter(|_| method == Method::HEAD);
        self.named(method).or_else(as_get).or(self.any.as_ref())
    }

    fn named(&self, method: &Method) -> Option<&T> {
        self.named.iter().find(|(methods, _)| methods.contains(method)).map(|(_, target)| target)
    }

    /// Every method that is taken, HEAD with GET.
    fn all(&self) -> Vec<Method> {
        let mut all: Vec<Method> =
            self.named.iter().flat_map(|(methods, _)| methods.iter()).cloned().collect();
        if all.contains(&Method::GET) && !all.contains(&Method::HEAD) {
            all.push(Method::HEAD);
        }
        all
    }
}

/// `/a/b` → `/a` → `/` → nothing.
fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => path.get(..1),
        slash => path.get(..slash),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::web::path::read_path;

    fn table(routes: &[(Option<&str>, &str, &'static str)]) -> RouteTable<&'static str> {
        let mut table = RouteTable::default();
        for (host, path, name) in routes {
            assert!(table.insert(&Place::below(*host, path), *name));
        }
        table
    }

    fn found<'a>(
        table: &'a RouteTable<&'static str>,
        host: &str,
        path: &str,
    ) -> RouteMatch<'a, &'static str> {
        table.find(host, &read_path(path).unwrap(), &Method::GET)
    }

    thread_local! { static LOOKUPS: Cell<u64> = const { Cell::new(0) } }

    pub(super) fn count_lookup() {
        LOOKUPS.set(LOOKUPS.get() + 1);
    }

    #[test]
    fn the_longest_prefix_by_segment_wins() {
        let table = table(&[(None, "/", "root"), (None, "/pub", "pub"), (None, "/pub/deep/er", "deep")]);
        for (path, name) in [
            ("/", "root"),
            ("/x", "root"),
            ("/pub", "pub"),
            ("/pub/", "pub"),
            ("/pub/x", "pub"),
            ("/pubX", "root"),
            ("/pub..", "root"),
            ("/pub/deep/er", "deep"),
            ("/pub/deep/er/x/y/z", "deep"),
            ("/pub/deep/erx", "pub"),
            ("/%70ub/x", "pub"),
        ] {
            assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path}");
        }
    }

    #[test]
    fn exact_host_then_longest_wildcard_then_any() {
        let table = table(&[
            (Some("a.corp.test"), "/", "exact"),
            (Some("*.corp.test"), "/", "wild"),
            (Some("*.b.corp.test"), "/", "deeper"),
            (None, "/any", "any"),
        ]);
        for (host, name) in [
            ("a.corp.test", "exact"),
            ("x.corp.test", "wild"),
            ("x.y.b.corp.test", "deeper"),
            ("b.corp.test", "wild"),
        ] {
            assert_eq!(found(&table, host, "/"), RouteMatch::One(&name), "{host}");
        }
        assert_eq!(found(&table, "corp.test", "/"), RouteMatch::None);
        assert_eq!(found(&table, "evilcorp.test", "/any/x"), RouteMatch::One(&"any"));
    }

    #[test]
    fn readings_that_lead_to_different_routes_are_ambiguous() {
        let table = table(&[(None, "/", "root"), (None, "/prot", "prot")]);
        for path in ["//prot", "/prot;x/y", "/%2fprot", "/x%2f..x/../"] {
            if let Ok(read) = read_path(path) {
                assert_eq!(table.find("h", &read, &Method::GET), RouteMatch::Ambiguous, "{path}");
            }
        }
        assert_eq!(found(&table, "h", "/x//y;z"), RouteMatch::One(&"root"));
        assert_eq!(found(&table, "h", "/prot//y"), RouteMatch::One(&"prot"));
    }

    #[test]
    fn a_host_is_served_when_a_route_names_it_or_covers_it() {
        let table = table(&[(Some("a.test"), "/x", "one"), (Some("*.b.test"), "/", "two")]);
        for (host, served) in
            [("a.test", true), ("b.test", false), ("x.b.test", true), ("y.x.b.test", true), ("c", false)]
        {
            assert_eq!(table.serves(host), served, "{host}");
        }
    }

    #[test]
    fn a_tie_is_not_added() {
        let mut table = table(&[(Some("h"), "/a", "one")]);
        assert!(!table.insert(&Place::below(Some("h"), "/a"), "two"));
        assert_eq!(found(&table, "h", "/a"), RouteMatch::One(&"one"));
    }

    fn exactly(path: &str) -> Place<'_> {
        Place { exact: true, ..Place::below(None, path) }
    }

    #[test]
    fn an_exact_path_takes_that_path_alone_and_before_any_prefix() {
        let mut table = table(&[(None, "/", "root"), (None, "/a", "below")]);
        assert!(table.insert(&exactly("/a"), "exact"));
        assert!(table.insert(&exactly("/a/b/"), "slash"));
        for (path, name) in [
            ("/a", "exact"),
            ("/%61", "exact"),
            ("/a/", "below"),
            ("/a/b", "below"),
            ("/a/b/", "slash"),
            ("/a/b/c", "below"),
            ("/A", "root"),
        ] {
            assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path}");
        }
        for path in ["//a", "/a;x", "/a%2f", "/a/b//", "/a//b/", "/a%3fx"] {
            assert_eq!(found(&table, "h", path), RouteMatch::Ambiguous, "{path}");
        }
    }

    #[test]
    fn the_method_chooses_among_the_routes_of_one_place_and_never_leads_away_from_it() {
        let mut table = table(&[(None, "/", "root")]);
        let named = |methods| Place { methods, ..Place::below(None, "/api") };
        let (get, put) = ([Method::GET], [Method::PUT, Method::POST]);
        assert!(table.insert(&named(&get), "read"));
        assert!(table.insert(&named(&put), "write"));
        let at = |table: &RouteTable<&'static str>, method: Method| match table.find(
            "h",
            &read_path("/api/x").unwrap(),
            &method,
        ) {
            RouteMatch::One(name) => Ok(*name),
            RouteMatch::Method(methods) => {
                Err(methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(at(&table, Method::GET), Ok("read"));
        assert_eq!(at(&table, Method::HEAD), Ok("read"));
        assert_eq!(at(&table, Method::POST), Ok("write"));
        assert_eq!(at(&table, Method::DELETE), Err("GET, PUT, POST, HEAD".into()));
        assert!(table.insert(&Place::below(None, "/api"), "rest"));
        assert_eq!(at(&table, Method::DELETE), Ok("rest"));
        assert_eq!(at(&table, Method::GET), Ok("read"));
        assert!(!table.insert(&named(&[Method::PATCH, Method::POST]), "tie"));
        assert!(!table.insert(&Place::below(None, "/api"), "tie"));
        assert!(table.insert(&named(&[Method::HEAD]), "head"));
        assert_eq!(at(&table, Method::HEAD), Ok("head"));
    }

    #[test]
    fn ten_thousand_routes_cost_as_many_lookups_as_one() {
        let lookups = |table: &RouteTable<usize>, path: &str| {
            LOOKUPS.set(0);
            assert!(matches!(table.find("h", &read_path(path).unwrap(), &Method::GET), RouteMatch::One(_)));
            LOOKUPS.get()
        };
        let (mut one, mut many) = (RouteTable::default(), RouteTable::default());
        assert!(one.insert(&Place::below(None, "/app0000/x"), 0));
        for number in 0..10_000 {
            assert!(many.insert(&Place::below(None, &format!("/app{number:04}/x")), number));
        }
        for path in ["/app0000/x", "/app0000/x/a/b/c/d/e/f/g"] {
            assert_eq!(lookups(&many, path), lookups(&one, path), "{path}");
        }
        assert_eq!(many.find("h", &read_path("/app9999/x/y").unwrap(), &Method::GET), RouteMatch::One(&9999));
    }
}
