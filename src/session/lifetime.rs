//! When a session ends: pure rules, `now` is an argument (S14, S15).
//!
//! Two limits hold together and the nearer one counts. A limit is reached at its moment, not after it. Activity moves the idle
//! limit only; nothing moves the absolute one.

use std::time::Duration;

use crate::base::clock::Timestamp;

/// The limits every session lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From creation to the latest possible end.
    pub duration: Duration,
    /// Longest pause between two requests.
    pub idle_timeout: Duration,
}

/// What the rules say of a session at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Both limits lie ahead.
    Live,
    /// The pause was too long.
    Idle,
    /// The absolute limit has come.
    Absolute,
}

/// The moments of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// When the activity was last marked.
    pub last_seen_at: Timestamp,
    /// The absolute limit.
    pub absolute_at: Timestamp,
}

impl Limits {
    /// The absolute limit of a session created at `created_at`.
    pub fn absolute_at(&self, created_at: Timestamp) -> Timestamp {
        created_at + self.duration
    }

    /// How long activity stays in memory before it is written: min(60 s, idle/10). After a crash a session may end this much
    /// too early, never too late.
    pub fn touch_period(&self) -> Duration {
        (self.idle_timeout / 10).min(Duration::from_secs(60))
    }
}

impl Moments {
    /// When the session ends if nothing more happens: the nearer of both limits.
    pub fn expires_at(&self, idle_timeout: Duration) -> Timestamp {
        (self.last_seen_at + idle_timeout).min(self.absolute_at)
    }

    /// Judges the session at `now`.
    pub fn judge(&self, idle_timeout: Duration, now: Timestamp) -> Judgement {
        if now >= self.absolute_at {
            Judgement::Absolute
        } else if now >= self.last_seen_at + idle_timeout {
            Judgement::Idle
        } else {
            Judgement::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { duration: Duration::from_secs(86_400), idle_timeout: Duration::from_secs(7_200) };

    fn judge(last_seen: u64, now: u64) -> Judgement {
        let moments = Moments {
            last_seen_at: Timestamp::from_secs(last_seen),
            absolute_at: LIMITS.absolute_at(Timestamp::default()),
        };
        moments.judge(LIMITS.idle_timeout, Timestamp::from_secs(now))
    }

    #[test]
    fn the_idle_limit_holds_to_the_second() {
        assert_eq!(judge(1_000, 8_199), Judgement::Live);
        assert_eq!(judge(1_000, 8_200), Judgement::Idle);
        assert_eq!(judge(1_000, 8_201), Judgement::Idle);
    }

    #[test]
    fn the_absolute_limit_holds_to_the_second_however_active_the_session_was() {
        assert_eq!(judge(86_398, 86_399), Judgement::Live);
        assert_eq!(judge(86_399, 86_400), Judgement::Absolute);
        assert_eq!(judge(86_400, 86_401), Judgement::Absolute);
    }

    #[test]
    fn touches_are_written_at_most_once_a_minute_or_a_tenth_of_the_idle_limit() {
        assert_eq!(LIMITS.touch_period(), Duration::from_secs(60));
        let short = Limits { idle_timeout: Duration::from_secs(100), ..LIMITS };
        assert_eq!(short.touch_period(), Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn live_means_before_the_nearer_limit(last in 0_u64..u64::MAX, abs in 0_u64..u64::MAX, idle in 0_u64..u64::MAX, now: u64) {
            let moments = Moments { last_seen_at: Timestamp::from_millis(last), absolute_at: Timestamp::from_millis(abs) };
            let idle = Duration::from_millis(idle);
            let now = Timestamp::from_millis(now);
            prop_assert_eq!(moments.judge(idle, now) == Judgement::Live, now < moments.expires_at(idle));
            prop_assert!(moments.expires_at(idle) <= moments.absolute_at);
        }

        #[test]
        fn what_has_ended_stays_ended_as_time_goes_on(last: u32, abs: u32, idle: u32, now: u32, later: u32) {
            let moments = Moments { last_seen_at: Timestamp::from_millis(last.into()), absolute_at: Timestamp::from_millis(abs.into()) };
            let idle = Duration::from_millis(idle.into());
            let now = Timestamp::from_millis(now.into());
            if moments.judge(idle, now) != Judgement::Live {
                prop_assert_ne!(moments.judge(idle, now + Duration::from_millis(later.into())), Judgement::Live);
            }
        }
    }
}
