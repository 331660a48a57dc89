//! Any request target, host and fields: reading them never panics, and what is let through has one reading.
#![no_main]

use fluidgate::web::head_watch::HeadFacts;
use fluidgate::web::normalize::normalize;
use fluidgate::web::path::read_path;
use fluidgate::web::route::{Place, RouteMatch, RouteTable};
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (host, target) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (b"app.test".as_slice(), bytes),
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
    // Nothing that is let through on the open route looks like the closed one to a lenient upstream.
    let RouteMatch::One(&route) = routes.find(&normal.host.name, &normal.path, request.method()) else { return };
    for reading in std::iter::once(&*normal.path.primary).chain(normal.path.others.iter().map(String::as_str)) {
        assert!(!reading.split('/').any(|segment| matches!(segment, "." | "..")), "{reading:?}");
        let closed = reading == "/admin" || reading.starts_with("/admin/");
        assert_eq!(closed, route == "closed", "{reading:?}");
        // What was decoded once and is plain reads the same again.
        if !reading.contains(['%', '\u{fffd}']) && let Ok(again) = read_path(reading) {
            assert_eq!(again.primary, reading);
        }
    }
});
