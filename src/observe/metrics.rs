//! Numbers for Prometheus. Nothing is kept in the client library's own types: whoever counts keeps plain atomics, and a scrape
//! collects them, so that counting costs a request one uncontended add and no label is ever formatted on its way.
//!
//! docs/metrics.md lists every metric; a test compares it with a scrape.

mod requests;
mod scrape;

pub use self::requests::{OpenTunnel, RequestCounts, RouteId, Verdict, WorkerCounts};
pub use self::scrape::{Exposition, Scrape};

/// A part of the gateway that has numbers to tell.
pub trait Source: Send + Sync {
    /// Tells them.
    fn report(&self, scrape: &mut Scrape);
}
