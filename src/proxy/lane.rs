//! One worker's connections to one upstream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::AbortHandle;

use crate::base::clock::Timestamp;
use crate::proxy::body::RequestBody;
use crate::proxy::connect::MAX_STREAMS;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::pool::Shared;

/// One worker's connections to one upstream.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) shared: Rc<Shared>,
    /// Idle HTTP/1.1 connections, the newest last: taken last in, first out, so that few stay hot and the rest age out.
    pub(super) idle: RefCell<Vec<Idle>>,
    /// HTTP/2 connections, the newest last.
    pub(super) multiplexed: RefCell<Vec<Rc<Multiplexed>>>,
    /// What the last connection that could have been either turned out to be.
    pub(super) speaks: Cell<Speaks>,
    /// Held while a connection is opened that others may share.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// Counts the failures to open one, so that those who waited for it need not each fail on their own.
    pub(super) failed: Cell<u64>,
    /// Requests that wait for a connection, the longest waiting first.
    pub(super) queue: RefCell<VecDeque<oneshot::Sender<Box<Connection>>>>,
    pub(super) handed_on: Cell<u32>,
    /// Requests on a connection that was there already, since the last sweep.
    pub(super) reused: Cell<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaks {
    #[default]
    Unknown,
    Http1,
    Http2,
}

/// An HTTP/1.1 connection; it carries one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) driver: AbortHandle,
    pub(super) life: Life,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) connection: Box<Connection>,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// An HTTP/2 connection; it carries many requests.
#[derive(Debug)]
pub(super) struct Multiplexed {
    pub(super) sender: http2::SendRequest<RequestBody>,
    /// Streams in use.
    streams: Cell<usize>,
    /// Most streams that the upstream allows at present.
    most: Rc<Cell<usize>>,
    /// It has refused a request: it takes no new streams.
    refused: Cell<bool>,
    /// When it is let go unless a stream is in use.
    idle_until: Cell<Timestamp>,
    life: Life,
    shared: Rc<Shared>,
}

/// What every connection has.
#[derive(Debug)]
pub(super) struct Life {
    endpoint: Arc<Endpoint>,
    peer: Option<SocketAddr>,
    /// The generation of addresses that `peer` was last found in, or that was in force before it was looked up: a change meanwhile
    /// may be one that the look-up did not know of yet.
    seen: Cell<u64>,
    /// When it is used no more.
    until: Timestamp,
    /// Its place among those that the upstream may have.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Life {
    pub(super) fn new(
        endpoint: &Arc<Endpoint>,
        (peer, generation): (Option<SocketAddr>, u64),
        until: Timestamp,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        endpoint.totals.opened.fetch_add(1, Ordering::Relaxed);
        endpoint.totals.open.fetch_add(1, Ordering::Relaxed);
        Self { endpoint: Arc::clone(endpoint), peer, seen: Cell::new(generation), until, _permit: permit }
    }

    /// Whether the connection is to be used no more: it is too old, or its upstream is no longer used or no longer there.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until || self.endpoint.is_retired() || self.has_moved()
    }

    /// Whether the upstream's name no longer stands for where the connection leads.
    fn has_moved(&self) -> bool {
        let generation = self.endpoint.generation.load(Ordering::Acquire);
        if self.seen.get() == generation {
            return false;
        }
        let addresses = self.endpoint.addresses.load();
        let moved = match (&*addresses, self.peer) {
            (Some(addresses), Some(peer)) => !addresses.contains(&peer),
            _ => false,
        };
        if !moved {
            self.seen.set(generation);
        }
        moved
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.endpoint.totals.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Multiplexed {
    pub(super) fn new(
        sender: http2::SendRequest<RequestBody>,
        most: Rc<Cell<usize>>,
        life: Life,
        shared: &Rc<Shared>,
    ) -> Rc<Self> {
        let idle_until = Cell::new(life.until);
        Rc::new(Self {
            sender,
            streams: Cell::new(0),
            most,
            refused: Cell::new(false),
            idle_until,
            life,
            shared: Rc::clone(shared),
        })
    }

    fn has_room(&self, now: Timestamp) -> bool {
        !self.sender.is_closed()
            && !self.refused.get()
            && self.streams.get() < self.most.get().clamp(1, MAX_STREAMS as usize)
            && !self.life.is_over(now)
    }
}

/// One request's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) on: Rc<Multiplexed>,
    _permit: Option<OwnedSemaphorePermit>,
    idle_timeout: Duration,
}

