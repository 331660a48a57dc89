//! Sessions by their ids: asked by every request, without a lock.
//!
//! A lookup among a million sessions meets memory that is in no cache, and what that costs is the number of *places* it goes to:
//! each is a line and, on small pages, a walk through the page tables too. Here there are two: a slot of the shard, with the
//! first eight bytes of the id beside the pointer, and the session itself.
//!
//! A shard is an open-addressed array that is probed in steps of one. Only its slots change while it is in use: a session is put
//! in before its tag is, and its tag is taken out before it is, so that a reader sees a session or none. When an array fills up,
//! whoever inserts builds another one and swaps it in; readers of the old one finish there. What such a reader misses was entered
//! after it had begun, and what it finds although it was removed has ended and says so itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::session::id::StoredId;
use crate::session::live::LiveSession;

/// Arrays are rebuilt one at a time: with a million sessions each holds about a thousand.
const SHARDS: u64 = 1024;
/// A slot that was never used: nothing lies behind it.
const FREE: u64 = 0;
/// A slot whose session has left.
const GONE: u64 = 1;
/// Fewest slots of an array that holds anything.
const LEAST: usize = 4;

/// See the module doc.
pub(crate) struct Index {
    shards: Box<[Shard]>,
    count: AtomicUsize,
}

struct Shard {
    slots: ArcSwap<Slots>,
    /// Held by who changes the shard; a request does so only when it ends a session.
    changing: Mutex<Used>,
}

type Slots = Box<[Slot]>;

/// How many slots of the array are not free, and how many of these hold a session.
#[derive(Default)]
struct Used {
    taken: usize,
    live: usize,
}

struct Slot {
    tag: AtomicU64,
    session: ArcSwapOption<LiveSession>,
}

impl Index {
    pub(crate) fn new() -> Self {
        let empty: Arc<Slots> = Arc::default();
        let shard = |_| Shard { slots: ArcSwap::new(Arc::clone(&empty)), changing: Mutex::default() };
        Self { shards: (0..SHARDS).map(shard).collect(), count: AtomicUsize::new(0) }
    }

    pub(crate) fn find(&self, id: &StoredId) -> Option<Arc<LiveSession>> {
        let tag = tag_of(id);
        let slots = self.shard(tag)?.slots.load();
        seek(&slots, tag, id).map(|(_, session)| session)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Enters `session`, in the place of one with the same id.
    pub(crate) fn insert(&self, session: &Arc<LiveSession>) {
        let tag = tag_of(session.id_ref());
        let Some(shard) = self.shard(tag) else { return };
        let mut used = shard.change();
        let slots = shard.slots.load();
        if let Some((slot, _)) = seek(&slots, tag, session.id_ref()) {
            slot.session.store(Some(Arc::clone(session)));
            return;
        }
        if (used.taken + 1) * 4 > slots.len() * 3 {
            let wider = wider(&slots, used.live + 1);
            put(&wider, tag, session);
            *used = Used { taken: used.live + 1, live: used.live + 1 };
            shard.slots.store(Arc::new(wider));
        } else {
            used.taken += usize::from(put(&slots, tag, session));
            used.live += 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, id: &StoredId) {
        let tag = tag_of(id);
        let Some(shard) = self.shard(tag) else { return };
        let mut used = shard.change();
        let slots = shard.slots.load();
        if let Some((slot, _)) = seek(&slots, tag, id) {
            slot.tag.store(GONE, Ordering::Release);
            slot.session.store(None);
            used.live -= 1;
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Those whose ids begin with the eight bytes `start`, as a rule one at most.
    pub(crate) fn starting_with(&self, start: u64) -> Vec<Arc<LiveSession>> {
        let tag = start.max(GONE + 1);
        let Some(shard) = self.shard(tag) else { return Vec::new() };
        let slots = shard.slots.load();
        let run = probe(&slots, tag).take_while(|slot| slot.tag.load(Ordering::Acquire) != FREE);
        let tagged = run.filter(|slot| slot.tag.load(Ordering::Acquire) == tag);
        let found = tagged.filter_map(|slot| slot.session.load_full());
        found.filter(|session| session.id_ref().start() == start).collect()
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<LiveSession>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.slots.load().iter().filter_map(|slot| slot.session.load_full()));
        }
        all
    }

    fn shard(&self, tag: u64) -> Option<&Shard> {
        // The place within a shard is told by the upper bits.
        self.shards.get(usize::try_from(tag % SHARDS).ok()?)
    }
}

impl Shard {
    fn change(&self) -> MutexGuard<'_, Used> {
        // Nothing under the lock stops half way but for a lack of memory.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn free(_: usize) -> Self {
        Self { tag: AtomicU64::new(FREE), session: ArcSwapOption::const_empty() }
    }
}

/// The eight bytes by which a session is placed and told from its neighbours; uniform, and nobody can choose them.
fn tag_of(id: &StoredId) -> u64 {
    id.start().max(GONE + 1)
}

/// The slots in the order in which `tag` is looked for.
fn probe(slots: &Slots, tag: u64) -> impl Iterator<Item = &Slot> {
    let place = (u128::from(tag) * slots.len() as u128) >> 64;
    let (before, from) = slots.split_at_checked(usize::try_from(place).unwrap_or(0)).unwrap_or((&[], slots));
    from.iter().chain(before)
}

/// The session `id` and its slot.
fn seek<'a>(slots: &'a Slots, tag: u64, id: &StoredId) -> Option<(&'a Slot, Arc<LiveSession>)> {
    for slot in probe(slots, tag) {
        let found = slot.tag.load(Ordering::Acquire);
        if found == FREE {
            break;
        }
        // Another may have come into the slot since: what counts is the id.
        if found == tag
            && let Some(session) = slot.session.load().as_ref().filter(|session| session.id_ref() == id)
        {
            return Some((slot, Arc::clone(session)));
        }
    }
    None
}

/// Puts a session that is not there into the first slot without one; true when that one was never used.
fn put(slots: &Slots, tag: u64, session: &Arc<LiveSession>) -> bool {
    for slot in probe(slots, tag) {
        let before = slot.tag.load(Ordering::Acquire);
        if before <= GONE {
            slot.session.store(Some(Arc::clone(session)));
            slot.tag.store(tag, Ordering::Release);
            return before == FREE;
        }
    }
    false
}

/// An array that is half full with `live` sessions, with those of `slots` in it.
fn wider(slots: &Slots, live: usize) -> Slots {
    let wider: Slots = (0..(live * 2).max(LEAST)).map(Slot::free).collect();
    for session in slots.iter().filter_map(|slot| slot.session.load_full()) {
        put(&wider, tag_of(session.id_ref()), &session);
    }
    wider
}

#[cfg(test)]
mod tests;
