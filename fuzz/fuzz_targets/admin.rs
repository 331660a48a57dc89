//! Runs [`fluidgate::gateway::fuzz::admin`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::gateway::fuzz::admin(data));
