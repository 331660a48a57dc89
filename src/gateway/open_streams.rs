//! Exchanges that live only as long as the session that allowed them (S32): a logout, a revocation or a limit ends an event
//! stream, a long download or an upload within a second.
//!
//! One tick per worker looks at what is open; a request that is answered before it had to wait registers nothing.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::base::clock::{Clock, Timestamp};
use crate::base::recurring::one_turn;
use crate::session::LiveSession;

/// How often open exchanges are looked at; the longest that one outlives its session.
const TICK: Duration = Duration::from_millis(250);

/// The session that allowed an exchange is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session that allowed this exchange has ended")]
pub struct SessionOver;

/// The open exchanges of one worker that need a session.
pub struct OpenStreams {
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

struct Entry {
    session: Arc<LiveSession>,
    waker: Waker,
    over: bool,
}

impl OpenStreams {
    /// An empty list whose tick runs as a local task until the list is dropped. Call it on the worker's own runtime.
    pub fn start(clock: Arc<dyn Clock>) -> Rc<Self> {
        let streams = Rc::new(Self { slots: RefCell::default() });
        tokio::task::spawn_local(tick_regularly(Rc::downgrade(&streams), clock));
        streams
    }

    /// How many exchanges are registered.
    pub fn len(&self) -> usize {
        let slots = self.slots.borrow();
        slots.entries.len() - slots.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Watches the exchange that `session` allowed.
    pub fn watch(self: &Rc<Self>, session: &Arc<LiveSession>) -> SessionWatch {
        SessionWatch { session: Arc::clone(session), streams: Rc::clone(self), slot: None }
    }

    /// Wakes every exchange whose session is over at `now`.
    fn sweep(&self, now: Timestamp) {
        for entry in self.slots.borrow_mut().entries.iter_mut().flatten() {
            if !entry.over && !entry.session.is_live(now) {
                entry.over = true;
                entry.waker.wake_by_ref();
            }
        }
    }
}

impl fmt::Debug for OpenStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStreams").field("len", &self.len()).finish()
    }
}

/// One exchange's tie to its session. It takes a place in the list the first time it has to wait.
#[derive(Debug)]
pub struct SessionWatch {
    session: Arc<LiveSession>,
    streams: Rc<OpenStreams>,
    slot: Option<usize>,
}

