//! When the table may be believed although others write to the store too.
//!
//! A session carries the number of the connection (the epoch) over which it was last read. A change sets it to none
//! until it has been read again; the loss of the channel moves the epoch, and with that one step the whole table is dropped. What was verified up
//! to then goes on for the grace, and not longer: by then a revocation elsewhere may be that old.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::base::clock::Timestamp;
use crate::session::counters::EndReason;
use crate::session::id::StoredId;
use crate::session::store::redis::Link;

/// A session that no read vouches for.
pub(crate) const UNVERIFIED: u16 = 0;
/// The first epoch of every round.
const FIRST: u16 = 1;

/// How long the answer that there is no such session is kept.
const ABSENT: Duration = Duration::from_secs(5);
/// Most such answers kept.
const MAX_ABSENT: usize = 10_000;
/// How long an ending is remembered after the store has acknowledged it: longer than any read can be on its way.
const BURIED: Duration = Duration::from_secs(60);

/// An ending that the store has not acknowledged; else 1, or when the clean-up first saw it acknowledged.
const OWED: u64 = 0;
const ACKNOWLEDGED: u64 = 1;

pub(crate) struct Coherence {
    pub(crate) link: Link,
    grace: Duration,
    /// Never [`UNVERIFIED`]. Two bytes, because every session carries one.
    epoch: AtomicU16,
    /// Until when (milliseconds) sessions of the epoch before are believed; 0 while the channel stands.
    grace_until: AtomicU64,
    /// Why the table is not coherent; `None` while it is.
    pub(crate) fault: ArcSwapOption<String>,
    /// Ids the store did not know, and until when (milliseconds) that is believed.
    absent: papaya::HashMap<StoredId, u64>,
    /// Held while a session is entered: the writer and the follower may both learn of the same one.
    entering: Mutex<()>,
    /// Why sessions are ended by the commit that is on its way.
    ending: papaya::HashMap<StoredId, EndReason>,
    /// Ids that ended here: no answer on its way may bring them back.
    buried: papaya::HashMap<StoredId, AtomicU64>,
}

impl Coherence {
    pub(crate) fn new(link: Link, grace: Duration) -> Self {
        Self {
            link,
            grace,
            epoch: AtomicU16::new(FIRST),
            grace_until: AtomicU64::new(0),
            fault: ArcSwapOption::from_pointee("the sessions have not been read yet".to_owned()),
            absent: papaya::HashMap::new(),
            entering: Mutex::new(()),
            ending: papaya::HashMap::new(),
            buried: papaya::HashMap::new(),
        }
    }

    pub(crate) fn epoch(&self) -> u16 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether a session last read in `verified` may be used at `now` without asking.
    pub(crate) fn trusts(&self, verified: u16, now: Timestamp) -> bool {
        let epoch = self.epoch();
        verified == epoch
            || verified != UNVERIFIED
                && verified == epoch - 1
                && now.as_millis() < self.grace_until.load(Ordering::Acquire)
    }

    /// The channel stands: nothing read before counts any more.
    pub(crate) fn connected(&self) {
        self.grace_until.store(0, Ordering::Release);
    }

    /// The channel was lost at `moment`.
    pub(crate) fn lost(&self, moment: Timestamp, cause: &str) {
        self.fault.store(Some(std::sync::Arc::new(cause.to_owned())));
        // The grace first: otherwise a request between both steps would find nothing to believe.
        self.grace_until.store((moment + self.grace).as_millis(), Ordering::Release);
        self.drop_all();
    }

    /// Whether the epochs have come round: what still carries one of the last round must be set to none.
    pub(crate) fn came_round(&self) -> bool {
        self.epoch() == FIRST
    }

    /// Drops the whole table in one step.
    pub(crate) fn drop_all(&self) {
        let next = |epoch: u16| Some(epoch.checked_add(1).unwrap_or(FIRST));
        // Only the link's thread moves it, and the closure always has a next one.
        let _ = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        self.absent.pin().clear();
    }

    /// The store does not know `id` at `now`.
    pub(crate) fn note_absent(&self, id: StoredId, now: Timestamp) {
        let absent = self.absent.pin();
        if absent.len() >= MAX_ABSENT {
            absent.clear();
        }
        absent.insert(id, (now + ABSENT).as_millis());
    }

    pub(crate) fn is_absent(&self, id: &StoredId, now: Timestamp) -> bool {
        self.absent.pin().get(id).is_some_and(|until| now.as_millis() < *until)
    }

    pub(crate) fn forget_absent(&self, id: &StoredId) {
        self.absent.pin().remove(id);
    }

