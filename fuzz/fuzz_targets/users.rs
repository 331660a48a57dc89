//! Runs [`fluidgate::login::fuzz::users`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::login::fuzz::users(data));
