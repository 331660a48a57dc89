//! Runs [`fluidgate::login::fuzz::password_hash`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::login::fuzz::password_hash(data));
