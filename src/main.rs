//! The `fluidgate` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    fluidgate::cli::main()
}
