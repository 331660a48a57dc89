//! The embedded store: sled 0.34.7, kept on a short leash.
//!
//! What sled does not do, measured, and what stands here for it:
//!
//! - `flush()` does not reach the disk: every commit is followed by `fdatasync` of sled's data file on a handle of our own.
//! - Damage can panic inside `open`, and a half-written snapshot makes it refuse for good: see `folder.rs`.
//! - An emptied, cut-off or replaced log opens without an error: see `marker.rs`.
//! - After a failed write nothing it says can be trusted: the store refuses everything until it was opened anew.
//!
//! One tree holds everything: 32-byte keys are sessions, the key `meta` is the [`Summary`] that every commit renews in the same
//! atomic batch. A load that does not come to the same summary has lost records, or got old ones back, and drops all of them:
//! having to log in again is harm enough. Records this build cannot read move to the tree `quarantine`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::secret::Random;
use crate::session::id::StoredId;
use crate::session::record::Record;
use crate::session::store::folder::Folder;
pub use crate::session::store::folder::SledError;
use crate::session::store::ledger::Ledger;
use crate::session::store::marker::{Marker, MarkerFile};
use crate::session::store::summary::Summary;
use crate::session::store::{Change, Distrust, Loaded, Outcome, SessionStore, StoreError};

const META: &[u8] = b"meta";
const QUARANTINE: &[u8] = b"quarantine";
/// The marker's latest moment lags by no more than this behind the records.
const MARKER_LAG: Duration = Duration::from_secs(300);

/// See the module doc.
pub struct SledStore {
    folder: Folder,
    ledger: Ledger,
    marker_file: MarkerFile,
    marker: Marker,
    /// `None` between a failure and the next successful opening.
    open: Option<Open>,
    /// An id for the store, should its contents have to be dropped.
    fresh_id: [u8; 16],
}

struct Open {
    db: sled::Db,
    /// sled's data file, for the sync that sled leaves out.
    data: File,
    summary: Summary,
    distrust: Option<Distrust>,
    /// The marker has been written since this opening.
    marked: bool,
}

impl SledStore {
    /// Opens the store in `folder`, making it when it is not there.
    ///
    /// # Errors
    /// When another process has it, when it is damaged beyond reading, or when the file system refuses.
    pub fn open(folder: &Path, random: &dyn Random) -> Result<Self, SledError> {
        let locked = Folder::lock(folder)?;
        let was_there = locked.has_data();
        let mut fresh_id = [0; 16];
        random.fill(&mut fresh_id).map_err(|error| locked.error(std::io::Error::other(error)))?;
        let (marker_file, marker) =
            MarkerFile::open(&MarkerFile::path_for(folder)).map_err(|error| locked.error(error))?;
        let known = marker.is_some();
        let marker = marker.unwrap_or(Marker { creation_id: fresh_id, ..Marker::default() });
        let ledger = Ledger::beside(folder);
        let mut store = Self { folder: locked, ledger, marker_file, marker, open: None, fresh_id };
        if !known && !was_there {
            // The marker comes first: a store that nobody has written to yet may be lost without harm.
            store.marker_file.write(&store.marker).map_err(|error| store.folder.error(error))?;
        }
        store.open_sled()?;
        if !known
            && was_there
            && let Some(open) = &mut store.open
        {
            open.distrust = Some(Distrust::MarkerGone);
        }
        store.try_the_log()?;
        Ok(store)
    }

    /// The latest moment that the records of the store in `folder` are known to have spoken of; the epoch for none. A clock
    /// that starts no earlier than this never revives a session (S19).
    pub fn latest_moment(folder: &Path) -> Timestamp {
        MarkerFile::peek(&MarkerFile::path_for(folder)).map_or(Timestamp::default(), |marker| marker.latest)
    }

    fn open_sled(&mut self) -> Result<(), SledError> {
        let (db, data) = self.folder.open()?;
        let stored = db.get(META).map_err(|error| self.folder.error(std::io::Error::other(error)))?;
        let stored = stored.and_then(|bytes| Summary::decode(&bytes));
        let marker = &self.marker;
        let distrust = match stored {
            // Nothing was ever acknowledged: a fresh install, or one that was cut short.
            None if marker.commits == 0 => None,
            None => Some(Distrust::StoreReplaced),
            Some(summary) if summary.creation_id != marker.creation_id => Some(Distrust::StoreReplaced),
            Some(summary) if summary.commits < marker.commits => Some(Distrust::RolledBack),
            Some(_) => None,
        };
        let fresh = Summary { creation_id: marker.creation_id, ..Summary::default() };
        self.open = Some(Open { db, data, summary: stored.unwrap_or(fresh), distrust, marked: false });
        Ok(())
    }

