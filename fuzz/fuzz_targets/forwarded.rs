//! Any forwarding field from a trusted peer: reading it neither panics nor trusts beyond an untrusted address.
#![no_main]

use fluidgate::web::forwarded::client_address;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    for name in [HeaderName::from_static("x-forwarded-for"), FORWARDED] {
        let headers = HeaderMap::from_iter([(name, value.clone())]);
        let _ = client_address(&headers, &trusted);
    }
    let chain = [bytes, b", 192.0.2.7, 10.0.0.1"].concat();
    let Ok(value) = HeaderValue::from_bytes(&chain) else { return };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
    assert_eq!(client_address(&headers, &trusted), Some([192, 0, 2, 7].into()));
});
