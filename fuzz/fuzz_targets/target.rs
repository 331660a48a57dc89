//! Runs [`fluidgate::web::fuzz::target`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::target(data));
