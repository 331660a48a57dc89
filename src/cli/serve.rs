//! What `run`, `protect` and `demo` share: start, say where, wait, and turn the end into an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{self, Ended, Running};
use crate::base::clock::SystemClock;
use crate::base::secret::SystemRandom;
use crate::config::Config;

/// Requests were cut at the end of the grace period.
const UNCLEAN: u8 = 3;

/// Starts the gateway of `config`, calls `announce` once it listens, and waits for its end.
pub(super) fn serve(config: &Config, announce: impl FnOnce(&Running)) -> ExitCode {
    match app::start(config, Arc::new(SystemClock::default()), Arc::new(SystemRandom)) {
        Ok(running) => {
            announce(&running);
            match running.wait() {
                Ended::Clean => ExitCode::SUCCESS,
                Ended::Cut => ExitCode::from(UNCLEAN),
            }
        }
        Err(error) => {
            eprintln!("fluidgate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The address a browser on this machine opens for `running`.
pub(super) fn url(running: &Running) -> String {
    match running.addresses().first() {
        Some(address) => format!("http://{address}/"),
        None => String::new(),
    }
}
