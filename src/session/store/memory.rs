//! Sessions in memory only: they end with the process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;
use crate::session::store::{Change, Loaded, Outcome, SessionStore, StoreError};

/// The store for tests, demos and those who want every session to end with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: HashMap<StoredId, Vec<u8>>,
    not_before: Timestamp,
}

impl SessionStore for MemoryStore {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        let before = self.records.len();
        self.records.retain(|_, bytes| Record::decode(bytes).is_ok());
        for (id, bytes) in &self.records {
            if let Ok(record) = Record::decode(bytes) {
                each(*id, record);
            }
        }
        Ok(Loaded { records: self.records.len(), quarantined: before - self.records.len(), dropped: None })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        Ok(changes.iter().map(|change| self.apply(change)).collect())
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        Ok(self.records.get(id).and_then(|bytes| Record::decode(bytes).ok()))
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        self.not_before = moment;
        Ok(())
    }

    fn not_before(&self) -> Timestamp {
        self.not_before
    }
}

impl MemoryStore {
    fn apply(&mut self, change: &Change) -> Outcome {
        match change {
            Change::Create(id, record) => match self.records.entry(*id) {
                Entry::Vacant(free) => {
                    free.insert(record.encode());
                    Outcome::Done
                }
                Entry::Occupied(_) => Outcome::Unchanged,
            },
            Change::Touch(id, moment) => {
                let Some(bytes) = self.records.get_mut(id) else { return Outcome::Unchanged };
                let Ok(mut record) = Record::decode(bytes) else { return Outcome::Unchanged };
                record.last_seen_at = record.last_seen_at.max(*moment);
                *bytes = record.encode();
                Outcome::Done
            }
            Change::Delete(id) => match self.records.remove(id) {
                Some(_) => Outcome::Done,
                None => Outcome::Unchanged,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_record_is_left_out_and_counted() {
        let mut store = MemoryStore::default();
        store.records.insert(StoredId::from_bytes([1; 32]), vec![99]);
        let mut found = 0;
        let loaded = store.load(&mut |_, _| found += 1).unwrap();
        assert_eq!((found, loaded), (0, Loaded { quarantined: 1, ..Loaded::default() }));
    }
}
