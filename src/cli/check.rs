//! `fluidgate check`: every problem of the configuration file at once, and what it amounts to when there is none.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, LoadError, Loaded, Problems};

/// Checks the file at `path`: problems and warnings to standard error, one line to standard output when it can be run.
/// Exits 0 when it can, 1 when not.
pub(super) fn run(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => {
            show(&loaded.warnings);
            println!("{}", summary(path, &loaded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            show_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints why a configuration cannot be used to standard error, as `run` does too.
pub(super) fn show_error(error: &LoadError) {
    match error {
        LoadError::Invalid(problems) => show(problems),
        unreadable @ LoadError::Unreadable { .. } => eprintln!("{unreadable}"),
    }
}

/// Prints problems to standard error, coloured on a terminal unless `NO_COLOR` is set (no-color.org).
pub(super) fn show(problems: &Problems) {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    eprint!("{}", problems.render(std::io::stderr().is_terminal() && !refused));
}

fn summary(path: &Path, loaded: &Loaded) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let config = &loaded.config;
    format!(
        "{}: ok ({}, {}, {})",
        path.display(),
        count(config.server.listen.len(), "listener"),
        count(config.gateway.routes.len(), "route"),
        count(loaded.warnings.list().len(), "warning"),
    )
}
