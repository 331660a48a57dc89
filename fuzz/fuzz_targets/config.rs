//! No text may panic the configuration reader or the display of its problems.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match fluidgate::config::parse(text, "gateway.toml", Path::new("/nonexistent")) {
        Ok(loaded) => drop(loaded.warnings.to_string()),
        Err(problems) => drop(problems.to_string()),
    }
});