    /// Runs `work` on the open store. Whatever goes wrong, a panic inside sled included, closes it until it is opened anew.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Open) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(mut open) = self.open.take() else {
            return Err(StoreError::Failed("it is closed after a failure".into()));
        };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            let outcome = work(self, &mut open);
            (outcome, open)
        }));
        match outcome {
            Ok((Ok(done), open)) => {
                self.open = Some(open);
                Ok(done)
            }
            Ok((Err(error), _)) => Err(error),
            Err(_) => Err(StoreError::Failed("it broke down inside".into())),
        }
    }

    /// Puts the distrusted files aside and starts with fresh ones. Deleting the records would not do: what is written behind a
    /// damaged place in sled's log is not found again at the next opening. A kill in between leaves a store that is distrusted
    /// once more, because store and marker then name different ids.
    fn begin_anew(&mut self) -> Result<(), StoreError> {
        let commits = self.open.as_ref().map_or(0, |open| open.summary.commits).max(self.marker.commits);
        // Closed first: sled goes by names in its folder until it is gone.
        self.open = None;
        self.folder.put_everything_aside().map_err(failed)?;
        let (db, data) = self.folder.open().map_err(failed)?;
        let summary = Summary { creation_id: self.fresh_id, commits, ..Summary::default() };
        self.open = Some(Open { db, data, summary, distrust: None, marked: false });
        self.guarded(|store, open| {
            open.write(sled::Batch::default(), summary)?;
            store.mark(open, true, Timestamp::default())
        })
    }

    /// Renews the marker where a loss of this commit would do harm: it ends a session, or it is the first since the start.
    fn mark(&mut self, open: &mut Open, ends: bool, latest: Timestamp) -> Result<(), StoreError> {
        let latest = latest.max(self.marker.latest);
        if !ends && open.marked && latest.since(self.marker.latest) < MARKER_LAG {
            return Ok(());
        }
        let marker = Marker {
            creation_id: open.summary.creation_id,
            commits: open.summary.commits,
            latest,
            ..self.marker
        };
        self.marker_file.write(&marker).map_err(failed)?;
        self.marker = marker;
        open.marked = true;
        Ok(())
    }
}

impl SessionStore for SledStore {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        let distrust = self.guarded(|_, open| Ok(open.distrust))?;
        // One walk both hands over and counts: a million records are read once.
        if distrust.is_none()
            && let Some(loaded) = self.guarded(|_, open| open.hand_over(each))?
        {
            return Ok(loaded);
        }
        self.begin_anew()?;
        Ok(Loaded { dropped: Some(distrust.unwrap_or(Distrust::RecordsLost)), ..Loaded::default() })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.guarded(|store, open| {
            let mut draft = Draft::new(open);
            let outcomes: Result<Vec<_>, _> = changes.iter().map(|change| draft.apply(change)).collect();
            let (outcomes, ends, latest) = (outcomes?, draft.ends, draft.latest);
            let (batch, summary) = draft.finish();
            open.write(batch, summary)?;
            store.mark(open, ends, latest)?;
            Ok(outcomes)
        })
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        self.guarded(|_, open| {
            let bytes = open.db.get(id.as_bytes()).map_err(failed)?;
            Ok(bytes.and_then(|bytes| Record::decode(&bytes).ok()))
        })
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.open = None;
        self.open_sled().map_err(failed)
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        let marker = Marker { not_before: moment.max(self.marker.not_before), ..self.marker };
        self.marker_file.write(&marker).map_err(failed)?;
        self.marker = marker;
        Ok(())
    }

    fn not_before(&self) -> Timestamp {
        self.marker.not_before
    }

    fn exchange(
        &mut self,
        sessions: &[(StoredId, Timestamp)],
        now: Timestamp,
    ) -> io::Result<Option<HashSet<StoredId>>> {
        self.ledger.exchange(sessions, now).map(Some)
    }
}

