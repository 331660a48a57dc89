//! What the upstreams tell Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::observe::metrics::{Scrape, Source};
use crate::proxy::{UpstreamState, Upstreams};

/// The numbers of all upstreams in use.
pub struct UpstreamNumbers {
    upstreams: Arc<Upstreams>,
    clock: Arc<dyn Clock>,
}

impl UpstreamNumbers {
    /// Of `upstreams`, by the clock that ejections go by.
    pub fn new(upstreams: Arc<Upstreams>, clock: Arc<dyn Clock>) -> Self {
        Self { upstreams, clock }
    }

    /// By address: routes that speak with one address in different ways, such as with other certificates, have one line here.
    fn by_address(&self) -> BTreeMap<String, UpstreamState> {
        let mut all: BTreeMap<String, UpstreamState> = BTreeMap::new();
        for state in self.upstreams.states(self.clock.now()) {
            match all.entry(state.address.to_string()) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(state)),
                std::collections::btree_map::Entry::Occupied(mut known) => add(known.get_mut(), &state),
            }
        }
        all
    }
}

fn add(all: &mut UpstreamState, one: &UpstreamState) {
    all.healthy &= one.healthy;
    all.ejected |= one.ejected;
    all.in_flight += one.in_flight;
    all.open += one.open;
    all.opened += one.opened;
    all.reused += one.reused;
    all.failures += one.failures;
}

impl Source for UpstreamNumbers {
    fn report(&self, scrape: &mut Scrape) {
        let all = self.by_address();
        let rows = |number: fn(&UpstreamState) -> u64| {
            all.iter().map(move |(address, state)| ([address.clone()], number(state)))
        };
        let help = "Whether no health check has found the upstream unhealthy";
        scrape.gauges("upstream_healthy", help, ["upstream"], rows(|s| s.healthy.into()));
        let help = "Whether the upstream is left alone for a while because requests failed there";
        scrape.gauges("upstream_ejected", help, ["upstream"], rows(|s| s.ejected.into()));
        let help = "Requests at the upstream now";
        scrape.gauges("upstream_requests_in_flight", help, ["upstream"], rows(|s| s.in_flight as u64));
        let help = "Connections to the upstream that are open, idle ones included";
        scrape.gauges("upstream_connections_open", help, ["upstream"], rows(|s| s.open as u64));
        let help = "Connections opened to the upstream";
        scrape.counters("upstream_connections_opened", help, ["upstream"], rows(|s| s.opened));
        let help = "Requests that took a connection that was there already";
        scrape.counters("upstream_connections_reused", help, ["upstream"], rows(|s| s.reused));
        let help = "Requests that failed at the upstream: no connection, no response, or none in time";
        scrape.counters("upstream_failures", help, ["upstream"], rows(|s| s.failures));
    }
}
