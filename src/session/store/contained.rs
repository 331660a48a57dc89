//! A store whose panics are failures: what panics in a store must end neither the writer nor the logins after it.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;
use crate::session::store::{Change, Loaded, Outcome, SessionStore, StoreError};

/// The store within. After a panic it counts as failed, and is used again only once it could be reopened.
pub(in crate::session) struct Contained(Box<dyn SessionStore>);

impl Contained {
    pub(in crate::session) fn new(store: Box<dyn SessionStore>) -> Self {
        Self(store)
    }

    fn run<T>(
        &mut self,
        call: impl FnOnce(&mut dyn SessionStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // The panic hook has said where.
        catch_unwind(AssertUnwindSafe(|| call(&mut *self.0)))
            .unwrap_or_else(|_| Err(StoreError::Failed("it panicked".into())))
    }
}

impl SessionStore for Contained {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        self.run(|store| store.load(each))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.run(|store| store.commit(changes))
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        self.run(|store| store.read(id))
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.run(|store| store.reopen())
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        self.run(|store| store.set_not_before(moment))
    }

    fn not_before(&self) -> Timestamp {
        // Of a store that cannot even say this, nothing older than the end of time is believed.
        catch_unwind(AssertUnwindSafe(|| self.0.not_before())).unwrap_or(Timestamp::from_millis(u64::MAX))
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    fn exchange(
        &mut self,
        sessions: &[(StoredId, Timestamp)],
        now: Timestamp,
    ) -> io::Result<Option<HashSet<StoredId>>> {
        catch_unwind(AssertUnwindSafe(|| self.0.exchange(sessions, now)))
            .unwrap_or_else(|_| Err(io::Error::other("it panicked")))
    }
}
