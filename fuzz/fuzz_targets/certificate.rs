//! Runs [`fluidgate::server::fuzz::certificate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::server::fuzz::certificate(data));
