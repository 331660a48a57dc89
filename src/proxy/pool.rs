//! One worker's connections to its upstreams.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;

use crate::base::clock::{Clock, Timestamp};
use crate::proxy::body::RequestBody;
use crate::proxy::connect::{ConnectError, connect};
use crate::proxy::endpoint::Endpoint;
use crate::proxy::waiting::Waiting;
use crate::proxy::{Limits, UpstreamAddress};

/// How often idle connections and waiting requests are looked at; time limits are this coarse.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);

/// What happened to a worker's upstream connections since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Requests that took an idle connection.
    pub reused: u64,
    /// Connections that carry a request now.
    pub in_use: u64,
}

/// The upstream connections of one worker. Idle ones are taken last in, first out, so that few stay hot and the rest age out.
pub struct UpstreamPool {
    shared: Rc<Shared>,
    clock: Arc<dyn Clock>,
    lanes: RefCell<HashMap<u64, Rc<Lane>>>,
}

impl UpstreamPool {
    /// An empty pool whose sweep runs as a local task until the pool is dropped. Call it on the worker's own runtime.
    pub fn start(clock: Arc<dyn Clock>) -> Rc<Self> {
        let pool = Self::unswept(clock);
        tokio::task::spawn_local(sweep_regularly(Rc::downgrade(&pool)));
        pool
    }

    /// An empty pool that nobody sweeps.
    pub(super) fn unswept(clock: Arc<dyn Clock>) -> Rc<Self> {
        let shared = Rc::new(Shared {
            now: Cell::new(clock.now()),
            waiting: Waiting::default(),
            counters: Cell::default(),
        });
        Rc::new(Self { shared, clock, lanes: RefCell::default() })
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.get()
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Drops what has been idle too long, was closed by its upstream or belongs to one that is no longer used, and ends waits
    /// that took too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.shared.now.set(now);
        self.shared.waiting.sweep(now);
        self.lanes.borrow_mut().retain(|_, lane| {
            lane.idle.borrow_mut().retain(|i| now < i.until && !i.sender.is_closed());
            // A lane in use lives on by its leases, and gives its connections up with them.
            !lane.endpoint.is_retired()
        });
    }

    /// A request's place at `endpoint`: it counts as in flight there from now on.
    pub(super) fn ticket(&self, endpoint: &Arc<Endpoint>, limits: &Limits) -> Ticket {
        let lane = self.lane(endpoint);
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        self.shared.count(|c| c.in_use += 1);
        Ticket { lane, max_idle: limits.max_idle, idle_timeout: limits.idle_timeout }
    }

    /// A connection for the request of `ticket`: the one that became idle last, else a new one.
    pub(super) async fn check_out(&self, ticket: Ticket, limits: &Limits) -> Result<Lease, ConnectError> {
        loop {
            // Taken out in a statement of its own, so that no borrow lives across the await.
            let idle = ticket.lane.idle.borrow_mut().pop();
            let Some(idle) = idle else { break };
            if idle.since != self.shared.now.get() || !idle.sender.is_ready() {
                // It may have died unseen. Yielding lets the runtime look at its sockets once and run the driver.
                tokio::task::yield_now().await;
            }
            if idle.sender.is_ready() && !idle.sender.is_closed() {
                self.shared.count(|c| c.reused += 1);
                return Ok(Lease { sender: Some(idle.sender), ticket });
            }
        }
        self.check_out_fresh(ticket, limits).await
    }

    /// A new connection for the request of `ticket`, whatever is idle.
    pub(super) async fn check_out_fresh(
        &self,
        ticket: Ticket,
        limits: &Limits,
    ) -> Result<Lease, ConnectError> {
        let sender = connect(&ticket.lane.endpoint.address, limits.connect_timeout).await?;
        self.shared.count(|c| c.opened += 1);
        Ok(Lease { sender: Some(sender), ticket })
    }

    fn lane(&self, endpoint: &Arc<Endpoint>) -> Rc<Lane> {
        if let Some(lane) = self.lanes.borrow().get(&endpoint.id) {
            return Rc::clone(lane);
        }
        let lane = Rc::new(Lane {
            endpoint: Arc::clone(endpoint),
            shared: Rc::clone(&self.shared),
            idle: RefCell::default(),
        });
        self.lanes.borrow_mut().insert(endpoint.id, Rc::clone(&lane));
        lane
    }
}

impl fmt::Debug for UpstreamPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamPool").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

/// What every connection and request of a pool refers to.
#[derive(Debug)]
pub(super) struct Shared {
    /// The moment of the last sweep: coarse, and free to read.
    pub(super) now: Cell<Timestamp>,
    pub(super) waiting: Waiting,
    counters: Cell<Counters>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

/// The idle connections to one upstream, the newest last.
#[derive(Debug)]
struct Lane {
    endpoint: Arc<Endpoint>,
    shared: Rc<Shared>,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Timestamp,
    until: Timestamp,
}

/// A request's place at an upstream; dropped, the request is no longer in flight there.
#[derive(Debug)]
pub(super) struct Ticket {
    lane: Rc<Lane>,
    max_idle: usize,
    idle_timeout: Duration,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lane.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.lane.shared.count(|c| c.in_use = c.in_use.saturating_sub(1));
    }
}

/// A connection that carries one request. Dropped without [`Lease::check_in`], the connection goes too.
#[derive(Debug)]
pub(super) struct Lease {
    sender: Option<SendRequest<RequestBody>>,
    ticket: Ticket,
}

impl Lease {
    /// Where the connection leads.
    pub(super) fn upstream(&self) -> &UpstreamAddress {
        &self.ticket.lane.endpoint.address
    }

    /// The sending side; `None` only after check-in.
    pub(super) fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.sender.as_mut()
    }

    /// The exchange is complete: the connection may carry the next.
    pub(super) fn check_in(mut self) {
        let Some(sender) = self.sender.take() else { return };
        let lane = &self.ticket.lane;
        let now = lane.shared.now.get();
        let mut idle = lane.idle.borrow_mut();
        // Not ready: the request body is still on its way although the response has ended. Such a connection is not reused.
        let reusable = !sender.is_closed() && sender.is_ready();
        if reusable && idle.len() < self.ticket.max_idle && !lane.endpoint.is_retired() {
            idle.push(Idle { sender, since: now, until: now + self.ticket.idle_timeout });
        }
    }
}

async fn sweep_regularly(pool: Weak<UpstreamPool>) {
    let mut ticks = tokio::time::interval(SWEEP_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}
