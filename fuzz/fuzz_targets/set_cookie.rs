//! Runs [`fluidgate::session::fuzz::set_cookie`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::session::fuzz::set_cookie(data));
