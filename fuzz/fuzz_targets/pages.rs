//! Runs [`fluidgate::pages::fuzz::pages`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::pages::fuzz::pages(data));