    /// Whoever holds this enters sessions alone.
    pub(crate) fn enter_alone(&self) -> MutexGuard<'_, ()> {
        self.entering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit on its way ends `id` for `reason`: the report of it may be back before the answer is.
    pub(crate) fn announce(&self, id: StoredId, reason: EndReason) {
        self.ending.pin().insert(id, reason);
    }

    /// The commits announced are answered.
    pub(crate) fn all_answered(&self) {
        self.ending.pin().clear();
    }

    /// Why the store does not hold `id` any more.
    pub(crate) fn why_gone(&self, id: &StoredId) -> EndReason {
        self.ending.pin().get(id).copied().unwrap_or(EndReason::Revoked)
    }

    /// `id` has ended here.
    pub(crate) fn bury(&self, id: StoredId) {
        self.buried.pin().get_or_insert_with(id, || AtomicU64::new(OWED));
    }

    pub(crate) fn is_buried(&self, id: &StoredId) -> bool {
        self.buried.pin().contains_key(id)
    }

    /// The store has acknowledged that `id` is gone.
    pub(crate) fn acknowledge(&self, id: &StoredId) {
        if let Some(state) = self.buried.pin().get(id) {
            state.store(ACKNOWLEDGED, Ordering::Release);
        }
    }

    /// Forgets acknowledged endings and stale answers of old.
    pub(crate) fn tidy(&self, now: Timestamp) {
        let now = now.as_millis();
        self.absent.pin().retain(|_, until| now < *until);
        self.buried.pin().retain(|_, state| match state.load(Ordering::Acquire) {
            OWED => true,
            ACKNOWLEDGED => {
                state.store(now.max(ACKNOWLEDGED + 1), Ordering::Release);
                true
            }
            since => Duration::from_millis(now.saturating_sub(since)) < BURIED,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const GRACE: Duration = Duration::from_secs(30);

    fn coherence() -> Coherence {
        Coherence::new(Link::unconnected(), GRACE)
    }

    fn id(n: u32) -> StoredId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        StoredId::from_bytes(bytes)
    }

    #[test]
    fn what_was_verified_is_believed_up_to_the_grace_and_not_after_reconnecting() {
        let coherence = coherence();
        let verified = coherence.epoch();
        assert!(coherence.trusts(verified, NOW) && !coherence.trusts(UNVERIFIED, NOW));
        coherence.lost(NOW, "gone");
        assert!(coherence.trusts(verified, NOW + (GRACE - Duration::from_millis(1))));
        assert!(!coherence.trusts(verified, NOW + GRACE));
        assert!(!coherence.trusts(UNVERIFIED, NOW));
        coherence.connected();
        assert!(!coherence.trusts(verified, NOW));
        assert!(coherence.trusts(coherence.epoch(), NOW));
    }

    #[test]
    fn what_the_loss_before_last_left_unread_is_not_believed() {
        let coherence = coherence();
        let verified = coherence.epoch();
        coherence.lost(NOW, "gone");
        coherence.connected();
        coherence.lost(NOW, "gone again");
        assert!(!coherence.trusts(verified, NOW));
    }

    #[test]
    fn the_epochs_come_round_without_the_one_that_means_none() {
        let coherence = coherence();
        for _ in 0..u16::MAX - 1 {
            coherence.drop_all();
            assert!(!coherence.came_round() && coherence.epoch() != UNVERIFIED);
        }
        coherence.drop_all();
        assert!(coherence.came_round());
        assert!(!coherence.trusts(u16::MAX, NOW) && !coherence.trusts(UNVERIFIED, NOW));
    }

    #[test]
    fn answers_that_there_is_no_session_are_bounded_and_short_lived() {
        let coherence = coherence();
        for n in 0..25_000 {
            coherence.note_absent(id(n), NOW);
        }
        assert!(coherence.absent.len() <= MAX_ABSENT);
        assert!(coherence.is_absent(&id(24_999), NOW) && !coherence.is_absent(&id(24_999), NOW + ABSENT));
        coherence.tidy(NOW + ABSENT);
        assert_eq!(coherence.absent.len(), 0);
    }

    #[test]
    fn an_ending_is_remembered_until_it_is_acknowledged_and_a_minute_longer() {
        let coherence = coherence();
        coherence.bury(id(1));
        coherence.tidy(NOW);
        coherence.tidy(NOW + BURIED * 10);
        assert!(coherence.is_buried(&id(1)));
        coherence.acknowledge(&id(1));
        coherence.tidy(NOW);
        coherence.tidy(NOW + (BURIED - Duration::from_millis(1)));
        assert!(coherence.is_buried(&id(1)));
        coherence.tidy(NOW + BURIED);
        assert!(!coherence.is_buried(&id(1)));
    }
}
