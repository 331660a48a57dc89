//! What must hold of any input for the readings of this layer: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body_util::Empty;
use ipnet::IpNet;
use url::Url;

use crate::web::cookie;
use crate::web::forwarded::{ConnectionValues, client_address};
use crate::web::head_watch::{HeadFacts, HeadWatch};
use crate::web::hop_by_hop::{strip_request, strip_response};
use crate::web::host::Host;
use crate::web::normalize::normalize;
use crate::web::path::read_path;
use crate::web::return_to::ReturnTo;
use crate::web::route::{Place, RouteMatch, RouteTable};
use crate::web::trace_context::continue_trace;
use crate::web::trailers::keep_permitted;
use crate::web::upgrade::Asked;
use crate::web::via::ViaName;

/// The fields that `data` says, one `name: value` a line; other lines are left out.
pub(crate) fn fields(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(200) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The first line of `data`, and the rest.
pub(crate) fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, b""),
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// Cookie fields, one a line: after withholding, none of ours is left and every other one is, in order and byte for byte.
pub fn cookie(data: &[u8]) {
    const NAME: &[u8] = b"__Host-fluidgate";
    fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let trim = |piece: &[u8]| {
            let start = piece.iter().position(|b| !blank(b)).unwrap_or(piece.len());
            let end = piece.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
            piece[start..end].to_vec()
        };
        let lines = headers.get_all(COOKIE).iter();
        let pieces = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';')).map(trim);
        let is_ours = |piece: &[u8]| {
            let name = piece.split(|b| *b == b'=').next().unwrap();
            trim(name) == NAME
        };
        pieces.filter(|piece| !piece.is_empty() && !is_ours(piece)).collect()
    }
    let mut headers = HeaderMap::new();
    for field in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(COOKIE, value);
        }
    }
    let (ours, others) = (cookie::values(&headers, NAME).count(), pairs(&headers));
    let removed = cookie::withhold(&mut headers, |name| name == NAME);
    assert!(removed >= ours);
    assert_eq!(cookie::values(&headers, NAME).count(), 0);
    assert!(headers.get_all(COOKIE).iter().count() <= 1);
    assert_eq!(pairs(&headers), others);
}

/// Forwarding fields from a trusted peer and from another: nobody is trusted beyond an untrusted address, and an untrusted peer
/// has no word at all.
pub fn forwarded(data: &[u8]) {
    let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
    if let Ok(value) = HeaderValue::from_bytes(data) {
        for name in [HeaderName::from_static("x-forwarded-for"), FORWARDED] {
            let headers = HeaderMap::from_iter([(name, value.clone())]);
            let _ = client_address(&headers, &trusted);
        }
        let chain = HeaderValue::from_bytes(&[data, b", 192.0.2.7, 10.0.0.1"].concat()).unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), chain)]);
        assert_eq!(client_address(&headers, &trusted), Some([192, 0, 2, 7].into()));
    }
    let sent = fields(data);
    let stranger = ConnectionValues::new(Some("192.0.2.9:1".parse().unwrap()), false, &trusted);
    let mut headers = sent.clone();
    let client = stranger.client(&headers, &trusted);
    assert_eq!((client.address, client.secure), (Some([192, 0, 2, 9].into()), false));
    stranger.set_forwarded(&mut headers, &client);
    assert_eq!(values(&headers, "x-forwarded-for"), [b"192.0.2.9"]);
    assert_eq!(values(&headers, "x-real-ip"), [b"192.0.2.9"]);
    assert_eq!(values(&headers, "x-forwarded-proto"), [b"http"]);
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    assert_eq!(headers.get("x-forwarded-host").map(HeaderValue::as_bytes), host);
    for name in headers.keys().map(HeaderName::as_str) {
        let known = ["for", "proto", "host", "port"].map(|end| format!("x-forwarded-{end}"));
        assert!(!name.starts_with("x-forwarded-") || known.iter().any(|k| k == name), "{name}");
        assert!(!matches!(
            name,
            "forwarded" | "client-ip" | "true-client-ip" | "x-original-url" | "x-rewrite-url"
        ));
    }
    let proxy = ConnectionValues::new(Some("10.1.2.3:1".parse().unwrap()), false, &trusted);
    let mut headers = sent.clone();
    let client = proxy.client(&headers, &trusted);
    proxy.set_forwarded(&mut headers, &client);
    let chain = values(&headers, "x-forwarded-for");
    assert!(chain.len() == 1 && chain[0].ends_with(b"10.1.2.3"), "{chain:?}");
    let scheme: &[u8] = if client.secure { b"https" } else { b"http" };
    assert_eq!(values(&headers, "x-forwarded-proto"), [scheme]);
    for name in ["x-forwarded-method", "x-forwarded-uri", "x-original-url", "x-rewrite-url"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    for name in ["x-real-ip", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"] {
        assert!(values(&headers, name).len() <= 1, "{name}");
    }
}

