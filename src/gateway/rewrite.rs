//! Another path or host for the upstream than the client sees (P6), and the way back for what the upstream says of itself.
//!
//! The prefix of the decided path is exchanged by counting its segments: all readings of the path led to this route, so its first
//! segments are those of the prefix, however they were spelt. The rest stays byte for byte, and so does the query.

use http::header::{HOST, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};

use crate::web::forwarded::X_FORWARDED_PREFIX;

/// The exchange of a route's prefix for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRewrite {
    /// The route's path without a slash at the end: empty for `/`.
    prefix: Box<str>,
    /// What takes its place, likewise.
    replacement: Box<str>,
    /// How many segments of a request's path go; `None` for all.
    segments: Option<usize>,
    forwarded: Option<HeaderValue>,
}

/// The rewritten target would start with `//` or would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrewritable;

impl PathRewrite {
    /// Exchanges `path`, the path of a route, for `replacement`; both start with `/`. `exact`: `path` is a whole path.
    pub fn new(path: &str, exact: bool, replacement: &str) -> Self {
        let prefix = path.strip_suffix('/').unwrap_or(path);
        let replacement = match replacement {
            "/" => "",
            _ if exact => replacement,
            _ => replacement.strip_suffix('/').unwrap_or(replacement),
        };
        Self {
            prefix: prefix.into(),
            replacement: replacement.into(),
            segments: (!exact).then(|| prefix.matches('/').count()),
            // A path of the configuration is always a header value.
            forwarded: HeaderValue::from_str(prefix).ok().filter(|value| !value.is_empty()),
        }
    }

    /// The target that the upstream gets. `*` stays.
    ///
    /// # Errors
    /// [`Unrewritable`] when what is left starts with `//`, which some read as a host.
    pub fn target(&self, target: &Uri) -> Result<Uri, Unrewritable> {
        let path = target.path();
        if path == "*" {
            return Ok(target.clone());
        }
        let mut rest = if self.segments.is_none() { "" } else { path };
        for _ in 0..self.segments.unwrap_or_default() {
            let inner = rest.get(1..).unwrap_or_default();
            rest = inner.find('/').and_then(|slash| inner.get(slash..)).unwrap_or_default();
        }
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        let slash = if self.replacement.is_empty() && rest.is_empty() { "/" } else { "" };
        let rewritten = format!("{}{rest}{slash}{query}", self.replacement);
        if rewritten.starts_with("//") {
            return Err(Unrewritable);
        }
        PathAndQuery::try_from(rewritten).map(Uri::from).map_err(|_| Unrewritable)
    }

    /// Tells the upstream which prefix went, behind what proxies before us took off.
    pub fn set_prefix(&self, headers: &mut HeaderMap) {
        let Some(ours) = &self.forwarded else { return };
        let outer = headers.get(X_FORWARDED_PREFIX).map(HeaderValue::as_bytes);
        let outer = outer.map(|outer| outer.strip_suffix(b"/").unwrap_or(outer));
        let whole = outer.and_then(|outer| HeaderValue::from_bytes(&[outer, ours.as_bytes()].concat()).ok());
        headers.insert(X_FORWARDED_PREFIX, whole.unwrap_or_else(|| ours.clone()));
    }

    /// Where a path of the upstream's lies for the client; `None` for one that is none of ours. One that has our prefix already
    /// comes from an app that knows of it.
    fn restored(&self, path: &str) -> Option<String> {
        let below = |path: &str, prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then(|| rest.to_owned())
        };
        if !self.prefix.is_empty() && below(path, &self.prefix).is_some() {
            return Some(path.to_owned());
        }
        let restored = format!("{}{}", self.prefix, below(path, &self.replacement)?);
        (restored.starts_with('/') && !names_a_host(&restored)).then_some(restored)
    }
}

/// Which Host the upstream gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Pass,
    /// The upstream's own address.
    Upstream,
    /// This one.
    Named(HeaderValue),
}

impl HostHeader {
    /// Sets the field. Without one, the proxy puts in the address of the upstream that it chose.
    pub fn set(&self, headers: &mut HeaderMap) {
        match self {
            Self::Pass => {}
            Self::Upstream => drop(headers.remove(HOST)),
            Self::Named(name) => drop(headers.insert(HOST, name.clone())),
        }
    }
}

/// Translates the `Location` of an upstream that sees another path or host than the client does: one that names the upstream
/// itself comes to name the gateway. What names another host, and what is relative, stays. `own` are the hosts that the upstream
/// takes for itself.
pub fn restore_location(headers: &mut HeaderMap, rewrite: Option<&PathRewrite>, own: &[Box<str>]) {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let path = match location.strip_prefix("http://").or_else(|| location.strip_prefix("https://")) {
        None if location.starts_with('/') && !location.starts_with("//") => location,
        None => return,
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if !own.iter().any(|own| own.eq_ignore_ascii_case(host)) {
                return;
            }
            if path.starts_with('/') { path } else { "/" }
        }
    };
    let restored = match rewrite {
        Some(rewrite) => rewrite.restored(path),
        None => Some(path.to_owned()).filter(|path| !names_a_host(path)),
    };
    if let Some(Ok(restored)) = restored.map(|restored| HeaderValue::from_str(&restored)) {
        headers.insert(LOCATION, restored);
    }
}

