//! Runs [`fluidgate::web::fuzz::upgrade`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::upgrade(data));
