//! What a connection waits for, and for how long. A sweep judges all connections of a worker by it once a second, so that no
//! silent, dripping, idle or stalled one lives on, and no request pays for a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::web::head_watch::HeadWatch;

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) body: Duration,
}

/// What a connection does, as seen from its socket and its service.
#[derive(Debug)]
pub(super) struct Activity {
    /// The worker's coarse time, moved on by the sweep.
    now: Rc<Cell<Timestamp>>,
    pub(super) watch: Rc<HeadWatch>,
    phase: Cell<Phase>,
    phase_since: Cell<Timestamp>,
    last_read: Cell<Timestamp>,
    last_write: Cell<Timestamp>,
    read_waits: Cell<bool>,
    write_waits: Cell<bool>,
    body_failed: Cell<bool>,
    /// What the task that drives the connection was told and has not yet seen.
    order: Cell<Order>,
    driver: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests, or before the first: not a byte of the next head has come.
    Idle,
    /// A head is on its way.
    Head,
    /// A request is being answered.
    Busy,
}

/// What the task that drives a connection is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    #[default]
    Serve,
    /// Close when the request in flight is done.
    Finish,
    /// Close now.
    Cut,
}

impl Activity {
    pub(super) fn new(now: Rc<Cell<Timestamp>>) -> Self {
        let start = now.get();
        Self {
            now,
            watch: Rc::default(),
            phase: Cell::new(Phase::Idle),
            phase_since: Cell::new(start),
            last_read: Cell::new(start),
            last_write: Cell::new(start),
            read_waits: Cell::new(false),
            write_waits: Cell::new(false),
            body_failed: Cell::new(false),
            order: Cell::default(),
            driver: RefCell::default(),
        }
    }

    /// Bytes came in (none at the end of the stream).
    pub(super) fn read(&self, bytes: &[u8]) {
        self.read_waits.set(false);
        self.last_read.set(self.now.get());
        self.watch.read(bytes);
        if self.phase.get() == Phase::Idle && !bytes.is_empty() {
            self.enter(Phase::Head);
        }
    }

    /// hyper wants bytes, and there are none.
    pub(super) fn read_waits(&self) {
        self.read_waits.set(true);
    }

    /// Bytes were taken, or (`waits`) the client takes none at present.
    pub(super) fn wrote(&self, waits: bool) {
        if !waits {
            self.last_write.set(self.now.get());
        } else if !self.write_waits.get() {
            // The wait begins now, however long ago the last write was.
            self.last_write.set(self.now.get());
        }
        self.write_waits.set(waits);
    }

    /// A request has begun.
    pub(super) fn busy(&self) {
        self.enter(Phase::Busy);
    }

    /// The response's last byte is hyper's.
    pub(super) fn answered(&self) {
        self.enter(Phase::Idle);
    }

    /// The response's body broke off.
    pub(super) fn body_failed(&self) {
        self.body_failed.set(true);
    }

    /// Whether closing now cuts a response off.
    pub(super) fn is_half_answered(&self) -> bool {
        self.is_busy() || self.body_failed.get()
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.phase.get() == Phase::Busy
    }

    /// Whether the client has kept this connection waiting beyond its limits.
    pub(super) fn is_stalled(&self, limits: Limits) -> bool {
        let now = self.now.get();
        if self.write_waits.get() && now.since(self.last_write.get()) > limits.body {
            return true;
        }
        match self.phase.get() {
            // Answered early, with the request body still coming.
            Phase::Idle | Phase::Head if self.watch.in_body() => {
                now.since(self.last_read.get()) > limits.body
            }
            Phase::Idle | Phase::Head => {
                !self.write_waits.get() && now.since(self.phase_since.get()) > limits.head
            }
            // hyper reads on while a request is answered, to see the client leave: only a body still owed counts.
            Phase::Busy => {
                self.read_waits.get() && self.watch.in_body() && now.since(self.last_read.get()) > limits.body
            }
        }
    }

    /// Whether nothing of a request has come since the last answer.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Tells the driving task what to do; a stronger order stands.
    pub(super) fn tell(&self, order: Order) {
        if self.order.get() != Order::Cut {
            self.order.set(order);
        }
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }

    /// The standing order; `cx` is woken when it changes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Order {
        let mut driver = self.driver.borrow_mut();
        match driver.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *driver = Some(cx.waker().clone()),
        }
        self.order.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.phase_since.set(self.now.get());
    }
}
