//! Layer 2: sockets and threads; generic over what answers a request. Imports `base`, `web`, `observe`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

/// Checked settings of the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The public listeners; at least one.
    pub listen: Vec<ListenAddress>,
    /// Worker threads. Default: one per core.
    pub workers: usize,
    /// How long a drain waits for requests in flight. Default 30 s.
    pub grace_period: Duration,
    /// Time for the first byte of a connection and for a whole request head; also the keep-alive idle time. Default 60 s.
    pub head_timeout: Duration,
    /// Longest pause while a request body arrives or a response is taken. Default 60 s.
    pub body_timeout: Duration,
    /// Largest request head in bytes. Default 64 KiB.
    pub max_head: usize,
}
