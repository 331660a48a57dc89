//! Proof that a form was sent from our own pages (S28): Sec-Fetch-Site, else Origin, else a token in the form.

use http::HeaderMap;
use http::header::ORIGIN;

use crate::web::host::Host;

/// What the browser says of where a form came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormOrigin {
    /// From this very origin.
    Same,
    /// From somewhere else: refuse.
    Other,
    /// It does not say; a form token must.
    Unsaid,
}

/// Judges a request for `host`. Origins are compared by host and port, not by scheme, since a TLS terminator in front that is
/// not a trusted proxy hides the scheme from us, and a page of the same host over another scheme is that host's own.
pub fn form_origin(headers: &HeaderMap, host: &Host<'_>) -> FormOrigin {
    if let Some(site) = headers.get("sec-fetch-site") {
        return match site.as_bytes() {
            b"same-origin" => FormOrigin::Same,
            b"none" => FormOrigin::Unsaid,
            _ => FormOrigin::Other,
        };
    }
    match page_origin(headers, host) {
        PageOrigin::Same => FormOrigin::Same,
        // Opaque: sent by sandboxed frames, but also by honest browsers that were told to hide where they come from.
        PageOrigin::Unsaid | PageOrigin::Other(b"null") => FormOrigin::Unsaid,
        PageOrigin::Other(_) | PageOrigin::Unclear => FormOrigin::Other,
    }
}

/// What the Origin field says of the page behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOrigin<'a> {
    /// It is of the host that is asked, compared by host and port as in [`form_origin`].
    Same,
    /// It is of this origin, or opaque (`null`).
    Other(&'a [u8]),
    /// Nothing.
    Unsaid,
    /// More than one thing.
    Unclear,
}

/// Reads the Origin field of a request for `host`.
pub fn page_origin<'a>(headers: &'a HeaderMap, host: &Host<'_>) -> PageOrigin<'a> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => return PageOrigin::Unsaid,
        (Some(_), Some(_)) => return PageOrigin::Unclear,
        (Some(origin), None) => origin,
    };
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else {
        return PageOrigin::Other(origin.as_bytes());
    };
    // Some native clients name the WebSocket's own scheme, which no page has. Any other is no page of a website: an extension's or an
    // app's may name whatever host it likes.
    let default = match scheme {
        "https" | "wss" => 443,
        "http" | "ws" => 80,
        _ => return PageOrigin::Other(origin.as_bytes()),
    };
    match Host::parse(authority) {
        Ok(named) if named.same_place(host, default) => PageOrigin::Same,
        _ => PageOrigin::Other(origin.as_bytes()),
    }
}

/// Whether an Origin is `page`, which is of `http` or `https`: `ws` is read as the one and `wss` as the other, as above.
pub fn is_of(origin: &[u8], page: &str) -> bool {
    let page = page.as_bytes();
    let socket = || origin.strip_prefix(b"ws").filter(|rest| page.strip_prefix(b"http") == Some(*rest));
    origin == page || socket().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(fields: &[(&'static str, &'static str)]) -> FormOrigin {
        let headers = fields.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        form_origin(&headers, &Host::parse("app.test:8080").unwrap())
    }

    #[test]
    fn fetch_metadata_decides_before_origin() {
        assert_eq!(judged(&[("sec-fetch-site", "same-origin")]), FormOrigin::Same);
        assert_eq!(judged(&[("sec-fetch-site", "none")]), FormOrigin::Unsaid);
        for site in ["same-site", "cross-site", "x"] {
            assert_eq!(
                judged(&[("sec-fetch-site", site), ("origin", "http://app.test:8080")]),
                FormOrigin::Other,
                "{site}"
            );
        }
    }

    #[test]
    fn origin_must_name_this_host_and_port() {
        assert_eq!(judged(&[("origin", "http://app.test:8080")]), FormOrigin::Same);
        assert_eq!(judged(&[("origin", "https://APP.test:8080")]), FormOrigin::Same);
        for origin in [
            "http://app.test",
            "http://evil.test:8080",
            "http://app.test.evil:8080",
            "app.test:8080",
            "http://x@app.test:8080",
            "app://app.test:8080",
            "x http://app.test:8080",
            "://app.test:8080",
        ] {
            assert_eq!(judged(&[("origin", origin)]), FormOrigin::Other, "{origin}");
        }
        assert_eq!(
            judged(&[("origin", "http://app.test:8080"), ("origin", "http://evil")]),
            FormOrigin::Other
        );
    }

    #[test]
    fn the_schemes_of_websockets_are_read_as_those_of_their_pages() {
        let judged = |host: &str, origin: &'static str| {
            let headers = [(ORIGIN, origin.parse().unwrap())].into_iter().collect();
            page_origin(&headers, &Host::parse(host).unwrap()) == PageOrigin::Same
        };
        for (host, origin) in [
            ("app.test", "wss://app.test"),
            ("app.test:443", "wss://app.test"),
            ("app.test:80", "ws://app.test"),
            ("app.test:8080", "ws://app.test:8080"),
        ] {
            assert!(judged(host, origin), "{origin} of {host}");
        }
        for (host, origin) in [
            ("app.test", "wss://evil.test"),
            ("app.test:443", "ws://app.test"),
            ("app.test:80", "wss://app.test"),
            ("app.test", "wsx://app.test"),
        ] {
            assert!(!judged(host, origin), "{origin} of {host}");
        }
    }

    #[test]
    fn an_origin_is_a_page_by_the_scheme_of_its_websockets_too() {
        for (origin, page) in [
            ("https://a.test", "https://a.test"),
            ("wss://a.test", "https://a.test"),
            ("ws://a.test:81", "http://a.test:81"),
        ] {
            assert!(is_of(origin.as_bytes(), page), "{origin}");
        }
        for origin in ["ws://a.test", "http://a.test", "wss://b.test", "s://a.test", "wsss://a.test", "ws"] {
            assert!(!is_of(origin.as_bytes(), "https://a.test"), "{origin}");
        }
    }

    #[test]
    fn silence_and_an_opaque_origin_leave_it_to_the_token() {
        assert_eq!(judged(&[]), FormOrigin::Unsaid);
        assert_eq!(judged(&[("origin", "null")]), FormOrigin::Unsaid);
    }
}
