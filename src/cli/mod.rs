//! Layer 6: the commands; one enum, one match, a file per command.

use std::process::ExitCode;

pub mod check;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
