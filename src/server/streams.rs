//! The streams of one HTTP/2 connection, each followed on its own: one whose client owes it bytes, or does not take them, ends
//! without the others noticing.
//!
//! No clock is read and no timer set per frame: both bodies count their steps, and the sweep sees which stood still since when.
//! Streams share one socket, so a stream that stands may only be waiting for its turn. It is to blame
//!
//! - for an answer that is not taken, when the whole connection took nothing meanwhile, or so much that every stream had its turn;
//! - for a body that does not come, when no body of the connection came on meanwhile, and the streams whose bytes the service has
//!   not read do not fill the connection's window;
//! - for either when it stood for the limit as many times as there are streams.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::server::caps::SourceStreams;
use crate::server::outbox::{Outbox, STEP, Share};
use crate::server::stall::{Activity, HALF_CLOSED, Limits};
use crate::web::body::Progress;

/// What clients may send before we have taken it, per stream and per connection.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// So many streams with unread bytes can leave no window for any other.
const FULL: usize = (CONNECTION_WINDOW / STREAM_WINDOW) as usize;
/// What a stream sends at the most before it is the next one's turn.
const TURN: u64 = 128 * 1024;

/// All streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) outbox: Rc<Outbox>,
    /// Those of all connections of the same client.
    of_source: SourceStreams,
    open: RefCell<HashMap<u64, Rc<Stream>>>,
    next_key: Cell<u64>,
    /// What the last sweep saw of the whole connection: what was taken in steps of [`STEP`].
    taken: Seen<u64>,
    came: Seen<u32>,
    /// Steps of the request bodies whose streams have left.
    came_before: Cell<u32>,
}

/// A number as the last sweep saw it, and since when it has been that.
#[derive(Debug, Default)]
struct Seen<T: Copy>(Cell<Option<(T, Timestamp)>>);

impl<T: Copy + PartialEq> Seen<T> {
    /// How long it has been `number` while there was something to wait for, as far as the sweeps have seen.
    fn unchanged(&self, number: T, waits: bool, now: Timestamp) -> Duration {
        match self.0.get() {
            Some((seen, since)) if seen == number && waits => now.since(since),
            _ => {
                self.0.set(Some((number, now)));
                Duration::ZERO
            }
        }
    }
}

