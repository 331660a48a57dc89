//! Route matching: host (exact, then the longest wildcard, then any), then the longest path prefix by whole segments (P5).
//!
//! A lookup costs one hash of the host and one per path segment, whatever the number of routes.

use std::collections::HashMap;

use crate::web::path::PathReadings;

/// Routes of targets `T`. Two routes with the same host and path prefix cannot both be in it.
#[derive(Debug)]
pub struct RouteTable<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<Box<str>, Paths<T>>,
    any: Paths<T>,
}

#[derive(Debug)]
struct Paths<T> {
    by_prefix: HashMap<Box<str>, T>,
    /// The longest prefix in bytes: longer paths are cut down to it first.
    longest: usize,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { by_prefix: HashMap::new(), longest: 0 }
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
    /// The readings of the path lead to different routes: refuse.
    Ambiguous,
}

impl<T> RouteTable<T> {
    /// Adds a route. `host` is lower case, exact or `*.suffix`; `None` is any host. `path` is a prefix that
    /// starts with `/` and, but for `/` itself, does not end with one. Returns whether it was new; a tie is not added.
    pub fn insert(&mut self, host: Option<&str>, path: &str, target: T) -> bool {
        let paths = match host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix("*.") {
                Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
                None => self.exact.entry(host.into()).or_default(),
            },
        };
        if paths.by_prefix.contains_key(path) {
            return false;
        }
        paths.longest = paths.longest.max(path.len());
        paths.by_prefix.insert(path.into(), target);
        true
    }

    /// Finds the most specific route. A host whose own routes do not cover the path falls back to less specific hosts.
    pub fn find(&self, host: &str, path: &PathReadings<'_>) -> RouteMatch<'_, T> {
        let primary = self.find_reading(host, &path.primary);
        let same = |other: &String| match (primary, self.find_reading(host, other)) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (None, None) => true,
            _ => false,
        };
        match primary {
            _ if !path.others.iter().all(same) => RouteMatch::Ambiguous,
            Some(target) => RouteMatch::One(target),
            None => RouteMatch::None,
        }
    }

    /// Whether any route could serve `host`.
    pub fn serves(&self, host: &str) -> bool {
        let suffixes = || {
            std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'))
                .map(|(_, rest)| rest)
        };
        !self.any.by_prefix.is_empty()
            || self.exact.contains_key(host)
            || suffixes().any(|suffix| self.wildcard.contains_key(suffix))
    }

    fn find_reading(&self, host: &str, path: &str) -> Option<&T> {
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
    fn find(&self, path: &str) -> Option<&T> {
        // Cut to the last slash within reach of the longest prefix, then segment by segment down to "/".
        let mut candidate = path;
        while candidate.len() > self.longest.max(1) {
            candidate = parent(candidate)?;
        }
        loop {
            if let Some(target) = self.by_prefix.get(candidate) {
                return Some(target);
            }
            candidate = parent(candidate)?;
        }
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
    use super::*;
    use crate::web::path::read_path;

    fn table(routes: &[(Option<&str>, &str, &'static str)]) -> RouteTable<&'static str> {
        let mut table = RouteTable::default();
        for (host, path, name) in routes {
            assert!(table.insert(*host, path, *name));
        }
        table
    }

    fn found<'a>(
        table: &'a RouteTable<&'static str>,
        host: &str,
        path: &str,
    ) -> RouteMatch<'a, &'static str> {
        table.find(host, &read_path(path).unwrap())
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
                assert_eq!(table.find("h", &read), RouteMatch::Ambiguous, "{path}");
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
        assert!(!table.insert(Some("h"), "/a", "two"));
        assert_eq!(found(&table, "h", "/a"), RouteMatch::One(&"one"));
    }
}
