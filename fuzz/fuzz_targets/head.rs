//! Runs [`fluidgate::web::fuzz::head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::head(data));
