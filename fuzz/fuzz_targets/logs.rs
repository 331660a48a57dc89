//! Runs [`fluidgate::observe::fuzz::logs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::observe::fuzz::logs(data));
