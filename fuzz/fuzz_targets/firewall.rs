//! Runs [`fluidgate::gateway::fuzz::firewall`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::gateway::fuzz::firewall(data));
