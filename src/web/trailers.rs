//! Trailer fields (RFC 9110 section 6.5): what may never stand behind a body, whoever sends it.

use http::header::{HeaderMap, HeaderName};

use crate::web::fields::remove_all;
use crate::web::forwarded::is_misleading;

/// Keeps the trailers that may be ones and that `permitted` lets pass: never a field that frames or routes a message, holds for
/// one connection, authenticates, sets a cookie, tells who the client is, or says how the body is to be read (RFC 9110 section
/// 6.5.1).
pub fn keep_permitted(trailers: &mut HeaderMap, permitted: impl Fn(&HeaderName) -> bool) {
    remove_all(trailers, |name| is_forbidden(name.as_str()) || !permitted(name));
}

fn is_forbidden(name: &str) -> bool {
    const FAMILIES: [&str; 10] = [
        "content-",
        "proxy-",
        "x-http-",
        "x-method-",
        "x-original-",
        "x-rewrite-",
        "if-",
        "access-control-",
        "sec-",
        "x-fluidgate-",
    ];
    matches!(
        name,
        "age"
            | "authorization"
            | "cache-control"
            | "connection"
            | "cookie"
            | "cookie2"
            | "date"
            | "expect"
            | "expires"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "location"
            | "max-forwards"
            | "origin"
            | "pragma"
            | "proxy"
            | "range"
            | "referer"
            | "retry-after"
            | "set-cookie"
            | "set-cookie2"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "vary"
            | "via"
            | "warning"
            | "www-authenticate"
            | "x-request-id"
    ) || is_misleading(name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_routes_or_authenticates_is_never_a_trailer() {
        let lines = [
            "grpc-status",
            "server-timing",
            "etag",
            "x-checksum",
            "content-length",
            "transfer-encoding",
            "host",
            "connection",
            "authorization",
            "cookie",
            "set-cookie",
            "x-forwarded-for",
            "true-client-ip",
            "x-real-ip",
            "x-request-id",
            "te",
            "proxy-anything",
            "sec-fetch-site",
            "remote-user",
        ];
        let mut trailers: HeaderMap =
            lines.iter().map(|name| (HeaderName::from_static(name), "1".parse().unwrap())).collect();
        keep_permitted(&mut trailers, |name| *name != "remote-user");
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "grpc-status", "server-timing", "x-checksum"]);
    }
}
