//! What the server layer tells Prometheus: connections per listener, certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::metrics::{Scrape, Source};
use crate::server::tls::Tls;

/// The connections of one listener. Counted once per connection, never per request.
#[derive(Debug)]
pub(super) struct ListenerCounts {
    listener: String,
    accepted: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

impl ListenerCounts {
    pub(super) fn new(listener: String) -> Arc<Self> {
        Arc::new(Self {
            listener,
            accepted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Counts a connection, until what this returns is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }
}

/// A connection that is open.
pub(super) struct OpenConnection(Arc<ListenerCounts>);

impl OpenConnection {
    /// It is one more than there may be.
    pub(super) fn is_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The connections of all listeners.
#[derive(Debug)]
pub struct ConnectionCounts(pub(super) Vec<Arc<ListenerCounts>>);

impl Source for ConnectionCounts {
    fn report(&self, scrape: &mut Scrape) {
        let rows = |count: fn(&ListenerCounts) -> u64| {
            self.0.iter().map(move |counts| ([counts.listener.clone()], count(counts)))
        };
        // Closed first, so that one that ends meanwhile does not make it negative.
        let open = rows(|counts| {
            let closed = counts.closed.load(Ordering::Relaxed);
            counts.accepted.load(Ordering::Relaxed).saturating_sub(closed)
        });
        scrape.gauges("connections_open", "Client connections that are open", ["listener"], open);
        let accepted = rows(|counts| counts.accepted.load(Ordering::Relaxed));
        scrape.counters("connections_accepted", "Client connections accepted", ["listener"], accepted);
        let refused = rows(|counts| counts.refused.load(Ordering::Relaxed));
        let help = "Of those, closed at once because there were as many as server.max_connections or max_connections_per_source allows";
        scrape.counters("connections_refused", help, ["listener"], refused);
    }
}

impl Source for Tls {
    fn report(&self, scrape: &mut Scrape) {
        let status = self.status();
        let help = "When the certificate that is served ends, since the epoch";
        let certificates = status.certificates();
        let rows = certificates.iter().map(|c| ([c.path.display().to_string()], c.not_after.as_secs()));
        scrape.gauges("tls_certificate_not_after_timestamp_seconds", help, ["certificate"], rows);
        let help = "Whether the certificates could be used when they were read last";
        scrape.gauge("tls_certificates_last_reload_successful", help, status.last_reload_ok().into());
        scrape.counter("tls_certificate_reloads", "Changed certificates taken up", status.reloads());
        let help = "Changed certificates that could not be used";
        scrape.counter("tls_certificate_reload_failures", help, status.failures());
    }
}
