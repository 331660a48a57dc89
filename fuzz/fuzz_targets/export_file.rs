//! Runs [`fluidgate::session::fuzz::export_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::session::fuzz::export_file(data));
