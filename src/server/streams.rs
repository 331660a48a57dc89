//! The streams of one HTTP/2 connection, each followed on its own: one whose client owes it bytes, or does not take them, ends
//! without the others noticing.
//!
//! No clock is read and no timer set per frame: both bodies count their steps, and the sweep sees which stood still since when.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::server::stall::{HALF_CLOSED, Limits};
use crate::web::body::Progress;

/// All streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: RefCell<HashMap<u64, Rc<Stream>>>,
    next_key: Cell<u64>,
}

impl Streams {
    /// Puts `stream` on the list for as long as the answer is held.
    pub(super) fn enter(self: &Rc<Self>, stream: &Rc<Stream>) -> StreamEntry {
        let key = self.next_key.get();
        self.next_key.set(key + 1);
        self.open.borrow_mut().insert(key, Rc::clone(stream));
        StreamEntry { streams: Rc::clone(self), key }
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Ends the streams that stand still for too long, because of their client.
    pub(super) fn judge(&self, now: Timestamp, limits: &Limits) {
        for stream in self.open.borrow().values() {
            let limit = stream.limit(limits);
            if stream.stood_still(now) > limit {
                stream.cut();
            }
        }
    }

    /// Ends all.
    pub(super) fn cut(&self) {
        for stream in self.open.borrow().values() {
            stream.cut();
        }
    }
}

/// A stream's place in the list; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct StreamEntry {
    streams: Rc<Streams>,
    key: u64,
}

impl Drop for StreamEntry {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().remove(&self.key);
    }
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Of the request's body: it stands when the service waits for the client's bytes.
    pub(super) inbound: Rc<Progress>,
    /// Of the response's body: it stands when a piece was handed out and the next one is not asked for.
    pub(super) outbound: Rc<Progress>,
    /// What the last sweep saw of both, and since when.
    seen: Cell<Option<(u32, u32, Timestamp)>>,
    kind: Cell<Kind>,
    cut: Cell<bool>,
    drivers: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Exchange,
    Tunnel,
    /// A tunnel whose one way has ended.
    HalfClosed,
}

impl Stream {
    /// It goes on as a tunnel, whose silence counts as standing still.
    pub(super) fn tunnels(&self) {
        self.kind.set(Kind::Tunnel);
        self.inbound.step();
        self.inbound.stand();
    }

    /// One way of the tunnel has ended.
    pub(super) fn half_closed(&self) {
        self.kind.set(Kind::HalfClosed);
    }

    /// Bytes of the tunnel came in.
    pub(super) fn heard(&self) {
        self.inbound.step();
        self.inbound.stand();
    }

    /// Bytes of the tunnel went out, or (`waits`) the client takes none at present.
    pub(super) fn told(&self, waits: bool) {
        if waits {
            self.outbound.stand();
        } else {
            self.outbound.step();
        }
    }

    fn limit(&self, limits: &Limits) -> Duration {
        let silence = match self.kind.get() {
            Kind::Exchange => return limits.body,
            _ if self.outbound.stands() => return limits.body,
            Kind::Tunnel => limits.tunnel,
            Kind::HalfClosed => limits.tunnel.or(Some(HALF_CLOSED)),
        };
        silence.unwrap_or(Duration::MAX)
    }

    /// How long it has stood still because of its client, as far as the sweeps have seen.
    fn stood_still(&self, now: Timestamp) -> Duration {
        if !self.inbound.stands() && !self.outbound.stands() {
            self.seen.set(None);
            return Duration::ZERO;
        }
        let steps = (self.inbound.steps(), self.outbound.steps());
        match self.seen.get() {
            Some((inbound, outbound, since)) if (inbound, outbound) == steps => now.since(since),
            _ => {
                self.seen.set(Some((steps.0, steps.1, now)));
                Duration::ZERO
            }
        }
    }

    /// Ends every task of the stream; the client sees a reset.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        for driver in self.drivers.take() {
            driver.wake();
        }
    }

    /// Whether it was cut; if not, `cx` is woken when it is.
    pub(super) fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut drivers = self.drivers.borrow_mut();
        if !drivers.iter().any(|known| known.will_wake(cx.waker())) {
            drivers.push(cx.waker().clone());
        }
        self.cut.get()
    }
}
