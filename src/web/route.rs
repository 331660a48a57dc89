//! Route matching: host (exact, then the longest wildcard, then any), then path (exact, then the longest prefix by whole segments),
//! then method (one that a route names, then any) (P5).
//!
//! Host and path choose the place, and only there the method chooses: a request that no route of the place takes is never passed
//! on to a less specific one, where another rule might hold. A lookup costs one hash of the host and one per path segment,
//! whatever the number of routes.
//!
//! `/Admin` is not `/admin`, but some apps read it so (Express, ASP.NET). Where a path would lead to another place without regard to
//! case, it is as ambiguous as one that leads there in another reading.

use std::collections::HashMap;

use http::Method;

use crate::web::path::PathReadings;

/// Routes of targets `T`. No request can be taken by two of them alike.
#[derive(Debug)]
pub struct RouteTable<T> {
    places: Places<Methods<T>>,
    /// The same places by their paths in lower case: the number of a place.
    folded: Places<usize>,
    /// The longest path of a route in bytes; behind it, case makes no difference.
    reach: usize,
    /// A route's path holds a capital.
    capitals: bool,
    /// The numbers of places, by host and path in lower case. Those that differ in case alone share one, an exact path and a prefix
    /// too: each is served where it is spelt as it was configured, and no other spelling is.
    numbers: HashMap<(Option<Box<str>>, Box<str>), usize>,
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

/// What stands where.
#[derive(Debug)]
struct Places<V> {
    exact: HashMap<Box<str>, Paths<V>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<Box<str>, Paths<V>>,
    any: Paths<V>,
}

#[derive(Debug)]
struct Paths<V> {
    exact: HashMap<Box<str>, V>,
    by_prefix: HashMap<Box<str>, V>,
    /// The longest prefix in bytes: longer paths are cut down to it first.
    longest: usize,
}

/// The routes of one host and path.
#[derive(Debug)]
struct Methods<T> {
    named: Vec<(Box<[Method]>, T)>,
    any: Option<T>,
    /// The place's number without regard to case.
    folded: usize,
}

impl<V> Default for Places<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: Paths::default() }
    }
}

impl<V> Default for Paths<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), by_prefix: HashMap::new(), longest: 0 }
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            places: Places::default(),
            folded: Places::default(),
            reach: 0,
            capitals: false,
            numbers: HashMap::new(),
        }
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
        self.reach = self.reach.max(place.path.len());
        self.capitals |= place.path.bytes().any(|byte| byte.is_ascii_uppercase());
        let lower = Place { path: &place.path.to_ascii_lowercase(), ..*place };
        let next = self.numbers.len();
        let folded = *self.numbers.entry((place.host.map(Box::from), lower.path.into())).or_insert(next);
        self.folded.entry(&lower, || folded);
        let methods = self.places.entry(place, || Methods { named: Vec::new(), any: None, folded });
        methods.insert(place.methods, target)
    }

    /// Finds the most specific route. A host whose own routes do not cover the path falls back to less specific hosts.
    pub fn find(&self, host: &str, path: &PathReadings<'_>, method: &Method) -> RouteMatch<'_, T> {
        let primary = self.places.find(host, &path.primary);
        let same = |other: &String| match (primary, self.places.find(host, other)) {
            // Where the method leads is the same for the same place.
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let folded = primary.map(|methods| methods.folded);
        match primary {
            _ if !path.others.iter().all(same) => RouteMatch::Ambiguous,
            _ if !self.leads_to(folded, host, &path.primary)
                || !path.others.iter().all(|other| self.leads_to(folded, host, other)) =>
            {
                RouteMatch::Ambiguous
            }
            Some(methods) => match methods.find(method) {
                Some(target) => RouteMatch::One(target),
                None => RouteMatch::Method(methods.all()),
            },
            None => RouteMatch::None,
        }
    }

    /// Whether `path` leads to the place with this number without regard to case, too.
    fn leads_to(&self, folded: Option<usize>, host: &str, path: &str) -> bool {
        let mut near = path.as_bytes().iter().take(self.reach);
        if !self.capitals && !near.any(u8::is_ascii_uppercase) {
            return true;
        }
        self.folded.find(host, &path.to_ascii_lowercase()).copied() == folded
    }

    /// Whether any route could serve `host`.
    pub fn serves(&self, host: &str) -> bool {
        let suffixes = || {
            std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'))
                .map(|(_, rest)| rest)
        };
        let Places { exact, wildcard, any } = &self.places;
        !any.is_empty() || exact.contains_key(host) || suffixes().any(|suffix| wildcard.contains_key(suffix))
    }
}

impl<V> Places<V> {
    /// What stands at `place`, its methods apart; `new` where nothing does yet.
    fn entry(&mut self, place: &Place<'_>, new: impl FnOnce() -> V) -> &mut V {
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
        by_path.entry(place.path.into()).or_insert_with(new)
    }

    fn find(&self, host: &str, path: &str) -> Option<&V> {
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

impl<V> Paths<V> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.by_prefix.is_empty()
    }

    fn find(&self, path: &str) -> Option<&V> {
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
        // `post` is another method than POST, but some frameworks take it for that one, which has a route of its own.
        let any = || self.any.as_ref().filter(|_| !self.names_but_for_case(method));
        self.named(method).or_else(as_get).or_else(any)
    }

    fn names_but_for_case(&self, method: &Method) -> bool {
        let mut all = self.named.iter().flat_map(|(methods, _)| methods.iter());
        all.any(|named| named.as_str().eq_ignore_ascii_case(method.as_str()))
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
mod tests;
