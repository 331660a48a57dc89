//! Runs [`fluidgate::config::fuzz::secret`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fluidgate::config::fuzz::secret(data));
