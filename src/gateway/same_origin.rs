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
    // Any other scheme is no page of a website: an extension's or an app's may name whatever host it likes.
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return PageOrigin::Other(origin.as_bytes()),
    };
    match Host::parse(authority) {
        Ok(named) if named.same_place(host, default) => PageOrigin::Same,
        _ => PageOrigin::Other(origin.as_bytes()),
    }
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
    fn silence_and_an_opaque_origin_leave_it_to_the_token() {
        assert_eq!(judged(&[]), FormOrigin::Unsaid);
        assert_eq!(judged(&[("origin", "null")]), FormOrigin::Unsaid);
    }
}
