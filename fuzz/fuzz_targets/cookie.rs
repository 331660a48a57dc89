//! Runs [`fluidgate::web::fuzz::cookie`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::cookie(data));
