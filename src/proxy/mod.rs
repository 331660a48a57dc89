//! Layer 2: the engine that forwards. Imports `base`, `web`, `observe`, and of its siblings `policy::Permit` alone, so that
//! forwarding without a decision does not compile.

use std::time::Duration;

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// `http://host:port`.
    Http {
        /// DNS name or address literal, without brackets.
        host: Box<str>,
        /// TCP port.
        port: u16,
    },
}

/// Checked settings of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time to connect to an upstream. Default 5 s.
    pub connect_timeout: Duration,
    /// Time from the request sent to the first byte of the response head. Default 60 s.
    pub response_timeout: Duration,
    /// Idle upstream connections kept per worker and upstream. Default 64.
    pub max_idle: usize,
    /// How long an idle upstream connection is kept. Default 30 s.
    pub idle_timeout: Duration,
}
