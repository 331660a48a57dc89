//! Runs [`fluidgate::web::fuzz::host`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::host(data));
