//! Layer 2: proves who someone is; knows nothing of cookies or sessions. Imports `base`, `web`, `observe`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::base::secret::Secret;

/// Checked settings of the login layer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local user file.
    pub users: PathBuf,
    /// Cost and bounds of password hashing.
    pub hashing: HashingSettings,
    /// Limits on attempts.
    pub throttle: ThrottleSettings,
}

/// Cost and bounds of password hashing. Memory in use is at most `threads` × `memory_kib`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingSettings {
    /// Memory of one Argon2id run in KiB. Default 19456 (the OWASP minimum with two passes).
    pub memory_kib: u32,
    /// Passes. Default 2.
    pub iterations: u32,
    /// Threads of the low-priority pool. Default 1.
    pub threads: usize,
    /// Logins that may wait for a thread; one more is answered 503. Default 64.
    pub queue: usize,
}

/// Limits on password attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures one account may have in `window`. Default 10.
    pub per_account: u32,
    /// Failures one source address (IPv6: its /64) may have in `window`. Default 30.
    pub per_source: u32,
    /// The window. Default 5 min.
    pub window: Duration,
}

/// Password login against the local user file. Shared by all workers.
#[derive(Debug)]
pub struct Login {
    _settings: Settings,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The password was right.
    Grant(Subject),
    /// Unknown, disabled, expired or wrong password; the answer must not tell which (X14).
    Refuse,
    /// Too many attempts (429).
    Throttled {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The hash pool is full (503).
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Outside the bounds of a name or a password (400); nothing was hashed.
    Invalid,
}

/// Why the user file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The user file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Login {
    /// Reads the user file and starts the hash pool.
    ///
    /// # Errors
    /// When the user file cannot be used.
    pub fn open(settings: &Settings) -> Result<Arc<Login>, LoginError> {
        Ok(Arc::new(Login { _settings: settings.clone() }))
    }

    /// One attempt. Refuses all until the directory is wired in.
    pub async fn attempt(
        &self,
        _username: &str,
        _password: Secret,
        _source: Option<IpAddr>,
        _now: Timestamp,
    ) -> Outcome {
        Outcome::Refuse
    }

    /// The present directory state of `user`; `None` when gone, disabled or expired at `now`.
    pub fn subject_of(&self, _user: &str, _now: Timestamp) -> Option<Subject> {
        None
    }

    /// Reads the user file again; on an error the old directory stays.
    ///
    /// # Errors
    /// When the user file cannot be used.
    pub fn reload(&self) -> Result<(), LoginError> {
        Ok(())
    }

    /// What is odd but not wrong about the user file, one line each; for the log at start and after a reload.
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The number of users in the file.
    pub fn user_count(&self) -> usize {
        0
    }
}
