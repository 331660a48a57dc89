//! What `run`, `protect` and `demo` share: start, say where, wait, and turn the end into an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::app::{self, Ended, Running};
use crate::base::clock::SystemClock;
use crate::base::secret::SystemRandom;
use crate::config::Config;

/// Requests were cut at the end of the grace period.
const UNCLEAN: u8 = 3;

/// Starts the gateway of `config`, calls `announce` once it listens, and waits for its end.
pub(super) fn serve(config: &Config, announce: impl FnOnce(&Running)) -> ExitCode {
    // What the gateway writes is its own business; stores that make files of their own follow this.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_open_files();
    // Said and not refused: in a container, root may be nobody outside.
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root, which the gateway never needs: give it a user of its own");
    }
    // A clock set back between two runs must not give sessions their time again (S19).
    let clock = SystemClock::starting_at_least(config.session.latest_moment());
    match app::start(config, Arc::new(clock), Arc::new(SystemRandom)) {
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

/// As many open files as the system allows without asking: the usual 1024 are used up by a few hundred clients and their upstreams.
fn raise_open_files() {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    // Where it cannot be, the gateway runs with fewer, and says so when they are used up.
    let _ = setrlimit(Resource::Nofile, limits);
}

/// The address a browser on this machine opens for `running`.
pub(super) fn url(running: &Running) -> String {
    match running.addresses().first() {
        Some(address) => format!("http://{address}"),
        None => String::new(),
    }
}
