//! Where sessions are kept: one trait, one conformance suite over every store.
//!
//! A store belongs to the writer thread and is never seen by a request. It keeps records by id and nothing else: the views by
//! user and by expiry live in the table and are rebuilt at start, so no crash can leave an index without its record (S6).

pub(in crate::session) mod contained;
pub(in crate::session) mod folder;
#[cfg(any(test, fuzzing))]
pub(in crate::session) mod fuzz;
pub(in crate::session) mod ledger;
mod marker;
mod memory;
pub(crate) mod redis;
pub(crate) mod sled;
mod summary;

pub use self::memory::MemoryStore;
pub use self::redis::{RedisAddress, RedisAddressProblem, RedisError, RedisStore};
pub use self::sled::{SledError, SledStore};

use std::collections::HashSet;
use std::io;

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;

/// One change of a commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Create-if-absent.
    Create(StoredId, Record),
    /// Update-if-present of the last activity: a touch never brings back what has ended (S5).
    Touch(StoredId, Timestamp),
    /// Delete, whether it is there or not.
    Delete(StoredId),
}

/// What came of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Done,
    /// Nothing changed: `Create` found the id taken, `Touch` or `Delete` found nothing.
    Unchanged,
}

/// What [`SessionStore::load`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Records handed over.
    pub records: usize,
    /// Records set aside because this build cannot read them (S8).
    pub quarantined: usize,
    /// Why the store's contents were not trusted, and everything was dropped (S12).
    pub dropped: Option<Distrust>,
}

/// Why the contents of a store were dropped at start: a session that was logged out before might have come back with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There are records, but the marker beside the store is gone.
    #[error("the marker file beside the store is missing or unreadable")]
    MarkerGone,
    /// The marker knows of a store, but this one is empty, or another one.
    #[error("the store was emptied, or replaced by another one")]
    StoreReplaced,
    /// The store is older than the last ending the marker knows of.
    #[error(
        "the store is older than its last acknowledged change (a copy was put back, or its end was cut off)"
    )]
    RolledBack,
    /// What is written to it is not found again.
    #[error("its log is damaged in a place behind which nothing is found again")]
    Unwritable,
    /// Records are missing or have come back.
    #[error("records are missing from the store or have come back")]
    RecordsLost,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Writing or reading failed. Nothing of the commit may be counted on; the store refuses more until it is reopened.
    #[error("the session store failed: {0}")]
    Failed(String),
}

/// A place that keeps records. One thread owns it.
pub trait SessionStore: Send {
    /// Hands every readable record over and sets the others aside. When the answer says `dropped`, the store is found to be not
    /// what was last written: what was handed over until then must be let go.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError>;

    /// Makes `changes` in their order, all or none, and returns once they would survive a power cut.
    ///
    /// # Errors
    /// When that could not be assured; the changes may then be there or not.
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError>;

    /// The record of `id`; `None` for an unknown id and for bytes this build cannot read.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError>;

    /// Opens the store anew after a failure, trusting nothing held in memory.
    ///
    /// # Errors
    /// When the fault is still there.
    fn reopen(&mut self) -> Result<(), StoreError>;

    /// Forgets every session that began at or before the moment, now and at every later load (S35). Durable on return.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError>;

    /// The moment of the last [`SessionStore::set_not_before`]; the epoch for none.
    fn not_before(&self) -> Timestamp;

    /// Whether others write to it too. What the table does not hold is then not ours to delete.
    fn is_shared(&self) -> bool {
        false
    }

    /// Remembers for good that `sessions` left this store or are about to enter it, each until its absolute limit, and answers
    /// which of them it knew before. `None` when the store cannot remember: nothing may then be brought into it.
    ///
    /// # Errors
    /// When what is remembered cannot be read or written.
    fn exchange(
        &mut self,
        _sessions: &[(StoredId, Timestamp)],
        _now: Timestamp,
    ) -> io::Result<Option<HashSet<StoredId>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod conformance;
