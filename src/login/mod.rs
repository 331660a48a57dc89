//! Layer 2: proves who someone is; knows nothing of cookies or sessions. Imports `base`, `web`, `observe`.

use std::path::PathBuf;
use std::time::Duration;

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
