//! Layer 2: the engine that forwards. Imports `base`, `web`, `observe`, and of its siblings `policy::Permit` alone, so that
//! forwarding without a decision does not compile.
//!
//! Everything here belongs to one worker: connections, their driver tasks and the futures are `!Send` and share by `Rc`.
//!
//! ```text
//! forward ── check out ──▶ idle list (LIFO) ──▶ hyper connection (own local task) ──▶ upstream
//!    ▲                        ▲        └─ empty: connect
//!    └── response head        └── check in, when the response body has ended
//! ```

use std::time::Duration;

mod body;
mod connect;
mod forward;
mod pool;
mod waiting;

pub use body::{ForwardedBody, RequestBody};
pub use forward::{ForwardError, forward};
pub use pool::{Counters, UpstreamPool};

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

impl std::fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
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

#[cfg(test)]
mod tests;
