//! Sessions in a Redis or Valkey server that several gateways may share.
//!
//! ```text
//! writer thread --commit, read--> [link thread: one RESP3 connection] <--> server
//! requests -------fetch---------->           |  changes others made, answers
//!                                            v
//!                                    [`Follower`]: the table
//! ```
//!
//! Answers and invalidation messages come over the one connection in the order the server made them, so there is one moment
//! at which both are lost. The store side is blocking, as for every store; the link is a thread with a small runtime.

mod address;
#[cfg(any(test, fuzzing))]
pub(in crate::session) mod fuzz;
mod link;
mod reading;
mod serving;
mod wire;

pub use self::address::{RedisAddress, RedisAddressProblem};
pub(crate) use self::link::{Follower, Link};
pub(crate) use self::reading::Found;

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::session::id::StoredId;
use crate::session::lifetime::Limits;
use crate::session::record::Record;
use crate::session::store::{Change, Loaded, Outcome, SessionStore, StoreError};

/// Longest a fill of the table may take at start.
const FILL: Duration = Duration::from_secs(120);

/// The server could not be used at start.
#[derive(Debug, thiserror::Error)]
#[error("the session store at {address} cannot be used: {cause}")]
pub struct RedisError {
    /// As it may be shown.
    address: String,
    cause: String,
}

/// The store in a Redis server.
pub struct RedisStore {
    link: Link,
    clock: Arc<dyn Clock>,
    /// How long after its last written activity a record stays: our own check ends it before.
    keep: Duration,
    not_before: Timestamp,
}

impl RedisStore {
    /// Connects. Records stay on the server until nobody could take them for live by `limits`.
    ///
    /// # Errors
    /// When the server does not answer, refuses the password, or does not speak RESP3 (Redis before 6).
    pub(crate) fn open(
        address: &RedisAddress,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RedisError> {
        let failed = |cause: String| RedisError { address: address.to_string(), cause };
        let (link, not_before) = Link::start(address.clone()).map_err(failed)?;
        // A written activity lags behind the real one by a touch period, two when a write was lost.
        let keep = limits.idle_timeout + limits.touch_period() * 4;
        Ok(Self { link, clock, keep, not_before })
    }

    /// Asks for sessions on behalf of requests.
    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }

    /// From now on `follower` learns of every session there is and of every change; returns once it knows all.
    pub(crate) fn attach(&self, follower: Arc<dyn Follower>) -> Result<(), StoreError> {
        self.link.attach(follower, FILL).map_err(StoreError::Failed)
    }
}

impl SessionStore for RedisStore {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        // A scan may name a key twice.
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        loop {
            let (next, ids) = self.link.page(cursor).map_err(StoreError::Failed)?;
            let fresh: Vec<_> = ids.into_iter().filter(|id| seen.insert(*id)).collect();
            for (id, found) in self.link.read(&fresh).map_err(StoreError::Failed)? {
                match found {
                    reading::Found::Record(record) => {
                        loaded.records += 1;
                        each(id, *record);
                    }
                    reading::Found::Unreadable => loaded.quarantined += 1,
                    reading::Found::Nothing => {}
                }
            }
            if next == 0 {
                return Ok(loaded);
            }
            cursor = next;
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let command = wire::commit(changes, self.keep, self.clock.now());
        let answer = self.link.ask(command).map_err(StoreError::Failed)?;
        wire::outcomes(&answer, changes.len())
            .ok_or_else(|| StoreError::Failed("the server answered something else than asked".into()))
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        let found = self.link.read(&[*id]).map_err(StoreError::Failed)?;
        Ok(found.into_iter().find_map(|(_, found)| match found {
            reading::Found::Record(record) => Some(*record),
            _ => None,
        }))
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        // The link connects again by itself; this only finds out whether it has.
        let answer = self.link.ask(wire::read_not_before()).map_err(StoreError::Failed)?;
        self.not_before = self.not_before.max(reading::moment(&answer));
        Ok(())
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        self.link.ask(wire::raise_not_before(moment)).map_err(StoreError::Failed)?;
        self.not_before = self.not_before.max(moment);
        Ok(())
    }

    fn not_before(&self) -> Timestamp {
        self.not_before
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.link.close();
    }
}
