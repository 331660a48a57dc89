//! Every upstream of this process: what snapshots share over reloads, and what metrics read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::base::clock::Timestamp;
use crate::proxy::endpoint::{Endpoint, EndpointKey, Membership};
use crate::proxy::health::Health;
use crate::proxy::settings::{GroupSettings, HealthSettings};
use crate::proxy::{UpstreamAddress, UpstreamGroup};

/// Every upstream of this process. A reload builds its groups over the same upstreams, with what is known of them.
#[derive(Debug, Default)]
pub struct Upstreams {
    known: Mutex<Known>,
    last_id: AtomicU64,
    /// Told when there is an upstream or a health check that was not there before.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<EndpointKey, Weak<Endpoint>>,
    checks: HashMap<(u64, HealthSettings), Weak<Health>>,
}

/// What is known of one upstream at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamState {
    /// Where it listens.
    pub address: UpstreamAddress,
    /// Whether no health check of any route has found it unhealthy.
    pub healthy: bool,
    /// Whether it is left alone because requests failed there.
    pub ejected: bool,
    /// Requests in flight.
    pub in_flight: usize,
    /// Connections open, idle ones included.
    pub open: usize,
    /// Connections opened since the process started.
    pub opened: u64,
    /// Requests that took a connection that was there already.
    pub reused: u64,
    /// Requests that failed there: no connection, no response, or none in time.
    pub failures: u64,
}

impl Upstreams {
    /// The group of `settings`, over upstreams that are known already where they stay the same.
    pub fn group(&self, settings: &GroupSettings) -> UpstreamGroup {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        known.checks.retain(|_, check| check.strong_count() > 0);
        let mut fresh = false;
        let group = UpstreamGroup::new(settings, |member| {
            let key = EndpointKey::from(member);
            let endpoint = known.endpoints.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
                fresh = true;
                let id = self.last_id.fetch_add(1, Ordering::Relaxed);
                let endpoint = Arc::new(Endpoint::new(id, key.clone()));
                known.endpoints.insert(key, Arc::downgrade(&endpoint));
                endpoint
            });
            let check = settings.health.as_ref().map(|health| {
                let key = (endpoint.id, health.clone());
                known.checks.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
                    fresh = true;
                    let check = Arc::new(Health::new(Arc::clone(&endpoint), health.clone()));
                    known.checks.insert(key, Arc::downgrade(&check));
                    check
                })
            });
            (Membership::new(endpoint), check)
        });
        if fresh {
            self.changed.notify_one();
        }
        group
    }

    /// What is known of every upstream in use at `now`, by address.
    pub fn states(&self, now: Timestamp) -> Vec<UpstreamState> {
        let (endpoints, checks) = (self.endpoints(), self.checks());
        let state = |endpoint: &Arc<Endpoint>| UpstreamState {
            address: endpoint.address.clone(),
            healthy: checks.iter().all(|check| check.endpoint().id != endpoint.id || check.is_healthy()),
            ejected: endpoint.is_ejected(now),
            in_flight: endpoint.in_flight.load(Ordering::Relaxed),
            open: endpoint.totals.open.load(Ordering::Relaxed),
            opened: endpoint.totals.opened.load(Ordering::Relaxed),
            reused: endpoint.totals.reused.load(Ordering::Relaxed),
            failures: endpoint.totals.failures.load(Ordering::Relaxed),
        };
        let mut states: Vec<_> = endpoints.iter().map(state).collect();
        states.sort_by_key(|state| state.address.to_string());
        states
    }

    /// The upstreams that a group has.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.endpoints.values().filter_map(Weak::upgrade).filter(|e| !e.is_retired()).collect()
    }

    /// The health checks that a group has.
    pub(super) fn checks(&self) -> Vec<Arc<Health>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.checks.values().filter_map(Weak::upgrade).collect()
    }
}
