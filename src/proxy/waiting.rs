//! What the requests of a worker wait for, with one coarse clock for all of them instead of a timer each.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::task::AbortHandle;

use crate::base::clock::Timestamp;
use crate::proxy::pool::Shared;

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

/// Which limit has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// That of what the request waits for at present.
    Pause,
    /// That of the whole request.
    Whole,
}

/// What to end so that an upstream stops sending a response body.
#[derive(Debug)]
pub(super) enum Cut {
    /// The task of a connection that carries nothing else.
    Connection(AbortHandle),
    /// The body itself, as its stream shares a connection with others.
    Stream(Rc<RefCell<Option<Incoming>>>),
}

#[derive(Debug)]
struct Entry {
    /// 0 in a slot that is free.
    serial: u64,
    since: Timestamp,
    /// Longest wait from `since` on; `None` while something else bounds it.
    limit: Option<Duration>,
    /// When the whole request is too long.
    until: Option<Timestamp>,
    waker: Option<Waker>,
    /// What ends the response body with the wait: a body that nobody reads cannot be told.
    cut: Option<Cut>,
    expired: Option<Expired>,
    /// The request body failed: what happens to the exchange from then on is not the upstream's doing.
    broken: bool,
    /// The request body waits for the client: the upstream is not late.
    paused: bool,
    /// The response comes already.
    answered: bool,
}

impl Waiting {
    /// Wakes every request that had waited too long at `now`, the moment of the sweep before this one.
    pub(super) fn sweep(&self, now: Timestamp) {
        for entry in &mut self.slots.borrow_mut().entries {
            let late = !entry.paused && entry.limit.is_some_and(|limit| now.since(entry.since) > limit);
            let over = entry.until.is_some_and(|until| now >= until);
            if entry.serial == 0 || entry.expired.is_some() || !(late || over) {
                continue;
            }
            entry.expired = Some(if over { Expired::Whole } else { Expired::Pause });
            match entry.cut.take() {
                Some(Cut::Connection(driver)) => driver.abort(),
                Some(Cut::Stream(body)) => drop(body.take()),
                None => {}
            }
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Entry {
    /// What was waited for is over, in time or not: another wait begins.
    fn turn_to(&mut self, limit: Option<Duration>, now: Timestamp) {
        self.since = now;
        self.limit = limit;
        self.expired = self.expired.filter(|expired| *expired == Expired::Whole);
    }
}

impl Slots {
    fn entry(&mut self, key: WaitKey) -> Option<&mut Entry> {
        self.entries.get_mut(key.slot).filter(|e| e.serial == key.serial)
    }
}

/// A request's place among those that wait, from its arrival to the end of its response body.
#[derive(Debug)]
pub(super) struct Wait {
    shared: Rc<Shared>,
    key: WaitKey,
}

impl Wait {
    /// Enters a request that is to be over after `whole`; what it waits for has no limit yet.
    pub(super) fn enter(shared: &Rc<Shared>, whole: Option<Duration>) -> Self {
        let now = shared.now.get();
        let slots = &mut *shared.waiting.slots.borrow_mut();
        slots.serial += 1;
        let serial = slots.serial;
        let entry = Entry {
            serial,
            since: now,
            limit: None,
            until: whole.map(|whole| now + whole),
            waker: None,
            cut: None,
            expired: None,
            broken: false,
            paused: false,
            answered: false,
        };
        let slot = match slots.free.pop() {
            Some(slot) => slot,
            None => slots.entries.len(),
        };
        match slots.entries.get_mut(slot) {
            Some(place) => *place = entry,
            None => slots.entries.push(entry),
        }
        Self { shared: Rc::clone(shared), key: WaitKey { slot, serial } }
    }

    /// A second hand on the same place, that notes progress only.
    pub(super) fn progress(&self) -> Progress {
        Progress { shared: Rc::clone(&self.shared), key: self.key }
    }

    /// From now on the request waits for something else, at most for `limit`.
    pub(super) fn expect(&self, limit: Duration) {
        self.change(|entry, now| {
            entry.turn_to(Some(limit), now);
            entry.paused = false;
        });
    }

    /// What bounded the wait until now bounds it no more.
    pub(super) fn expect_nothing(&self) {
        self.change(|entry, now| entry.turn_to(None, now));
    }

    /// From now on the request waits for its response body, `limit` at a time; when that has passed, `cut` is.
    pub(super) fn expect_body(&self, limit: Duration, cut: Cut) {
        self.change(|entry, now| {
            entry.turn_to(Some(limit), now);
            entry.paused = false;
            entry.cut = Some(cut);
            entry.waker = None;
            entry.answered = true;
        });
    }

    /// The response body moved.
    pub(super) fn moved(&self) {
        self.change(|entry, now| entry.since = now);
    }

    /// Which limit has passed, if one has.
    pub(super) fn expired(&self) -> Option<Expired> {
        self.shared.waiting.slots.borrow_mut().entry(self.key).and_then(|entry| entry.expired)
    }

    /// Ready once a sweep found the wait too long.
    pub(super) fn poll_expired(&self, cx: &Context<'_>) -> Poll<Expired> {
        let mut slots = self.shared.waiting.slots.borrow_mut();
        let Some(entry) = slots.entry(self.key) else { return Poll::Pending };
        if let Some(expired) = entry.expired {
            return Poll::Ready(expired);
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether the request body failed on its way in.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.waiting.slots.borrow_mut().entry(self.key).is_some_and(|entry| entry.broken)
    }

    fn change(&self, change: impl FnOnce(&mut Entry, Timestamp)) {
        if let Some(entry) = self.shared.waiting.slots.borrow_mut().entry(self.key) {
            change(entry, self.shared.now.get());
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let slots = &mut *self.shared.waiting.slots.borrow_mut();
        if let Some(entry) = slots.entry(self.key) {
            entry.serial = 0;
            entry.waker = None;
            entry.cut = None;
            slots.free.push(self.key.slot);
        }
    }
}

/// Notes the progress of a request body, also when its wait is over.
#[derive(Debug)]
pub(super) struct Progress {
    shared: Rc<Shared>,
    key: WaitKey,
}

impl Progress {
    /// The request body moved, or waits for the client (`paused`). While the response comes already, it has no say.
    pub(super) fn note(&self, paused: bool) {
        if let Some(entry) = self.shared.waiting.slots.borrow_mut().entry(self.key)
            && !entry.answered
        {
            entry.since = self.shared.now.get();
            entry.paused = paused;
        }
    }

    /// The request body failed.
    pub(super) fn broke(&self) {
        if let Some(entry) = self.shared.waiting.slots.borrow_mut().entry(self.key) {
            entry.broken = true;
        }
    }
}
