//! One worker's connections to its upstreams.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::base::clock::{Clock, Timestamp};
use crate::base::recurring::one_turn;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::lane::{Connection, Lane, Stream};
use crate::proxy::waiting::Waiting;
use crate::proxy::{Limits, UpstreamAddress};

/// How often idle connections and waiting requests are looked at; time limits are this coarse.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);

/// What happened to a worker's upstream connections since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Requests that took a connection that was there already.
    pub reused: u64,
    /// Requests that are at an upstream now, or on their way to one.
    pub in_use: u64,
}

/// The upstream connections of one worker.
pub struct UpstreamPool {
    shared: Rc<Shared>,
    clock: Arc<dyn Clock>,
    lanes: RefCell<BTreeMap<u64, Rc<Lane>>>,
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
            spare: RefCell::default(),
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

    /// Lets go of connections that are of no more use, and ends waits that took too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        // What began after the last look bears its time: after a jump of the clock it would pass for as old as that.
        let last = self.shared.now.replace(now);
        self.shared.waiting.sweep(last);
        self.lanes.borrow_mut().retain(|_, lane| {
            lane.sweep(now);
            // A lane in use lives on by its leases, and gives its connections up with them.
            !lane.endpoint.is_retired()
        });
    }

    /// A request's place at `endpoint`: it counts as in flight there from now on.
    pub(super) fn ticket(&self, endpoint: &Arc<Endpoint>, limits: &Limits) -> Ticket {
        let lane = self.lane(endpoint);
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        self.shared.count(|c| c.in_use += 1);
        Ticket {
            lane,
            max_idle: limits.max_idle,
            idle_timeout: limits.idle_timeout,
            body_timeout: limits.body_timeout,
        }
    }

    fn lane(&self, endpoint: &Arc<Endpoint>) -> Rc<Lane> {
        if let Some(lane) = self.lanes.borrow().get(&endpoint.id) {
            return Rc::clone(lane);
        }
        let lane = Rc::new(Lane::new(endpoint, &self.shared));
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
    /// Lists of fields that copies of requests were kept in, empty, for the next.
    pub(super) spare: RefCell<Vec<crate::proxy::retry::Fields>>,
}

impl Shared {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

/// A request's place at an upstream; dropped, the request is no longer in flight there.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) lane: Rc<Lane>,
    max_idle: usize,
    pub(super) idle_timeout: Duration,
    body_timeout: Duration,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lane.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.lane.shared.count(|c| c.in_use = c.in_use.saturating_sub(1));
    }
}

/// A connection, or a stream on one, that carries one request. Dropped without [`Lease::check_in`], it goes too.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) carrier: Carrier,
    pub(super) ticket: Ticket,
}

#[derive(Debug)]
pub(super) enum Carrier {
    /// Boxed: it is large, and goes with the body of every answer.
    Http1(Box<Connection>),
    Http2(Stream),
}

impl Lease {
    /// Where the connection leads.
    pub(super) fn upstream(&self) -> &UpstreamAddress {
        &self.ticket.lane.endpoint.address
    }

    /// Longest pause within the response body.
    pub(super) fn body_timeout(&self) -> Duration {
        self.ticket.body_timeout
    }

    /// The task of the connection, if that carries this request alone.
    pub(super) fn driver(&self) -> Option<&AbortHandle> {
        match &self.carrier {
            Carrier::Http1(connection) => Some(&connection.driver),
            Carrier::Http2(_) => None,
        }
    }

    /// The exchange is complete: the connection may carry the next.
    pub(super) fn check_in(self) {
        let Self { carrier, ticket } = self;
        if let Carrier::Http1(connection) = carrier {
            let lane = &ticket.lane;
            let idle_until = lane.shared.now.get() + ticket.idle_timeout;
            lane.take_back(connection, ticket.max_idle, idle_until);
        }
    }
}

async fn sweep_regularly(pool: Weak<UpstreamPool>) {
    let mut ticks = tokio::time::interval(SWEEP_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) => one_turn(|| pool.sweep()),
            None => return,
        }
    }
}
