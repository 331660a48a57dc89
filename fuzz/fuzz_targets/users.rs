//! The user file reader: any text is a directory or a list of problems with their places, never a panic.
#![no_main]

use fluidgate::login::directory::UserDirectory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = UserDirectory::parse(text) {
        assert!(!problems.is_empty());
        assert!(problems.iter().all(|p| p.line >= 1 && p.column >= 1));
    }
});