/// The head watch sees the same facts however the bytes are cut. The bytes of the first line say where: each is the length of
/// a piece.
pub fn head(data: &[u8]) {
    fn facts(pieces: &[&[u8]]) -> (Vec<HeadFacts>, bool) {
        let watch = HeadWatch::default();
        pieces.iter().for_each(|piece| watch.read(piece));
        (std::iter::from_fn(|| watch.take()).collect(), watch.in_body())
    }
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (cuts, bytes) = (&data[..at], &data[at + 1..]);
    let whole = facts(&[bytes]);
    assert_eq!(whole, facts(&bytes.chunks(1).collect::<Vec<_>>()));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for cut in cuts {
        let (piece, tail) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    assert_eq!(whole, facts(&pieces));
}

/// A host that is accepted has one reading, the same as a browser's, and is accepted again as it was read.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(host) = Host::parse(text) else { return };
    let name = &*host.name;
    assert!(!name.is_empty() && name.is_ascii() && !name.ends_with('.'), "{name:?}");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    assert!(name.starts_with('[') || name.bytes().all(plain), "{name:?}");
    assert_eq!(Host::parse(name), Ok(Host { name: Cow::Borrowed(name), port: None }));
    let whole = host.port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    assert_eq!(Host::parse(&whole), Ok(Host { name: Cow::Borrowed(name), port: host.port }));
    assert!(host.same_place(&Host::parse(&whole).unwrap(), 80));
    let Ok(url) = Url::parse(&format!("http://{text}/")) else { return };
    match url.host() {
        Some(url::Host::Domain(read)) => assert_eq!(read.strip_suffix('.').unwrap_or(read), name),
        Some(url::Host::Ipv6(read)) => assert_eq!(format!("[{read}]"), name),
        // A browser takes some names for numbers; it then sends the number, so no such name arrives from one.
        Some(url::Host::Ipv4(_)) | None => {}
    }
    assert_eq!(url.port(), host.port.filter(|port| *port != 80), "{text:?}");
}

/// Any return target: what is accepted stays on the origin or on the allow-listed one, by the reading of a browser.
pub fn return_to(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let origins = ["https://good.test".to_owned()];
    let Some(target) = ReturnTo::parse(raw, &origins) else { return };
    let location = target.location();
    let text = location.to_str().expect("visible ASCII");
    for scheme in ["http", "https"] {
        let own = format!("{scheme}://app.test:8080");
        let base = Url::parse(&format!("{own}/_auth/login")).unwrap();
        let led = base.join(text).expect("a browser can follow it");
        let place = led.origin().ascii_serialization();
        assert!(place == own || place == "https://good.test", "{text:?} leads to {place}");
        assert!(led.fragment().is_none() && led.username().is_empty(), "{text:?}");
    }
    assert!(!text.starts_with("//"), "{text:?}");
    assert_eq!(ReturnTo::parse(text, &origins), Some(target), "accepted again as it is");
}

/// Host in the first line, target in the rest: what is let through has one reading, and nothing that is let through on the open
/// route looks like the closed one to a lenient upstream.
pub fn target(data: &[u8]) {
    let (host, target) = match first_line(data) {
        (host, rest) if data.contains(&b'\n') => (host, rest),
        _ => (b"app.test".as_slice(), data),
    };
    let (Ok(host), Ok(uri)) = (HeaderValue::from_bytes(host), Uri::try_from(target)) else { return };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
    let facts = HeadFacts { canonical_length: true, ..HeadFacts::default() };
    let Ok(normal) = normalize(&request, Some(facts)) else { return };
    let mut routes = RouteTable::default();
    routes.insert(&Place::below(None, "/"), "open");
    routes.insert(&Place::below(None, "/admin"), "closed");
    let RouteMatch::One(&route) = routes.find(&normal.host.name, &normal.path, request.method()) else {
        return;
    };
    for reading in std::iter::once(&*normal.path.primary).chain(normal.path.others.iter().map(String::as_str))
    {
        assert!(!reading.split('/').any(|segment| matches!(segment, "." | "..")), "{reading:?}");
        let closed = reading == "/admin" || reading.starts_with("/admin/");
        assert_eq!(closed, route == "closed", "{reading:?}");
        // What was decoded once and is plain reads the same again.
        if !reading.contains(['%', '\u{fffd}'])
            && let Ok(again) = read_path(reading)
        {
            assert_eq!(again.primary, reading);
        }
    }
}

