//! One worker's connections to its upstreams.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;

use crate::base::clock::{Clock, Timestamp};
use crate::proxy::body::RequestBody;
use crate::proxy::connect::{ConnectError, connect};
use crate::proxy::waiting::Waiting;
use crate::proxy::{Settings, UpstreamAddress};

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
    lanes: RefCell<HashMap<UpstreamAddress, Rc<Lane>>>,
}

impl UpstreamPool {
    /// An empty pool whose sweep runs as a local task until the pool is dropped. Call it on the worker's own runtime.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>) -> Rc<Self> {
        let pool = Self::unswept(settings, clock);
        tokio::task::spawn_local(sweep_regularly(Rc::downgrade(&pool)));
        pool
    }

    /// An empty pool that nobody sweeps.
    pub(super) fn unswept(settings: Settings, clock: Arc<dyn Clock>) -> Rc<Self> {
        let shared = Rc::new(Shared {
            settings,
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

    /// Drops what has been idle too long or was closed by its upstream, and ends waits that took too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.shared.now.set(now);
        self.shared.waiting.sweep(now, self.shared.settings.response_timeout);
        let limit = self.shared.settings.idle_timeout;
        for lane in self.lanes.borrow().values() {
            lane.idle.borrow_mut().retain(|i| now.since(i.since) < limit && !i.sender.is_closed());
        }
    }

    /// A connection to `address`: the one that became idle last, else a new one.
    pub(super) async fn check_out(&self, address: &UpstreamAddress) -> Result<Lease, ConnectError> {
        let lane = self.lane(address);
        loop {
            // Taken out in a statement of its own, so that no borrow lives across the await.
            let idle = lane.idle.borrow_mut().pop();
            let Some(idle) = idle else { break };
            if idle.since != self.shared.now.get() || !idle.sender.is_ready() {
                // It may have died unseen. Yielding lets the runtime look at its sockets once and run the driver.
                tokio::task::yield_now().await;
            }
            if idle.sender.is_ready() && !idle.sender.is_closed() {
                self.shared.count(|c| {
                    c.reused += 1;
                    c.in_use += 1;
                });
                return Ok(Lease { sender: Some(idle.sender), lane });
            }
        }
        self.open(&lane).await
    }

    /// A new connection to `address`, whatever is idle.
    pub(super) async fn check_out_fresh(&self, address: &UpstreamAddress) -> Result<Lease, ConnectError> {
        self.open(&self.lane(address)).await
    }

    async fn open(&self, lane: &Rc<Lane>) -> Result<Lease, ConnectError> {
        let sender = connect(&lane.address, self.shared.settings.connect_timeout).await?;
        self.shared.count(|c| {
            c.opened += 1;
            c.in_use += 1;
        });
        Ok(Lease { sender: Some(sender), lane: Rc::clone(lane) })
    }

    fn lane(&self, address: &UpstreamAddress) -> Rc<Lane> {
        if let Some(lane) = self.lanes.borrow().get(address) {
            return Rc::clone(lane);
        }
        let lane = Rc::new(Lane {
            address: address.clone(),
            shared: Rc::clone(&self.shared),
            idle: RefCell::default(),
        });
        self.lanes.borrow_mut().insert(address.clone(), Rc::clone(&lane));
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
    pub(super) settings: Settings,
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
    address: UpstreamAddress,
    shared: Rc<Shared>,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Timestamp,
}

/// A connection that carries one request. Dropped without [`Lease::check_in`], the connection goes too.
#[derive(Debug)]
pub(super) struct Lease {
    sender: Option<SendRequest<RequestBody>>,
    lane: Rc<Lane>,
}

impl Lease {
    /// The sending side; `None` only after check-in.
    pub(super) fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.sender.as_mut()
    }

    /// The exchange is complete: the connection may carry the next.
    pub(super) fn check_in(mut self) {
        let Some(sender) = self.sender.take() else { return };
        let shared = &self.lane.shared;
        let mut idle = self.lane.idle.borrow_mut();
        // Not ready: the request body is still on its way although the response has ended. Such a connection is not reused.
        if !sender.is_closed() && sender.is_ready() && idle.len() < shared.settings.max_idle {
            idle.push(Idle { sender, since: shared.now.get() });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lane.shared.count(|c| c.in_use = c.in_use.saturating_sub(1));
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
