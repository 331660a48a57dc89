//! Requests by route, decision and status class, and tunnels. Each worker counts in slots of its own, which nobody else writes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::{Scrape, Source};

/// What became of a request before it was forwarded or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Refused: not understood, no route, or a limit.
    Refuse,
    /// Answered by a page of the gateway's own.
    Own,
    /// Asked to log in.
    Challenge,
    /// Signed in, but not allowed.
    Deny,
    /// Forwarded, or answered as the route says.
    Allow,
}

impl Verdict {
    const ALL: [Self; 5] = [Self::Refuse, Self::Own, Self::Challenge, Self::Deny, Self::Allow];

    /// The stable code for logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Own => "own",
            Self::Challenge => "challenge",
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where a route's requests are counted. The default is that of no route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteId(usize);

/// The counts of all workers. Routes are told apart by name and stay when a reload removes them: a counter never goes back.
#[derive(Debug)]
pub struct RequestCounts {
    routes: Mutex<Vec<Route>>,
    tunnels: AtomicU64,
    tunnels_closed: AtomicU64,
}

#[derive(Debug)]
struct Route {
    name: String,
    workers: Vec<Arc<Slots>>,
}

/// One worker's counts of one route, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slots([[AtomicU64; CLASSES.len()]; Verdict::ALL.len()]);

impl Default for RequestCounts {
    fn default() -> Self {
        let none = Route { name: String::new(), workers: Vec::new() };
        Self {
            routes: Mutex::new(vec![none]),
            tunnels: AtomicU64::default(),
            tunnels_closed: AtomicU64::default(),
        }
    }
}

impl RequestCounts {
    /// Where the requests of the route `name` are counted. For building a snapshot, not for a request.
    pub fn route(&self, name: &str) -> RouteId {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = routes.iter().position(|route| route.name == name);
        RouteId(known.unwrap_or_else(|| {
            routes.push(Route { name: name.to_owned(), workers: Vec::new() });
            routes.len() - 1
        }))
    }

    /// A worker's own counts.
    pub fn worker(self: &Arc<Self>) -> WorkerCounts {
        WorkerCounts { all: Arc::clone(self), own: RefCell::default() }
    }

    /// Counts a tunnel that has opened, until what this returns is dropped.
    pub fn tunnel(self: &Arc<Self>) -> OpenTunnel {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        OpenTunnel(Arc::clone(self))
    }

    /// A worker's slots of the routes behind the first `known`, which it does not have yet.
    fn newer(&self, known: usize) -> Vec<Arc<Slots>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = routes.iter_mut().skip(known).map(|route| {
            let slots = Arc::new(Slots::default());
            route.workers.push(Arc::clone(&slots));
            slots
        });
        fresh.collect()
    }
}

impl Source for RequestCounts {
    fn report(&self, scrape: &mut Scrape) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = BTreeMap::new();
        for (place, route) in routes.iter().enumerate() {
            for slots in &route.workers {
                for (verdict, classes) in Verdict::ALL.iter().zip(&slots.0) {
                    for (class, count) in CLASSES.iter().zip(classes) {
                        let key = (place, *class, verdict.code());
                        *sums.entry(key).or_default() += count.load(Ordering::Relaxed);
                    }
                }
            }
        }
        let rows = sums.into_iter().filter(|(_, count): &(_, u64)| *count > 0);
        let name = |place: usize| routes.get(place).map_or_else(String::new, |route| route.name.clone());
        let rows = rows.map(|((place, class, verdict), count)| {
            ([name(place), class.to_owned(), verdict.to_owned()], count)
        });
        scrape.counters(
            "requests",
            "Requests answered, by route (empty: none matched), class of the status and decision",
            ["route", "status", "decision"],
            rows,
        );
        // In this order, so that one that ends meanwhile does not make it negative.
        let closed = self.tunnels_closed.load(Ordering::Relaxed);
        let opened = self.tunnels.load(Ordering::Relaxed);
        let help = "WebSockets and other upgraded connections that are open";
        scrape.gauge("tunnels_open", help, opened.saturating_sub(closed));
        scrape.counter(
            "tunnels_opened",
            "WebSockets and other upgraded connections that have opened",
            opened,
        );
    }
}

/// A tunnel that is open.
#[derive(Debug)]
pub struct OpenTunnel(Arc<RequestCounts>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels_closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// One worker's counts; they never leave its thread.
#[derive(Debug)]
pub struct WorkerCounts {
    all: Arc<RequestCounts>,
    own: RefCell<Vec<Arc<Slots>>>,
}

impl WorkerCounts {
    /// Counts one answered request. No lock but for the first request after a reload that brought routes.
    pub fn count(&self, route: RouteId, verdict: Verdict, status: StatusCode) {
        let mut own = self.own.borrow_mut();
        if own.len() <= route.0 {
            let known = own.len();
            own.extend(self.all.newer(known));
        }
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        let counter = own.get(route.0).and_then(|slots| slots.0.get(verdict as usize)?.get(class));
        if let Some(counter) = counter {
            // Only this thread writes it, so that an ordinary addition is enough.
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exposition;
    use super::*;

    fn said(counts: &RequestCounts) -> Vec<String> {
        let mut scrape = Scrape::default();
        counts.report(&mut scrape);
        let text = scrape.text(Exposition::Prometheus).unwrap();
        text.lines().filter(|line| line.starts_with("fluidgate_requests")).map(str::to_owned).collect()
    }

    #[test]
    fn the_counts_of_all_workers_are_one_number() {
        let counts = Arc::new(RequestCounts::default());
        let wiki = counts.route("wiki");
        let (one, two) = (counts.worker(), counts.worker());
        one.count(wiki, Verdict::Allow, StatusCode::OK);
        two.count(wiki, Verdict::Allow, StatusCode::NO_CONTENT);
        two.count(wiki, Verdict::Deny, StatusCode::FORBIDDEN);
        one.count(RouteId::default(), Verdict::Refuse, StatusCode::NOT_FOUND);
        assert_eq!(
            said(&counts),
            [
                "fluidgate_requests_total{route=\"\",status=\"4xx\",decision=\"refuse\"} 1",
                "fluidgate_requests_total{route=\"wiki\",status=\"2xx\",decision=\"allow\"} 2",
                "fluidgate_requests_total{route=\"wiki\",status=\"4xx\",decision=\"deny\"} 1",
            ]
        );
    }

    #[test]
    fn a_route_that_a_reload_brings_is_counted_and_one_that_it_keeps_goes_on() {
        let counts = Arc::new(RequestCounts::default());
        let worker = counts.worker();
        worker.count(counts.route("a"), Verdict::Allow, StatusCode::OK);
        worker.count(counts.route("b"), Verdict::Allow, StatusCode::OK);
        worker.count(counts.route("a"), Verdict::Allow, StatusCode::OK);
        assert_eq!(said(&counts).len(), 2);
        assert!(said(&counts)[0].ends_with("} 2"));
    }

    #[test]
    fn an_odd_status_is_not_counted_and_does_not_panic() {
        let counts = Arc::new(RequestCounts::default());
        counts.worker().count(RouteId(99), Verdict::Allow, StatusCode::from_u16(999).unwrap());
        assert!(said(&counts).is_empty());
    }
}
