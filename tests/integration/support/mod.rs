//! What the tests speak with: a gateway started through the real path, an upstream that records, a browser with a cookie jar.

pub mod asker;
pub mod browser;
pub mod dice;
pub mod faults;
pub mod frames;
pub mod gateway;
pub mod h2;
pub mod redis;
pub mod strict;
pub mod tls;
pub mod upstream;
pub mod ways;
pub mod wire;

use std::time::Duration;

/// How long a test waits for an event before it fails. Long, because a deadline is no behaviour.
pub const PATIENCE: Duration = Duration::from_secs(20);
