//! Removes what belongs to one connection only (RFC 9110 section 7.6.1), before our own fields are set, so that a client can
//! never nominate ours away.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE};

use crate::web::fields::remove_all;

/// Removes from a request: `Connection` and what it names, `Keep-Alive`, `Proxy` and every `Proxy-*`, `Transfer-Encoding` (the
/// sender frames anew), `Upgrade`, `HTTP2-Settings`, `Trailer` (request trailers are dropped), `Expect` (the server side has
/// answered it), and `TE` unless it was exactly `trailers`. A nomination never reaches `Host` or `Content-Length`.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_request_and(headers, |name| name == "trailer");
}

/// The same, but for `Trailer`: for a request whose trailers may pass.
pub fn strip_request_but_trailer(headers: &mut HeaderMap) {
    strip_request_and(headers, |_| false);
}

fn strip_request_and(headers: &mut HeaderMap, also: impl Fn(&str) -> bool) {
    let trailers = headers.contains_key(TE) && wants_trailers(headers);
    strip(headers, |name| also(name) || matches!(name, "expect" | "http2-settings"));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from a response: `Connection` and what it names, `Keep-Alive`, `Proxy` and every `Proxy-*`, `Transfer-Encoding`,
/// `Upgrade` and `TE`. A nomination never reaches `Content-Length`.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers, |_| false);
}

/// One walk over the names: a lookup per name that might be there costs more than looking at the few that are.
fn strip(headers: &mut HeaderMap, also: impl Fn(&str) -> bool) {
    let mut lines = headers.get_all(CONNECTION).iter();
    if let Some(first) = lines.next() {
        if lines.next().is_some() || !names_nothing(first.as_bytes()) {
            for name in nominated(headers) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    remove_all(headers, |name| is_hop_by_hop(name.as_str()) || also(name.as_str()));
}

/// `Proxy` is no field of HTTP, but CGI-like upstreams turn it into `HTTP_PROXY` ("httpoxy").
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "transfer-encoding" | "upgrade" | "te" | "proxy")
        || name.starts_with("proxy-")
}

/// What stands in a Connection line and names no field.
fn names_nothing(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close")
}

/// The names in all Connection lines that may be removed.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let tokens = headers.get_all(CONNECTION).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        .filter(|token| !names_nothing(token))
        .filter_map(|t| HeaderName::from_bytes(t).ok())
        .filter(|n| *n != HOST && *n != CONTENT_LENGTH)
        .collect()
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TE).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(lines: &[(&str, &str)]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        strip_request(&mut map);
        let mut left: Vec<_> = map.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        left.sort();
        left
    }

    #[test]
    fn what_any_connection_line_names_goes_with_it() {
        let lines = [
            ("connection", "close, x-a"),
            ("connection", "X-B ,, bad name"),
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
        ];
        assert_eq!(stripped(&lines), ["x-c: 3"]);
    }

    #[test]
    fn host_and_length_cannot_be_nominated_away() {
        let lines = [("connection", "host, content-length, cookie"), ("host", "a"), ("content-length", "3")];
        assert_eq!(stripped(&lines), ["content-length: 3", "host: a"]);
    }

    #[test]
    fn te_survives_only_as_trailers() {
        assert_eq!(stripped(&[("te", "Trailers"), ("connection", "te")]), ["te: trailers"]);
        for te in ["gzip", "trailers, gzip", "trailers;q=1"] {
            assert!(stripped(&[("te", te)]).is_empty(), "{te}");
        }
        assert!(stripped(&[("te", "trailers"), ("te", "gzip")]).is_empty());
    }

    #[test]
    fn fields_of_one_connection_go() {
        let lines = [
            ("keep-alive", "5"),
            ("proxy", "http://evil"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "x"),
            ("proxy-anything", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("trailer", "x"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ];
        assert_eq!(stripped(&lines), ["accept: */*"]);
    }
}
