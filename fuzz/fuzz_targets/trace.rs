//! Runs [`fluidgate::web::fuzz::trace`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::trace(data));
