//! What the requests of a worker wait for, with one coarse clock for all of them instead of a timer each.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::clock::Timestamp;

/// The requests in flight of one worker. Slots are reused, so a request costs no allocation once the list has grown.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    slots: RefCell<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Entry>,
    free: Vec<usize>,
    serial: u64,
}

/// A place in the list. A body may outlive its request's wait: the serial keeps it off the slot's next owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitKey {
    slot: usize,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    since: Timestamp,
    /// Longest wait from `since` on; `None` while something else bounds it.
    limit: Option<Duration>,
    waker: Option<Waker>,
    expired: bool,
    /// The request body waits for the client: the upstream is not late.
    paused: bool,
}

impl Waiting {
    /// Enters a request at `now`, without a limit.
    pub(super) fn enter(&self, now: Timestamp) -> WaitKey {
        let slots = &mut *self.slots.borrow_mut();
        slots.serial += 1;
        let serial = slots.serial;
        let entry = Entry { serial, since: now, limit: None, waker: None, expired: false, paused: false };
        if let Some(slot) = slots.free.pop()
            && let Some(place) = slots.entries.get_mut(slot)
        {
            *place = entry;
            return WaitKey { slot, serial };
        }
        slots.entries.push(entry);
        WaitKey { slot: slots.entries.len() - 1, serial }
    }

    /// Ends the wait of `key`; the slot is free from now on.
    pub(super) fn leave(&self, key: WaitKey) {
        let slots = &mut *self.slots.borrow_mut();
        if let Some(entry) = slots.entry(key) {
            entry.waker = None;
            entry.serial = 0;
            slots.free.push(key.slot);
        }
    }

    /// From `now` on the request waits for something else, at most for `limit`.
    pub(super) fn expect(&self, key: WaitKey, now: Timestamp, limit: Duration) {
        if let Some(entry) = self.slots.borrow_mut().entry(key) {
            entry.since = now;
            entry.limit = Some(limit);
            entry.paused = false;
        }
    }

    /// Ready once a sweep found the wait of `key` too long.
    pub(super) fn poll_expired(&self, key: WaitKey, cx: &Context<'_>) -> Poll<()> {
        let mut slots = self.slots.borrow_mut();
        let Some(entry) = slots.entry(key) else { return Poll::Pending };
        if entry.expired {
            return Poll::Ready(());
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The request body of `key` moved at `now`, or waits for the client (`paused`).
    pub(super) fn progress(&self, key: WaitKey, now: Timestamp, paused: bool) {
        if let Some(entry) = self.slots.borrow_mut().entry(key) {
            entry.since = now;
            entry.paused = paused;
        }
    }

    /// Wakes every request that has waited too long.
    pub(super) fn sweep(&self, now: Timestamp) {
        for entry in &mut self.slots.borrow_mut().entries {
            if !entry.paused && entry.limit.is_some_and(|limit| now.since(entry.since) > limit) {
                // A slot without a waker is free, or its request has not been polled yet.
                if let Some(waker) = entry.waker.take() {
                    entry.expired = true;
                    waker.wake();
                }
            }
        }
    }
}

impl Slots {
    fn entry(&mut self, key: WaitKey) -> Option<&mut Entry> {
        self.entries.get_mut(key.slot).filter(|e| e.serial == key.serial)
    }
}