impl Streams {
    /// Of a connection whose client has these streams in all.
    pub(super) fn of(of_source: SourceStreams) -> Self {
        Self { of_source, ..Self::default() }
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// How long the client has taken nothing of what there is for it, as far as the sweeps have seen.
    fn untaken(&self, now: Timestamp) -> Duration {
        self.taken.unchanged(self.outbox.taken() / STEP as u64, self.outbox.held() > 0, now)
    }

    /// Ends the streams that stand still for too long, because of their client. One whose end is said already can be ended with its
    /// connection only: what this yields is true then.
    pub(super) fn judge(&self, now: Timestamp, limits: &Limits) -> bool {
        let open = self.open.borrow();
        let came = open.values().fold(self.came_before.get(), |sum, s| sum.wrapping_add(s.inbound.steps()));
        // Full, there may be no window left for more of any body.
        let full = open.values().filter(|stream| stream.inbound.is_unread()).count() >= FULL;
        let connection = Connection {
            now,
            took_nothing: self.untaken(now),
            taken: self.outbox.taken(),
            streams: u32::try_from(open.len()).unwrap_or(u32::MAX),
            sent_nothing: self.came.unchanged(came, !full, now),
        };
        let mut beyond_reach = false;
        for stream in open.values() {
            if stream.is_to_blame(&connection, limits) {
                stream.cut();
                beyond_reach |= stream.outbound.is_all_handed_out();
            }
        }
        beyond_reach
    }

    /// Ends all.
    pub(super) fn cut(&self) {
        for stream in self.open.borrow().values() {
            stream.cut();
        }
    }
}

/// What a sweep sees of a whole connection.
struct Connection {
    now: Timestamp,
    took_nothing: Duration,
    taken: u64,
    streams: u32,
    sent_nothing: Duration,
}

/// A request's hold on its connection, which is busy until the last of them is gone: its stream's place in the list.
#[derive(Debug)]
pub(super) struct Hold {
    activity: Rc<Activity>,
    streams: Rc<Streams>,
    key: u64,
}

impl Hold {
    /// Puts `stream` on the list until the client has its answer; `None` when its client has as many as it may have.
    pub(super) fn new(activity: &Rc<Activity>, streams: &Rc<Streams>, stream: &Rc<Stream>) -> Option<Self> {
        let is_first = streams.is_empty();
        if !streams.of_source.begin(is_first) {
            return None;
        }
        if is_first {
            activity.busy();
        }
        let key = streams.next_key.get();
        streams.next_key.set(key + 1);
        streams.open.borrow_mut().insert(key, Rc::clone(stream));
        Some(Self { activity: Rc::clone(activity), streams: Rc::clone(streams), key })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let streams = &self.streams;
        if let Some(stream) = streams.open.borrow_mut().remove(&self.key) {
            streams.came_before.update(|sum| sum.wrapping_add(stream.inbound.steps()));
        }
        streams.of_source.end();
        if streams.is_empty() {
            self.activity.answered();
        }
    }
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Of the request's body: it stands when the service waits for the client's bytes.
    pub(super) inbound: Rc<Progress>,
    /// Of the response's body: it stands when the client has not taken all that there is for it.
    pub(super) outbound: Rc<Share>,
    /// What the last sweep saw of both, and since when.
    seen: Cell<Option<Sight>>,
    kind: Cell<Kind>,
    cut: Cell<bool>,
    drivers: RefCell<Vec<Waker>>,
}

/// What a sweep saw of a stream that stood.
#[derive(Clone, Copy, Debug)]
struct Sight {
    steps: (u32, u32),
    since: Timestamp,
    /// What the connection had taken by then.
    taken: u64,
    /// The most streams that there were since.
    streams: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Request,
    /// The answer has begun. Whether more of the request's body comes is between the two sides from here on: a stream of messages
    /// both ways may rest.
    Answer,
    Tunnel,
    /// A tunnel whose one way has ended.
    HalfClosed,
}

impl Stream {
    /// A stream of the connection with this `outbox`.
    pub(super) fn of(outbox: &Rc<Outbox>) -> Rc<Self> {
        Rc::new(Self {
            inbound: Rc::default(),
            outbound: Share::of(outbox),
            seen: Cell::default(),
            kind: Cell::default(),
            cut: Cell::default(),
            drivers: RefCell::default(),
        })
    }

    /// The answer begins.
    pub(super) fn answers(&self) {
        self.kind.set(Kind::Answer);
    }

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
            self.outbound.progress.stand();
        } else {
            self.outbound.progress.step();
        }
    }

    /// Whether it has stood still for too long because of its client, as far as the sweeps have seen.
    fn is_to_blame(&self, connection: &Connection, limits: &Limits) -> bool {
        let now = connection.now;
        let (inbound, outbound) = (&self.inbound, &self.outbound.progress);
        let owes = inbound.stands() && self.kind.get() != Kind::Answer;
        if !owes && !outbound.stands() {
            self.seen.set(None);
            return false;
        }
        let steps = (inbound.steps(), outbound.steps());
        let sight = match self.seen.get() {
            Some(sight) if sight.steps == steps => {
                Sight { streams: sight.streams.max(connection.streams), ..sight }
            }
            _ => Sight { steps, since: now, taken: connection.taken, streams: connection.streams },
        };
        self.seen.set(Some(sight));
        let stood = now.since(sight.since);
        let is_tunnel = matches!(self.kind.get(), Kind::Tunnel | Kind::HalfClosed);
        let limit = match self.kind.get() {
            _ if outbound.stands() => Some(limits.body),
            Kind::Request | Kind::Answer => Some(limits.body),
            Kind::Tunnel => limits.tunnel,
            Kind::HalfClosed => limits.tunnel.or(Some(HALF_CLOSED)),
        };
        let Some(limit) = limit.filter(|limit| stood > *limit) else { return false };
        if is_tunnel || stood > limit.saturating_mul(sight.streams) {
            return true;
        }
        let others_took = connection.taken.saturating_sub(sight.taken);
        let had_its_turn = others_took >= TURN * u64::from(sight.streams);
        (outbound.stands() && (connection.took_nothing > limit || had_its_turn))
            || (owes && connection.sent_nothing > limit)
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