/// Whether a browser reads a target that starts with a slash as another host: it takes `\` for `/`, and leaves tabs out.
fn names_a_host(path: &str) -> bool {
    matches!(path.bytes().filter(|byte| *byte != b'\t').nth(1), Some(b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(rewrite: &PathRewrite, target: &str) -> Option<String> {
        rewrite.target(&target.parse().unwrap()).ok().map(|target| target.to_string())
    }

    #[test]
    fn a_prefix_is_exchanged_by_segments_and_the_rest_stays_as_it_was_sent() {
        let strip = PathRewrite::new("/api/v1", false, "/");
        let replace = PathRewrite::new("/api", false, "/x/y");
        let below = PathRewrite::new("/", false, "/x");
        for (rewrite, target, upstream) in [
            (&strip, "/api/v1", "/"),
            (&strip, "/api/v1/", "/"),
            (&strip, "/api/v1?q=/a//b", "/?q=/a//b"),
            (&strip, "/api/v1/caf%c3%a9/a;b//c?", "/caf%c3%a9/a;b//c?"),
            (&strip, "/%61pi/v1/x", "/x"),
            (&replace, "/api", "/x/y"),
            (&replace, "/api/", "/x/y/"),
            (&replace, "/api/v1%2Fz", "/x/y/v1%2Fz"),
            (&below, "/", "/x/"),
            (&below, "/a?b", "/x/a?b"),
            (&strip, "*", "*"),
        ] {
            assert_eq!(rewritten(rewrite, target).as_deref(), Some(upstream), "{target}");
        }
        assert_eq!(rewritten(&strip, "/api/v1//evil.test/x"), None);
        assert_eq!(rewritten(&replace, "/api//x").as_deref(), Some("/x/y//x"));
    }

    #[test]
    fn an_exact_path_is_exchanged_as_a_whole() {
        assert_eq!(rewritten(&PathRewrite::new("/a/", true, "/b"), "/a/?q").as_deref(), Some("/b?q"));
        assert_eq!(rewritten(&PathRewrite::new("/a", true, "/"), "/a").as_deref(), Some("/"));
        assert_eq!(rewritten(&PathRewrite::new("/a", true, "/b/"), "/a").as_deref(), Some("/b/"));
    }

    #[test]
    fn the_prefix_is_told_behind_that_of_the_proxies_before() {
        let told = |outer: Option<&'static str>, path: &str| {
            let mut headers = HeaderMap::new();
            if let Some(outer) = outer {
                headers.insert(X_FORWARDED_PREFIX, HeaderValue::from_static(outer));
            }
            PathRewrite::new(path, false, "/").set_prefix(&mut headers);
            headers.get(X_FORWARDED_PREFIX).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(None, "/wiki").as_deref(), Some("/wiki"));
        for outer in ["/outer", "/outer/"] {
            assert_eq!(told(Some(outer), "/wiki").as_deref(), Some("/outer/wiki"));
        }
        assert_eq!(told(Some("/"), "/wiki").as_deref(), Some("/wiki"));
        assert_eq!(told(Some("/outer"), "/").as_deref(), Some("/outer"));
    }

    #[test]
    fn a_location_of_the_upstreams_own_comes_to_name_the_gateway() {
        let restored = |rewrite: Option<&PathRewrite>, location: &str| {
            let mut headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
            restore_location(&mut headers, rewrite, &["app.internal:3000".into()]);
            headers[LOCATION].to_str().unwrap().to_owned()
        };
        let strip = PathRewrite::new("/wiki", false, "/");
        let replace = PathRewrite::new("/wiki", false, "/app");
        for (rewrite, location, client) in [
            (Some(&strip), "/login?a=/b", "/wiki/login?a=/b"),
            (Some(&strip), "/", "/wiki/"),
            (Some(&strip), "/wiki/login", "/wiki/login"),
            (Some(&strip), "/wikipedia", "/wiki/wikipedia"),
            (Some(&strip), "http://app.internal:3000/x", "/wiki/x"),
            (Some(&strip), "https://APP.internal:3000", "/wiki/"),
            (Some(&strip), "http://app.internal:3000?x", "/wiki/"),
            (Some(&strip), "https://elsewhere.test/x", "https://elsewhere.test/x"),
            (Some(&strip), "//elsewhere.test/x", "//elsewhere.test/x"),
            (Some(&strip), "relative", "relative"),
            (Some(&replace), "/app/x", "/wiki/x"),
            (Some(&replace), "/app?x", "/wiki?x"),
            (Some(&replace), "/apple", "/apple"),
            (None, "http://app.internal:3000/x#y", "/x#y"),
            (None, "/x", "/x"),
            (None, "http://app.internal:3000//evil.test", "http://app.internal:3000//evil.test"),
        ] {
            assert_eq!(restored(rewrite, location), client, "{location}");
        }
        let below = PathRewrite::new("/", false, "/app");
        for host in ["/evil.test/", "\\evil.test/", "\t/evil.test/", "\t\\evil.test/"] {
            let under = format!("/app/{host}");
            assert_eq!(restored(Some(&below), &under), under, "never a host");
            let own = format!("http://app.internal:3000/{host}");
            assert_eq!(restored(None, &own), own, "never a host");
        }
    }
}
