//! Runs [`fluidgate::server::fuzz::proxy_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::server::fuzz::proxy_header(data));
