//! Runs [`fluidgate::server::fuzz::preface`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::server::fuzz::preface(data));
