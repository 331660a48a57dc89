//! The diagnostic log: what went wrong and why, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sends diagnostics to standard error from now on; `FLUIDGATE_LOG` filters them (default `info`). Colour only on a terminal.
/// A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("FLUIDGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .with_env_filter(filter);
    // Fails only when one is set already, as in a test that starts two gateways.
    let _ = subscriber.try_init();
}
