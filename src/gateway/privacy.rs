//! What a forwarded response must not do: set our cookie, or be kept by a shared cache when it was made for one user or sets a
//! cookie (S24, X10).

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::request_id::RequestId;
use crate::session::SessionManager;
use crate::web::fields::remove_all;

const PRIVATE: &str = "private";

/// Guards the headers of an upstream's response. `personal`: the upstream was told who asks. `ours` is our own Set-Cookie.
pub fn guard(
    sessions: &SessionManager,
    headers: &mut HeaderMap,
    personal: bool,
    ours: Option<HeaderValue>,
    id: RequestId,
) {
    // One walk: a lookup per name that might be there costs more than looking at the few that are.
    let (mut sets_cookie, mut outranked) = (false, false);
    for name in headers.keys() {
        sets_cookie |= *name == SET_COOKIE;
        outranked |= outranks_cache_control(name);
    }
    if sets_cookie {
        withhold_forged_cookies(sessions, headers, id);
    }
    if let Some(cookie) = ours {
        headers.append(SET_COOKIE, cookie);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else if personal || sets_cookie {
        make_private(headers);
    } else {
        return;
    }
    if outranked {
        remove_all(headers, outranks_cache_control);
    }
}

/// Whether an app speaks by it to some shared caches past `Cache-Control`, which it outranks there: a targeted field, each cache
/// having one of its own (RFC 9213), or what came before those.
fn outranks_cache_control(name: &HeaderName) -> bool {
    let text = name.as_str();
    (text.ends_with("cache-control") && *name != CACHE_CONTROL)
        || matches!(text, "surrogate-control" | "edge-control" | "x-accel-expires")
}

fn withhold_forged_cookies(sessions: &SessionManager, headers: &mut HeaderMap, id: RequestId) {
    let forged = headers.get_all(SET_COOKIE).iter().filter(|value| sessions.is_our_set_cookie(value)).count();
    if forged == 0 {
        return;
    }
    // Said once: an app that does it does it on every response.
    if sessions.counters().forged_set_cookies.fetch_add(forged as u64, Ordering::Relaxed) == 0 {
        tracing::warn!(
            request_id = %id,
            "an upstream tried to set the session cookie; it is dropped, and further ones are only counted"
        );
    }
    let kept: Vec<_> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|value| !sessions.is_our_set_cookie(value))
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

/// Adds `private` unless the upstream is as strict already; takes back what would make it shared.
pub(super) fn make_private(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(CACHE_CONTROL).iter();
    let value = match (fields.next(), fields.next()) {
        (None, _) => HeaderValue::from_static(PRIVATE),
        (Some(only), None) => match only.to_str() {
            Ok(text) if is_strict(text) => return,
            text => private(text.unwrap_or_default()),
        },
        _ => {
            let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
            private(&fields.collect::<Vec<_>>().join(", "))
        }
    };
    headers.insert(CACHE_CONTROL, value);
}

fn directives(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|directive| !directive.is_empty())
}

/// A word between quotes is no directive, so a field with quotes is not judged but begun anew.
fn is_strict(text: &str) -> bool {
    !text.contains('"')
        && directives(text).any(|d| d.eq_ignore_ascii_case("private") || d.eq_ignore_ascii_case("no-store"))
        && !directives(text).any(is_shared)
}

fn is_shared(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    ["public", "s-maxage", "proxy-revalidate"].iter().any(|shared| name.eq_ignore_ascii_case(shared))
}