/// Trace and `Via` fields: a trace goes on only as the very one that came, in one well-formed field, and a state never alone.
pub fn trace(data: &[u8]) {
    let mut headers = fields(data);
    let came = headers.clone();
    continue_trace(&mut headers, 0xabc);
    match values(&headers, "traceparent").as_slice() {
        [] => assert!(!headers.contains_key("tracestate"), "a state without a parent"),
        [parent] => {
            let [original] = values(&came, "traceparent")[..] else { panic!("several became one") };
            let text = std::str::from_utf8(parent).unwrap();
            assert!(
                text.len() == 55 && text.starts_with("00-") && text[35..].starts_with("-0000000000000abc-0")
            );
            assert_eq!(parent[3..35], original[3..35], "another trace");
            assert!(
                text[3..35].bytes().all(|b| b.is_ascii_hexdigit()) && text[3..35].bytes().any(|b| b != b'0')
            );
        }
        several => panic!("{several:?}"),
    }
    let (ours, other) = (ViaName::new(7), ViaName::new(8));
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let mut passed = came.clone();
        let looped = ours.has_passed(&passed);
        other.pass(&mut passed, version);
        assert_eq!(ours.has_passed(&passed), looped, "another's entry is not ours");
        ours.pass(&mut passed, version);
        assert!(ours.has_passed(&passed));
    }
}

/// Method in the first line, fields in the rest: no form of HTTP and no TLS is ever asked for, and what belongs to one connection
/// is gone afterwards, what `Connection` names with it.
pub fn upgrade(data: &[u8]) {
    let (method, rest) = first_line(data);
    let mut headers = fields(rest);
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    *request.method_mut() = Method::from_bytes(method).unwrap_or_default();
    *request.headers_mut() = headers.clone();
    if let Some(asked) = Asked::by(&request) {
        let Asked::Upgrade(protocol) = &asked else { panic!("no extended CONNECT was sent") };
        let name = protocol.to_str().unwrap().to_ascii_lowercase();
        for refused in ["h2", "http", "tls"] {
            assert!(
                !name.starts_with(refused)
                    || name.starts_with("tls") && name.split('/').next() != Some("tls"),
                "{name}"
            );
        }
        assert!(!name.contains([',', ' ', '\t', ';']) && !name.is_empty());
        assert!(!asked.is_websocket() || request.method() == Method::GET);
        *request.version_mut() = Version::HTTP_10;
        assert_eq!(Asked::by(&request), None);
    }
    let named: Vec<Vec<u8>> = values(&headers, "connection")
        .iter()
        .flat_map(|line| line.split(|b| *b == b','))
        .map(|token| token.trim_ascii().to_ascii_lowercase())
        .filter(|token| {
            token != b"close"
                && token != HOST.as_str().as_bytes()
                && token != CONTENT_LENGTH.as_str().as_bytes()
        })
        .collect();
    let (wanted, mut response) = (values(&headers, "te").len(), headers.clone());
    strip_request(&mut headers);
    strip_response(&mut response);
    for (stripped, request) in [(&headers, true), (&response, false)] {
        for name in stripped.keys().map(HeaderName::as_str) {
            let hop = ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy"];
            assert!(!hop.contains(&name) && !name.starts_with("proxy-"), "{name}");
            assert!(!request || !matches!(name, "trailer" | "expect" | "http2-settings"), "{name}");
            let te = request && name == TE.as_str();
            assert!(te || !named.iter().any(|token| token == name.as_bytes()), "{name} was named");
        }
        assert!(!stripped.contains_key(CONNECTION));
    }
    assert!(!response.contains_key(TE));
    assert!(values(&headers, "te").is_empty() || wanted == 1 && values(&headers, "te") == [b"trailers"]);
    keep_permitted(&mut response, |_| true);
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "cookie",
        "set-cookie",
        "authorization",
        "trailer",
        "te",
    ] {
        assert!(!response.contains_key(name), "{name} is no trailer");
    }
}
