//! What a connection waits for, and for how long. A sweep judges all connections of a worker by it once a second, so that no
//! silent, dripping, idle or stalled one lives on, and no request pays for a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::server::streams::Streams;
use crate::web::head_watch::HeadWatch;

/// The time limits of a connection. A sweep once a second enforces them, so they are that coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a PROXY header and a TLS handshake together. Default 10 s.
    pub handshake: Duration,
    /// For the first byte of the first request. Default 30 s.
    pub first_byte: Duration,
    /// For a whole request head. Default 60 s.
    pub head: Duration,
    /// Longest pause while a request body arrives or a response is taken. Default 60 s.
    pub body: Duration,
    /// Between two requests of a connection. Default 60 s.
    pub idle: Duration,
    /// Longest silence of a tunnel; `None` lets it rest for ever. Default `None`.
    pub tunnel: Option<Duration>,
}

/// Longest silence of a tunnel whose one side has said its last.
pub(super) const HALF_CLOSED: Duration = Duration::from_secs(300);

/// How long a client that speaks HTTP/2 has to let go of an idle connection once it was told to (GOAWAY).
const LAST_CALL: Duration = Duration::from_secs(10);

/// How long what a client has sent of a body may lie unread before it is asked whether it is still there.
const UNREAD: Duration = Duration::from_secs(10);

/// How long nothing comes on a connection before it rests. By the sweep's coarse time that is one sweep or two: a connection in use is
/// never asked to, and many that come at once do not hold for long what each took to be answered.
const REST_AFTER: Duration = Duration::from_millis(1500);

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
    /// Of a tunnel: one way has ended.
    half_closed: Cell<bool>,
    /// The sweep wants to know whether the client has left: hyper does not look.
    look: Cell<bool>,
    rest: Cell<Rest>,
    /// When it was told to finish.
    finish_since: Cell<Option<Timestamp>>,
    /// Present once the connection speaks HTTP/2.
    streams: RefCell<Option<Rc<Streams>>>,
    /// What the task that drives the connection was told and has not yet seen.
    order: Cell<Order>,
    driver: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not HTTP yet: a PROXY header or a TLS handshake is on its way.
    Opening,
    /// Before the first request: not a byte of it has come.
    Fresh,
    /// Between requests: not a byte of the next head has come.
    Idle,
    /// A head is on its way.
    Head,
    /// A request is being answered; with HTTP/2, at least one.
    Busy,
    /// HTTP is over: bytes go through.
    Tunnel,
}

/// What the task that drives a connection is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Go on.
    #[default]
    Serve,
    /// Close when the request in flight is done.
    Finish,
    /// Close now.
    Cut,
}

/// Whether an HTTP/1 connection is held in as little memory as it takes to wait for its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Awake,
    /// Nothing comes: the driving task is to see to it.
    Due,
    Resting,
}

impl Activity {
    pub(super) fn new(now: Rc<Cell<Timestamp>>) -> Self {
        let start = now.get();
        Self {
            now,
            watch: Rc::default(),
            phase: Cell::new(Phase::Fresh),
            phase_since: Cell::new(start),
            last_read: Cell::new(start),
            last_write: Cell::new(start),
            read_waits: Cell::new(false),
            write_waits: Cell::new(false),
            body_failed: Cell::new(false),
            half_closed: Cell::new(false),
            look: Cell::new(false),
            rest: Cell::default(),
            finish_since: Cell::new(None),
            streams: RefCell::default(),
            order: Cell::default(),
            driver: RefCell::default(),
        }
    }

    /// The connection does not speak HTTP yet.
    pub(super) fn opening(&self) {
        self.enter(Phase::Opening);
    }

    /// HTTP begins.
    pub(super) fn opened(&self) {
        self.enter(Phase::Fresh);
    }

    /// The connection speaks HTTP/2; each of its streams is followed on its own.
    pub(super) fn multiplexes(&self, streams: Rc<Streams>) {
        *self.streams.borrow_mut() = Some(streams);
    }

    /// HTTP/1 is over on this connection.
    pub(super) fn tunnels(&self) {
        self.enter(Phase::Tunnel);
        self.last_read.set(self.now.get());
        self.last_write.set(self.now.get());
    }

    /// One way of the tunnel has ended.
    pub(super) fn half_closed(&self) {
        self.half_closed.set(true);
    }

    /// Bytes came in (none at the end of the stream).
    pub(super) fn read(&self, bytes: &[u8]) {
        self.read_waits.set(false);
        self.last_read.set(self.now.get());
        match self.phase.get() {
            // Not HTTP/1: there are no heads to follow.
            Phase::Tunnel => return,
            _ if self.streams.borrow().is_some() => {
                if self.phase.get() == Phase::Fresh {
                    self.enter(Phase::Idle);
                }
                return;
            }
            Phase::Fresh | Phase::Idle if !bytes.is_empty() => self.enter(Phase::Head),
            _ => {}
        }
        self.watch.read(bytes);
    }

    /// hyper wants bytes, and there are none.
    pub(super) fn read_waits(&self) {
        self.read_waits.set(true);
    }

    /// Bytes were taken, or (`waits`) the client takes none at present.
    pub(super) fn wrote(&self, waits: bool) {
        // A wait begins now, however long ago the last write was.
        if !waits || !self.write_waits.get() {
            self.last_write.set(self.now.get());
        }
        if waits {
            self.write_waits.set(true);
        } else {
            self.flushed();
        }
    }

