//! Runs [`fluidgate::session::fuzz::redis`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::session::fuzz::redis(data));