impl Stream {
    /// Another stream on `on`; when the last has ended, the connection idles for `idle_timeout` at most.
    pub(super) fn new(
        on: Rc<Multiplexed>,
        permit: Option<OwnedSemaphorePermit>,
        idle_timeout: Duration,
    ) -> Self {
        on.streams.set(on.streams.get() + 1);
        Self { on, _permit: permit, idle_timeout }
    }
}

impl Stream {
    /// The connection took nothing of a request, so it is about to end.
    pub(super) fn refused(&self) {
        self.on.refused.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.on.streams.set(self.on.streams.get().saturating_sub(1));
        self.on.idle_until.set(self.on.shared.now.get() + self.idle_timeout);
    }
}

impl Lane {
    pub(super) fn new(endpoint: &Arc<Endpoint>, shared: &Rc<Shared>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            shared: Rc::clone(shared),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            speaks: Cell::default(),
            opening: tokio::sync::Mutex::default(),
            failed: Cell::default(),
            queue: RefCell::default(),
            handed_on: Cell::default(),
            reused: Cell::default(),
        }
    }

    /// Lets go of what has been idle too long, was closed by the upstream, is too old, or leads where the name no longer does.
    pub(super) fn sweep(&self, now: Timestamp) {
        let wanted_elsewhere = self.is_wanted_elsewhere();
        self.idle.borrow_mut().retain(|idle| {
            now < idle.until
                && !idle.connection.sender.is_closed()
                && !idle.connection.life.is_over(now)
                && !wanted_elsewhere
        });
        self.multiplexed.borrow_mut().retain(|one| {
            let idle = one.streams.get() == 0 && now >= one.idle_until.get();
            // What is in use lives on by its streams, and takes no new ones.
            !idle && !one.sender.is_closed() && !one.life.is_over(now)
        });
        self.endpoint.totals.reused.fetch_add(self.reused.take(), Ordering::Relaxed);
    }

    /// An HTTP/2 connection that takes another stream.
    pub(super) fn with_room(&self) -> Option<Rc<Multiplexed>> {
        let now = self.shared.now.get();
        self.multiplexed.borrow().iter().find(|one| one.has_room(now)).cloned()
    }

    /// A connection whose exchange is complete: for who waits for one, or idle until `idle_until` as one of `max_idle`.
    pub(super) fn take_back(&self, mut connection: Box<Connection>, max_idle: usize, idle_until: Timestamp) {
        let now = self.shared.now.get();
        // Not ready: the request body is still on its way although the response has ended. Such a connection is not reused.
        if connection.sender.is_closed() || !connection.sender.is_ready() || connection.life.is_over(now) {
            return;
        }
        if self.endpoint.cap.is_some() {
            self.forget_who_left();
            if self.is_wanted_elsewhere() || self.is_elsewheres_turn() {
                return;
            }
            while let Some(waiting) = self.queue.borrow_mut().pop_front() {
                match waiting.send(connection) {
                    Ok(()) => return self.handed_on.set(self.handed_on.get().wrapping_add(1)),
                    // Whoever waited has left.
                    Err(back) => connection = back,
                }
            }
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < max_idle {
            idle.push(Idle { connection, since: now, until: idle_until });
        }
    }

    /// Those who wait leave in the order in which they came: by their time, or with a place of the upstream's own.
    fn forget_who_left(&self) {
        let mut queue = self.queue.borrow_mut();
        while queue.front().is_some_and(oneshot::Sender::is_closed) {
            queue.pop_front();
        }
    }

    /// Whether another worker's requests wait for what lies idle here.
    fn is_wanted_elsewhere(&self) -> bool {
        self.waiting_elsewhere() > 0 && self.queue.borrow().is_empty()
    }

    /// Requests of this worker are served first, as they need no new connection, but not for ever.
    fn is_elsewheres_turn(&self) -> bool {
        self.handed_on.get() % 4 == 3 && self.waiting_elsewhere() > 0 && {
            self.handed_on.set(self.handed_on.get().wrapping_add(1));
            true
        }
    }

    fn waiting_elsewhere(&self) -> usize {
        let all = self.endpoint.cap.as_ref().map_or(0, |cap| cap.waiting.load(Ordering::Relaxed));
        all.saturating_sub(self.queue.borrow().len())
    }
}