    /// Nothing waits for the client to take it any more.
    pub(super) fn flushed(&self) {
        // A connection rests only once its client has what it was owed.
        if self.write_waits.replace(false) && self.phase.get() == Phase::Idle {
            self.enter(Phase::Idle);
        }
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

    /// What is to become of a connection whose client has kept it waiting.
    pub(super) fn judge(&self, limits: &Limits) -> Order {
        let now = self.now.get();
        let since = |at: &Cell<Timestamp>| now.since(at.get());
        if self.write_waits.get() && since(&self.last_write) > limits.body {
            return Order::Cut;
        }
        let cut_if = |stalled| if stalled { Order::Cut } else { Order::Serve };
        let streams = self.streams.borrow();
        match self.phase.get() {
            Phase::Opening => cut_if(since(&self.phase_since) > limits.handshake),
            Phase::Tunnel => {
                let silence = since(&self.last_read).min(since(&self.last_write));
                let limit = limits.tunnel.or(self.half_closed.get().then_some(HALF_CLOSED));
                cut_if(limit.is_some_and(|limit| silence > limit))
            }
            Phase::Fresh => cut_if(!self.write_waits.get() && since(&self.phase_since) > limits.first_byte),
            Phase::Idle if streams.is_some() => match self.finish_since.get() {
                // Something is still on its way to it: how long that may take is bounded above.
                _ if self.write_waits.get() => Order::Serve,
                Some(told) => cut_if(now.since(told).min(since(&self.phase_since)) > LAST_CALL),
                None if since(&self.phase_since) > limits.idle => Order::Finish,
                None => Order::Serve,
            },
            // Answered early, with the request body still coming.
            Phase::Idle | Phase::Head if self.watch.in_body() => cut_if(since(&self.last_read) > limits.body),
            Phase::Idle => cut_if(!self.write_waits.get() && since(&self.phase_since) > limits.idle),
            Phase::Head => cut_if(!self.write_waits.get() && since(&self.phase_since) > limits.head),
            Phase::Busy => match &*streams {
                Some(streams) => cut_if(streams.judge(now, limits)),
                None => {
                    let (in_body, silence) = (self.watch.in_body(), since(&self.last_read));
                    // hyper reads on while a request is answered, to see the client leave, but not once it holds bytes of
                    // the next one, nor where nobody takes the body.
                    let unseen = if in_body { silence > UNREAD } else { !self.read_waits.get() };
                    if unseen {
                        self.look();
                    }
                    // Only a body still owed counts.
                    cut_if(self.read_waits.get() && in_body && silence > limits.body)
                }
            },
        }
    }

    /// Has the driving task ask the socket: it is the only one that can.
    fn look(&self) {
        self.look.set(true);
        self.wake_driver();
    }

    /// Has the driving task put the connection to rest, if it has been silent for long enough.
    pub(super) fn rest_if_silent(&self) {
        let silent = self.now.get().since(self.phase_since.get()) >= REST_AFTER;
        if silent && self.may_rest() {
            self.wake_driver();
        }
    }

    /// The connection is to rest if nothing happens at the next look at it; whether that is news.
    pub(super) fn may_rest(&self) -> bool {
        let news = self.rest.get() == Rest::Awake && self.can_rest();
        if news {
            self.rest.set(Rest::Due);
        }
        news
    }

    /// Whether the connection rests from now on: it was to, and nothing has happened since.
    pub(super) fn begins_rest(&self) -> bool {
        let begins = self.rest.get() == Rest::Due && self.can_rest();
        if begins {
            self.rest.set(Rest::Resting);
        }
        begins
    }

    /// The connection is served again.
    pub(super) fn ends_rest(&self) {
        self.rest.set(Rest::Awake);
    }

    /// Whether nothing is held of the client's, nor owed to it: the last read found nothing, all that was read made up whole
    /// requests, and their answers are on their way.
    fn can_rest(&self) -> bool {
        matches!(self.phase.get(), Phase::Fresh | Phase::Idle)
            && self.order.get() == Order::Serve
            && self.read_waits.get()
            && !self.write_waits.get()
            && self.watch.is_between_requests()
            && self.streams.borrow().is_none()
    }

    fn wake_driver(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }

    /// Answers a look that the sweep wants; without one, `has_left` is not asked.
    pub(super) fn looked(&self, has_left: impl FnOnce() -> bool) {
        if self.look.replace(false) && self.is_busy() && has_left() {
            self.tell(Order::Cut);
        }
    }

    /// Whether nothing has come since the connection was accepted.
    pub(super) fn is_fresh(&self) -> bool {
        self.phase.get() == Phase::Fresh
    }

    /// Whether nothing of a request has come since the last answer.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase.get(), Phase::Opening | Phase::Fresh | Phase::Idle)
    }

    /// Tells the driving task what to do; a stronger order stands.
    pub(super) fn tell(&self, order: Order) {
        if self.order.get() >= order {
            return;
        }
        self.order.set(order);
        if order == Order::Finish {
            self.finish_since.set(Some(self.now.get()));
        }
        self.wake_driver();
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
        self.rest.set(Rest::Awake);
        self.phase_since.set(self.now.get());
    }
}
