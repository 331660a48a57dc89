//! Runs [`fluidgate::web::fuzz::return_to`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::web::fuzz::return_to(data));
