//! Cookie fields are read and withheld without a panic; after withholding none of ours is left and every other one is.
#![no_main]

use fluidgate::web::cookie;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAME: &[u8] = b"__Host-fluidgate";

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for field in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(COOKIE, value);
        }
    }
    let ours = cookie::values(&headers, NAME).count();
    let removed = cookie::withhold(&mut headers, |name| name == NAME);
    assert!(removed >= ours);
    assert_eq!(cookie::values(&headers, NAME).count(), 0);
    assert!(headers.get_all(COOKIE).iter().count() <= 1);
    cookie::set_cookie_name(data);
});
