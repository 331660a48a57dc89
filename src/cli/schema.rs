//! `fluidgate schema`: the JSON Schema of the configuration file, for editors.

use std::io::Write;
use std::process::ExitCode;

/// Prints the schema: exit code 0, or 1 when standard output fails.
pub(super) fn run() -> ExitCode {
    match writeln!(std::io::stdout(), "{:#}", crate::config::schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
