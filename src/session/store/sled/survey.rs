//! Looking into a store without changing it.

use super::{Open, SledStore, failed, session_key};
use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;
use crate::session::store::{Distrust, StoreError};

/// What stands in a store besides its readable records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Records this build cannot read.
    pub(crate) unreadable: usize,
    /// Records that the last commit counted and that are not there.
    pub(crate) missing: usize,
    /// Why a load would drop everything.
    pub(crate) distrust: Option<Distrust>,
    /// The moment that ended everything before it; the epoch for none.
    pub(crate) not_before: Timestamp,
}

impl SledStore {
    /// Hands every readable record over, whether a load would trust the store or not, and writes nothing.
    pub(crate) fn survey(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Survey, StoreError> {
        self.guarded(|store, open| {
            let found = open.survey()?;
            let lost = !found.same_records(&open.summary);
            let missing =
                usize::try_from(open.summary.count.saturating_sub(found.count)).unwrap_or(usize::MAX);
            let distrust = open.distrust.or(lost.then_some(Distrust::RecordsLost));
            let unreadable = visit(open, each)?;
            Ok(Survey { unreadable, missing, distrust, not_before: store.marker.not_before })
        })
    }
}

fn visit(open: &Open, each: &mut dyn FnMut(StoredId, Record)) -> Result<usize, StoreError> {
    let mut unreadable = 0;
    for row in open.db.iter() {
        let (key, value) = row.map_err(failed)?;
        let Some(id) = session_key(&key) else { continue };
        match Record::decode(&value) {
            Ok(record) => each(id, record),
            Err(_) => unreadable += 1,
        }
    }
    Ok(unreadable)
}