/// The directives of `text` but the shared ones, after `private` where they are not strict by themselves.
fn private(text: &str) -> HeaderValue {
    let kept = || directives(text).filter(|d| !is_shared(d) && !d.eq_ignore_ascii_case(PRIVATE));
    let mut value = String::with_capacity(PRIVATE.len() + 2 * text.len() + 2);
    if text.contains('"') || !kept().any(|d| d.eq_ignore_ascii_case("no-store")) {
        value.push_str(PRIVATE);
    }
    for directive in kept() {
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str(directive);
    }
    HeaderValue::from_maybe_shared(Bytes::from(value)).unwrap_or_else(|_| HeaderValue::from_static(PRIVATE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::SystemRandom;
    use crate::gateway::request_id::RequestIdSeed;

    fn made_private(fields: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(field));
        }
        make_private(&mut headers);
        let values: Vec<_> = headers.get_all(CACHE_CONTROL).iter().map(|v| v.to_str().unwrap()).collect();
        values.join(" | ")
    }

    #[test]
    fn every_cookie_of_our_name_that_an_upstream_sets_is_dropped_and_counted() {
        let sessions = crate::gateway::open_streams::tests::sessions();
        let mut headers = HeaderMap::new();
        for cookie in ["fluidgate=evil", "app=1", "__HOST-fluidgate=evil; Secure"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        guard(
            &sessions,
            &mut headers,
            false,
            None,
            RequestIdSeed::new(&SystemRandom).unwrap().worker(0).next(),
        );
        assert_eq!(headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["app=1"]);
        assert_eq!(sessions.counters().forged_set_cookies.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_response_that_sets_a_cookie_or_is_personal_is_kept_by_no_shared_cache_by_whatever_field() {
        let sessions = crate::gateway::open_streams::tests::sessions();
        let id = RequestIdSeed::new(&SystemRandom).unwrap().worker(0).next();
        const PAST: [&str; 10] = [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "netlify-cdn-cache-control",
            "vercel-cdn-cache-control",
            "akamai-cache-control",
            "fastly-cache-control",
            "x-cache-control",
            "surrogate-control",
            "edge-control",
            "x-accel-expires",
        ];
        let guarded = |cookie: bool, personal: bool, ours: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("x-cache-control-app", HeaderValue::from_static("stays"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
            PAST.iter().for_each(|name| {
                headers.append(*name, HeaderValue::from_static("max-age=60"));
                headers.append(*name, HeaderValue::from_static("public"));
            });
            if cookie {
                headers.insert(SET_COOKIE, HeaderValue::from_static("app=1"));
            }
            let ours = ours.then(|| HeaderValue::from_static("fluidgate=; Max-Age=0"));
            guard(&sessions, &mut headers, personal, ours, id);
            assert!(headers.contains_key("x-cache-control-app"));
            let past = PAST.iter().filter(|name| headers.contains_key(**name)).count();
            (headers[CACHE_CONTROL].to_str().unwrap().to_owned(), past)
        };
        assert_eq!(guarded(false, false, false), ("public, max-age=60".into(), PAST.len()));
        for (cookie, personal) in [(true, false), (false, true), (true, true)] {
            assert_eq!(guarded(cookie, personal, false), ("private, max-age=60".into(), 0));
            assert_eq!(guarded(cookie, personal, true), ("no-store".into(), 0));
        }
    }

    #[test]
    fn a_personal_response_is_private_and_a_stricter_one_stays() {
        assert_eq!(made_private(&[]), "private");
        assert_eq!(made_private(&["public, max-age=60, s-maxage=600"]), "private, max-age=60");
        assert_eq!(made_private(&["max-age=60"]), "private, max-age=60");
        assert_eq!(made_private(&["no-store"]), "no-store");
        assert_eq!(made_private(&["No-Store, max-age=0"]), "No-Store, max-age=0");
        assert_eq!(made_private(&["private, max-age=9"]), "private, max-age=9");
        assert_eq!(made_private(&["public", "max-age=5"]), "private, max-age=5");
        assert_eq!(made_private(&["private, s-maxage=9"]), "private");
        // The form with names speaks of these fields only, and what stands in quotes is no directive.
        assert_eq!(made_private(&["private=\"x-a\", max-age=9"]), "private, private=\"x-a\", max-age=9");
        assert_eq!(
            made_private(&["x=\"a, no-store, b\", max-age=9"]),
            "private, x=\"a, no-store, b\", max-age=9"
        );
        assert_eq!(made_private(&["no-store, x=\"a\""]), "private, no-store, x=\"a\"");
        assert_eq!(made_private(&["private, no-cache=\"Set-Cookie\""]), "private, no-cache=\"Set-Cookie\"");
    }

    #[test]
    fn a_word_between_quotes_is_no_directive() {
        assert_eq!(made_private(&["x=\", private, \", max-age=9"]), "private, x=\", \", max-age=9");
        assert_eq!(made_private(&["x=\", no-store, \""]), "private, x=\", no-store, \"");
    }
}