impl SessionWatch {
    /// Ready once a tick found the session over; until then `cx` is woken when one does.
    pub fn poll_over(&mut self, cx: &Context<'_>) -> Poll<SessionOver> {
        let slots = &mut *self.streams.slots.borrow_mut();
        let known = self.slot.and_then(|slot| slots.entries.get_mut(slot)).and_then(Option::as_mut);
        if let Some(entry) = known {
            if entry.over {
                return Poll::Ready(SessionOver);
            }
            entry.waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        let entry = Entry { session: Arc::clone(&self.session), waker: cx.waker().clone(), over: false };
        self.slot = Some(slots.take(entry));
        Poll::Pending
    }

    /// The session.
    pub fn session(&self) -> &Arc<LiveSession> {
        &self.session
    }

    /// Whether a tick found the session over. Costs a look at one flag.
    pub fn is_over(&self) -> bool {
        let Some(slot) = self.slot else { return false };
        self.streams.slots.borrow().entries.get(slot).and_then(Option::as_ref).is_some_and(|entry| entry.over)
    }
}

/// Polls `exchange`, which ends with its session when there is a `watch`. The exchange is then to be dropped.
pub fn poll_while_live<F: Future>(
    watch: &mut Option<SessionWatch>,
    exchange: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, SessionOver>> {
    if watch.as_ref().is_some_and(SessionWatch::is_over) {
        return Poll::Ready(Err(SessionOver));
    }
    match (exchange.poll(cx), watch) {
        (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
        (Poll::Pending, Some(watch)) => watch.poll_over(cx).map(Err),
        (Poll::Pending, None) => Poll::Pending,
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.streams.slots.borrow_mut().give_back(slot);
        }
    }
}

impl Slots {
    fn take(&mut self, entry: Entry) -> usize {
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.entries.get_mut(slot)
        {
            *place = Some(entry);
            return slot;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    fn give_back(&mut self, slot: usize) {
        if let Some(place) = self.entries.get_mut(slot) {
            *place = None;
            self.free.push(slot);
        }
    }
}

async fn tick_regularly(streams: Weak<OpenStreams>, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match streams.upgrade() {
            Some(streams) if streams.is_empty() => {}
            Some(streams) => one_turn(|| streams.sweep(clock.now())),
            None => return,
        }
    }
}

#[cfg(test)]
pub(in crate::gateway) mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::identity::{Identity, LoginMethod, Subject};
    use crate::base::secret::{Secret, SystemRandom};
    use crate::session::{CookieSettings, Origin, SessionManager, Settings, StoreSettings};

    /// Sessions in memory, of nobody.
    pub(in crate::gateway) fn sessions() -> Arc<SessionManager> {
        sessions_at(&ManualClock::new(Timestamp::from_secs(1_000_000)))
    }

    fn sessions_at(clock: &ManualClock) -> Arc<SessionManager> {
        let settings = Settings {
            secrets: vec![Secret::new((0..32).collect())],
            duration: Duration::from_secs(86_400),
            idle_timeout: Duration::from_secs(7_200),
            store: StoreSettings::Memory,
            cap: None,
            max_bad_cookies: 0,
            cookie: CookieSettings::default(),
        };
        let (random, nobody) = (Arc::new(SystemRandom), |_: &str| None);
        SessionManager::open(&settings, Arc::new(clock.clone()), random, nobody).unwrap().0
    }

    async fn session(clock: &ManualClock) -> (Arc<SessionManager>, Arc<LiveSession>) {
        let manager = sessions_at(clock);
        let identity = Arc::new(Identity::new("ada", None, None, &[]));
        let subject = Subject { identity, method: LoginMethod::Password, credential: [1; 16] };
        let created = manager.create(&subject, None, Origin::default(), false, clock.now()).await.unwrap();
        (manager, created.session)
    }

    #[tokio::test]
    async fn an_exchange_takes_a_place_when_it_first_waits_and_gives_it_back() {
        let clock = ManualClock::new(Timestamp::from_secs(1_000_000));
        let (_manager, session) = session(&clock).await;
        let streams = Rc::new(OpenStreams { slots: RefCell::default() });
        let (mut first, second) = (streams.watch(&session), streams.watch(&session));
        assert!(streams.is_empty() && !first.is_over());
        poll_fn(|cx| {
            assert!(first.poll_over(cx).is_pending());
            assert!(first.poll_over(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(streams.len(), 1);
        drop((first, second));
        assert!(streams.is_empty());
    }

    #[tokio::test]
    async fn a_sweep_ends_the_exchanges_of_sessions_that_are_over_and_no_others() {
        let clock = ManualClock::new(Timestamp::from_secs(1_000_000));
        let (manager, one) = session(&clock).await;
        let (_other_manager, other) = session(&clock).await;
        let streams = Rc::new(OpenStreams { slots: RefCell::default() });
        let mut watches = [streams.watch(&one), streams.watch(&other)];
        poll_fn(|cx| {
            assert!(watches.iter_mut().all(|watch| watch.poll_over(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        streams.sweep(clock.now());
        assert!(!watches.iter().any(SessionWatch::is_over));
        manager.destroy(&one, clock.now()).await.unwrap();
        assert!(!watches.iter().any(SessionWatch::is_over), "not before a tick");
        streams.sweep(clock.now());
        assert_eq!(watches.each_ref().map(SessionWatch::is_over), [true, false]);
        clock.advance(Duration::from_secs(7_200));
        streams.sweep(clock.now());
        assert!(watches.iter().all(SessionWatch::is_over));
    }
}
