//! Runs [`fluidgate::session::fuzz::stored`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::session::fuzz::stored(data));
