//! Any return target: what is accepted stays on the origin or on the allow-listed one, by the reading of a browser.
#![no_main]

use fluidgate::web::return_to::ReturnTo;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|raw: &str| {
    let origins = ["https://good.test".to_owned()];
    let Some(target) = ReturnTo::parse(raw, &origins) else { return };
    let base = Url::parse("http://app.test:8080/_auth/login").unwrap();
    let location = target.location();
    let text = location.to_str().expect("visible ASCII");
    let led = base.join(text).expect("a browser can follow it");
    let place = led.origin().ascii_serialization();
    assert!(place == "http://app.test:8080" || place == "https://good.test", "{text:?} leads to {place}");
    assert!(!text.starts_with("//"), "{text:?}");
    assert!(led.fragment().is_none() && led.username().is_empty(), "{text:?}");
    assert_eq!(ReturnTo::parse(text, &origins), Some(target), "accepted again as it is");
});
