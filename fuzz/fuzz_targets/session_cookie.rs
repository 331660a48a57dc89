//! Runs [`fluidgate::session::fuzz::session_cookie`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::session::fuzz::session_cookie(data));
