//! Layer 6: the commands; one enum, one match, a file per command.

pub mod sample_app;

use std::process::ExitCode;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
