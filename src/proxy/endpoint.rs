//! One upstream as all workers see it: what it is doing now. It lives on over reloads as long as it stays the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use crate::base::clock::Timestamp;
use crate::proxy::address::{Place, UpstreamAddress};
use crate::proxy::resolve::Lookup;
use crate::proxy::settings::{Ejection, MemberSettings};
use crate::proxy::tls::UpstreamTls;

/// What makes two members the same upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EndpointKey {
    address: UpstreamAddress,
    tls: Option<UpstreamTls>,
    max_connections: Option<usize>,
    title_case: bool,
}

impl From<&MemberSettings> for EndpointKey {
    fn from(member: &MemberSettings) -> Self {
        Self {
            address: member.address.clone(),
            tls: member.tls.clone(),
            max_connections: member.max_connections,
            title_case: member.title_case,
        }
    }
}

/// An upstream's shared state. Workers touch atomics only.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Workers find their connections by it; never given twice.
    pub(super) id: u64,
    pub(super) address: UpstreamAddress,
    pub(super) tls: Option<UpstreamTls>,
    pub(super) title_case: bool,
    /// Requests in flight over all workers; one counts until its response body has ended.
    pub(super) in_flight: AtomicUsize,
    pub(super) cap: Option<Cap>,
    /// What finds its addresses; `None` for a unix socket.
    pub(super) lookup: Option<Lookup>,
    /// What its name stood for when that was last looked up; `None` before, and for one without a name.
    pub(super) addresses: ArcSwapOption<Vec<SocketAddr>>,
    /// Counts the changes of `addresses`.
    pub(super) generation: AtomicU64,
    /// Counts the connections begun, so that several addresses of one name take turns.
    pub(super) turns: AtomicUsize,
    pub(super) totals: Totals,
    failures_in_a_row: AtomicU32,
    ejected_until: AtomicU64,
    /// Whether it was found ejected when last looked at, so that its return is said once.
    said_ejected: AtomicBool,
    /// How many groups have it as a member; at zero the workers let go of their idle connections.
    memberships: AtomicUsize,
}

/// What bounds the connections to an upstream.
#[derive(Debug)]
pub(super) struct Cap {
    pub(super) permits: Arc<Semaphore>,
    /// Requests that wait for a connection, over all workers.
    pub(super) waiting: AtomicUsize,
}

/// Counts since the process started.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) opened: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) open: AtomicUsize,
}

impl Endpoint {
    pub(super) fn new(id: u64, key: EndpointKey) -> Self {
        let cap = |most| Cap { permits: Arc::new(Semaphore::new(most)), waiting: AtomicUsize::new(0) };
        let lookup = match &key.address.place {
            Place::Tcp { host, port } => Some(Lookup::new(host, *port)),
            Place::Unix(_) => None,
        };
        Self {
            id,
            address: key.address,
            lookup,
            title_case: key.title_case,
            tls: key.tls,
            in_flight: AtomicUsize::new(0),
            cap: key.max_connections.map(|most| cap(most.min(Semaphore::MAX_PERMITS))),
            addresses: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            turns: AtomicUsize::new(0),
            totals: Totals::default(),
            failures_in_a_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            said_ejected: AtomicBool::new(false),
            memberships: AtomicUsize::new(0),
        }
    }

    /// Whether no group has it any more.
    pub(super) fn is_retired(&self) -> bool {
        self.memberships.load(Ordering::Relaxed) == 0
    }

    /// Connections to other addresses than these are used no more.
    pub(super) fn moved_to(&self, addresses: Vec<SocketAddr>) {
        self.addresses.store(Some(Arc::new(addresses)));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether failures of late say to leave it alone at `now`.
    pub(super) fn is_ejected(&self, now: Timestamp) -> bool {
        now.as_millis() < self.ejected_until.load(Ordering::Relaxed)
    }

    /// A request was answered. Costs a look unless something failed before.
    pub(super) fn note_answer(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            if self.said_ejected.swap(false, Ordering::Relaxed) {
                tracing::info!(upstream = %self.address, "the upstream answers again");
            }
        }
    }

    /// A request failed at `now`. Enough of them in a row eject it, unless it is the `last` that could take requests.
    pub(super) fn note_failure(
        &self,
        now: Timestamp,
        ejection: Option<Ejection>,
        last: impl FnOnce() -> bool,
    ) {
        self.totals.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let Some(ejection) = ejection else { return };
        if in_a_row < ejection.failures || self.is_ejected(now) || last() {
            return;
        }
        // The count stays: back from the ejection, one more failure is enough, and one answer clears it.
        self.ejected_until.store((now + ejection.period).as_millis(), Ordering::Relaxed);
        self.said_ejected.store(true, Ordering::Relaxed);
        tracing::warn!(upstream = %self.address, failures = in_a_row, period = ?ejection.period, "the upstream is left alone for a while: requests fail there");
    }
}

/// A group's hold on an endpoint.
#[derive(Debug)]
pub(super) struct Membership(Arc<Endpoint>);

impl Membership {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.memberships.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.memberships.fetch_sub(1, Ordering::Relaxed);
    }
}
