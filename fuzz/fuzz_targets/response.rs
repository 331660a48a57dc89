//! Runs [`fluidgate::gateway::fuzz::response`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::gateway::fuzz::response(data));
