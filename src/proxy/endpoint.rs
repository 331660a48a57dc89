//! One upstream as all workers see it: what it is doing now. It lives on over reloads as long as it stays the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::proxy::settings::{GroupSettings, MemberSettings};
use crate::proxy::{UpstreamAddress, UpstreamGroup};

/// An upstream's shared state. Workers touch atomics only.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Workers find their connections by it; never given twice.
    pub(super) id: u64,
    pub(super) address: UpstreamAddress,
    /// Requests in flight over all workers; one counts until its response body has ended.
    pub(super) in_flight: AtomicUsize,
    /// How many groups have it as a member; at zero the workers let go of their idle connections.
    memberships: AtomicUsize,
}

impl Endpoint {
    fn new(id: u64, address: UpstreamAddress) -> Self {
        Self { id, address, in_flight: AtomicUsize::new(0), memberships: AtomicUsize::new(0) }
    }

    /// Whether no group has it any more.
    pub(super) fn is_retired(&self) -> bool {
        self.memberships.load(Ordering::Relaxed) == 0
    }
}

/// A group's hold on an endpoint.
#[derive(Debug)]
pub(super) struct Membership(Arc<Endpoint>);

impl Membership {
    fn new(endpoint: Arc<Endpoint>) -> Self {
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

/// Every upstream of this process. A reload builds its groups over the same upstreams.
#[derive(Debug, Default)]
pub struct Upstreams {
    known: Mutex<HashMap<UpstreamAddress, Weak<Endpoint>>>,
    last_id: AtomicU64,
}

impl Upstreams {
    /// The group of `settings`, over upstreams that are known already where they stay the same.
    pub fn group(&self, settings: &GroupSettings) -> UpstreamGroup {
        UpstreamGroup::new(settings, |member| self.join(member))
    }

    fn join(&self, member: &MemberSettings) -> Membership {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(&member.address).and_then(Weak::upgrade) {
            return Membership::new(endpoint);
        }
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let endpoint = Arc::new(Endpoint::new(id, member.address.clone()));
        known.insert(member.address.clone(), Arc::downgrade(&endpoint));
        Membership::new(endpoint)
    }
}
