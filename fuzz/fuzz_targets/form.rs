//! Runs [`fluidgate::gateway::fuzz::form`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::gateway::fuzz::form(data));
