//! Runs [`fluidgate::config::fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::config::fuzz::config(data));