impl Open {
    /// What the records add up to.
    fn survey(&self) -> Result<Summary, StoreError> {
        let mut found = Summary::default();
        for key in self.db.iter().keys() {
            if let Some(id) = session_key(&key.map_err(failed)?) {
                found.add(&id);
            }
        }
        Ok(found)
    }

    /// Hands over what can be read, sets the rest aside; `None` when the records are not those that were last counted.
    fn hand_over(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Option<Loaded>, StoreError> {
        let (mut loaded, mut found) = (Loaded::default(), Summary::default());
        let mut unreadable = Vec::new();
        for row in self.db.iter() {
            let (key, value) = row.map_err(failed)?;
            let Some(id) = session_key(&key) else { continue };
            found.add(&id);
            match Record::decode(&value) {
                Ok(record) => {
                    loaded.records += 1;
                    each(id, record);
                }
                Err(_) => unreadable.push((id, value)),
            }
        }
        if !found.same_records(&self.summary) {
            return Ok(None);
        }
        loaded.quarantined = unreadable.len();
        if !unreadable.is_empty() {
            let quarantine = self.db.open_tree(QUARANTINE).map_err(failed)?;
            let mut batch = sled::Batch::default();
            let mut summary = self.summary;
            for (id, value) in unreadable {
                quarantine.insert(id.as_bytes(), value).map_err(failed)?;
                batch.remove(id.as_bytes());
                summary.remove(&id);
            }
            self.write(batch, summary)?;
        }
        Ok(Some(loaded))
    }

    /// One atomic batch with its summary, on the disk when this returns.
    fn write(&mut self, mut batch: sled::Batch, mut summary: Summary) -> Result<(), StoreError> {
        summary.commits = summary.commits.saturating_add(1);
        batch.insert(META, summary.encode());
        self.db.apply_batch(batch).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        self.data.sync_data().map_err(failed)?;
        self.summary = summary;
        Ok(())
    }
}

/// The changes of one commit on their way into a batch: later ones see what earlier ones did.
struct Draft<'a> {
    open: &'a Open,
    rows: HashMap<StoredId, Option<Vec<u8>>>,
    summary: Summary,
    ends: bool,
    latest: Timestamp,
}

impl<'a> Draft<'a> {
    fn new(open: &'a Open) -> Self {
        let (rows, summary) = (HashMap::new(), open.summary);
        Self { open, rows, summary, ends: false, latest: Timestamp::default() }
    }

    fn apply(&mut self, change: &Change) -> Result<Outcome, StoreError> {
        let (Change::Create(id, _) | Change::Touch(id, _) | Change::Delete(id)) = change;
        let present = self.present(id)?;
        let row = match (change, present) {
            (Change::Create(_, record), None) => {
                self.summary.add(id);
                self.latest = self.latest.max(record.last_seen_at);
                Some(record.encode())
            }
            (Change::Touch(_, moment), Some(bytes)) => {
                let Ok(mut record) = Record::decode(&bytes) else { return Ok(Outcome::Unchanged) };
                record.last_seen_at = record.last_seen_at.max(*moment);
                self.latest = self.latest.max(*moment);
                Some(record.encode())
            }
            (Change::Delete(_), Some(_)) => {
                self.summary.remove(id);
                self.ends = true;
                None
            }
            (Change::Create(..), Some(_)) | (Change::Touch(..) | Change::Delete(_), None) => {
                return Ok(Outcome::Unchanged);
            }
        };
        self.rows.insert(*id, row);
        Ok(Outcome::Done)
    }

    fn present(&self, id: &StoredId) -> Result<Option<Vec<u8>>, StoreError> {
        match self.rows.get(id) {
            Some(row) => Ok(row.clone()),
            None => Ok(self.open.db.get(id.as_bytes()).map_err(failed)?.map(|bytes| bytes.to_vec())),
        }
    }

    fn finish(self) -> (sled::Batch, Summary) {
        let mut batch = sled::Batch::default();
        for (id, row) in self.rows {
            match row {
                Some(bytes) => batch.insert(id.as_bytes(), bytes),
                None => batch.remove(id.as_bytes()),
            }
        }
        (batch, self.summary)
    }
}

fn session_key(key: &[u8]) -> Option<StoredId> {
    key.try_into().ok().map(StoredId::from_bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn failed(error: impl ToString) -> StoreError {
    StoreError::Failed(error.to_string())
}

pub(in crate::session) mod survey;
#[cfg(test)]
mod tests;
mod trial;
