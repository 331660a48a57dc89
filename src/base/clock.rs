//! Moments, and where they come from. Everything below the edges takes a [`Timestamp`] as an argument.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since the Unix epoch. Arithmetic saturates: no input can make it panic or wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `secs` seconds after the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The span from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved back by `span`, at most to the epoch.
    pub fn before(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(span)))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(span)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A source of the present moment.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. Never earlier than a moment returned before (S19).
    fn now(&self) -> Timestamp;

    /// The present moment, and the same moment on the clock that spans are measured with.
    fn now_and_instant(&self) -> (Timestamp, Instant) {
        (self.now(), Instant::now())
    }
}

/// The machine's clock, made safe against steps: it runs on with the monotonic clock when the wall clock is set back, and
/// follows the wall clock forward. A clock set back therefore never extends or revives a session.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// Wall time at `started`, in milliseconds; raised when the wall clock runs ahead, never lowered.
    origin: AtomicU64,
}

impl SystemClock {
    /// A clock that never answers a moment before `floor` (the last moment the store knows of; the epoch for none).
    pub fn starting_at_least(floor: Timestamp) -> Self {
        Self { started: Instant::now(), origin: AtomicU64::new(wall().0.max(floor.0)) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::starting_at_least(Timestamp::default())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.now_and_instant().0
    }

    fn now_and_instant(&self) -> (Timestamp, Instant) {
        let instant = Instant::now();
        let elapsed = millis(instant.saturating_duration_since(self.started));
        let steady = self.origin.load(Ordering::Relaxed).saturating_add(elapsed);
        let wall = wall().0;
        // Raise the origin only for a real step: the two clocks differ by a millisecond all the time.
        if wall > steady.saturating_add(1000) {
            self.origin.fetch_max(wall.saturating_sub(elapsed), Ordering::Relaxed);
            return (Timestamp(wall), instant);
        }
        (Timestamp(steady), instant)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// A clock that stands still until it is moved, for tests. Clones share one hand.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// Moves the hand forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(millis(span), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(Timestamp::from_millis(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::from_secs(1).before(Duration::from_secs(9)), Timestamp::default());
        assert_eq!(Timestamp::from_millis(u64::MAX) + Duration::MAX, Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn a_floor_in_the_future_holds_although_the_wall_clock_is_behind() {
        let floor = wall() + Duration::from_secs(3600);
        assert!(SystemClock::starting_at_least(floor).now() >= floor);
    }
}
