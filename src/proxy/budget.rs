//! How many requests of a group may be tried again: when most upstreams fail, retries must not multiply what the rest bears.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Timestamp;

/// Requests and retries are counted over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// One retry for so many requests.
const REQUESTS_PER_RETRY: u32 = 5;
/// Retries that a window allows however few requests there were: three a second.
const FLOOR: u32 = 30;

/// The retries of one group, over all workers. Two workers that end a window at once may lose a few counts; that is all.
#[derive(Debug, Default)]
pub(super) struct Budget {
    window_started: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// A request came at `now`.
    pub(super) fn note_request(&self, now: Timestamp) {
        let started = self.window_started.load(Ordering::Relaxed);
        if now.since(Timestamp::from_millis(started)) >= WINDOW
            && self
                .window_started
                .compare_exchange(started, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.requests.store(0, Ordering::Relaxed);
            self.retries.store(0, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry, if there is one left.
    pub(super) fn take(&self) -> bool {
        let most = (self.requests.load(Ordering::Relaxed) / REQUESTS_PER_RETRY).max(FLOOR);
        self.retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < most).then_some(taken + 1))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_tried_again_and_a_few_in_any_case() {
        let (budget, now) = (Budget::default(), Timestamp::from_secs(1_000));
        budget.note_request(now);
        assert_eq!((0..100).filter(|_| budget.take()).count(), 30);
        for _ in 0..999 {
            budget.note_request(now + Duration::from_secs(9));
        }
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 200 - 30);
        budget.note_request(now + WINDOW);
        assert_eq!((0..100).filter(|_| budget.take()).count(), 30, "another window");
    }
}
