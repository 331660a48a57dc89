//! `fluidgate run`: the gateway of a configuration file.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::check;
use crate::cli::serve::serve;
use crate::config;
use crate::observe::diagnostics;

/// EX_CONFIG of sysexits.h: a supervisor need not start it again.
const BAD_CONFIG: u8 = 78;

/// Runs the gateway of the file at `path`. A bad file prints what `check` prints and exits 78.
pub(super) fn run(path: &Path) -> ExitCode {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            check::show_error(&error);
            return ExitCode::from(BAD_CONFIG);
        }
    };
    check::show(&loaded.warnings);
    let _diagnostics = diagnostics::start();
    serve(&loaded.config, |running| {
        for address in running.addresses() {
            tracing::info!(%address, "listening");
        }
        if let Some(address) = running.management() {
            tracing::info!(%address, "management listening");
        }
    })
}
