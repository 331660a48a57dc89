//! What a start would find in a store at rest. Everything happens on a copy among the temporary files: opening an embedded
//! store writes to it, and a load drops what it does not trust (S36).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::base::secret::{Random, RandomError};
use crate::session::id::StoredId;
use crate::session::lifetime::{Judgement, Limits, Moments};
use crate::session::record::Record;
use crate::session::store::folder::{Lock, beside};
use crate::session::store::ledger::Ledger;
use crate::session::store::sled::survey::Survey;
use crate::session::store::{Distrust, SledError, SledStore, StoreError};

/// The files beside a store's folder that belong to it.
const BESIDE: [&str; 1] = [".marker"];

/// What stands in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Live sessions.
    pub live: usize,
    /// Past one of their limits.
    pub expired: usize,
    /// Ended by the moment that ended everything, and not removed yet.
    pub ended: usize,
    /// Their user is gone, or has another credential.
    pub disowned: usize,
    /// Records this build cannot read; a start sets them aside.
    pub unreadable: usize,
    /// Counted by the last commit, and not there any more.
    pub missing: usize,
    /// Why a start would trust none of them, and end all.
    pub distrust: Option<Distrust>,
}

/// Why a store cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// There is no store.
    #[error("there is no session store at {}", .0.display())]
    Absent(PathBuf),
    /// A gateway has it open.
    #[error(
        "the session store {} is in use: stop the gateway first, or look at a copy of that folder and of the .marker file beside it",
        .0.display()
    )]
    InUse(PathBuf),
    /// It is damaged.
    #[error(transparent)]
    Sled(#[from] SledError),
    /// It opened but cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A start would drop everything in it.
    #[error("the store is not trusted: {0}")]
    Distrusted(Distrust),
    /// There is no lock beside it, so it is a copy.
    #[error("{} is a copy of a store: sessions are exported from the store itself", .0.display())]
    NotTheStore(PathBuf),
    /// What leaves cannot be remembered.
    #[error("the list of exchanged sessions beside the store cannot be used: {0}")]
    Ledger(io::Error),
    /// The copy cannot be made.
    #[error("cannot copy the store to {}: {cause}; TMPDIR names another place", to.display())]
    Copy {
        /// Where to.
        to: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Looks into the sled store in `folder`, by `limits` and at `now`. `subject_of` says whether a user is there still. A store
/// that a gateway has open is refused; nothing in `folder` or beside it is changed.
///
/// # Errors
/// See [`InspectionError`].
pub fn inspect(
    folder: &Path,
    limits: Limits,
    subject_of: &dyn Fn(&Record) -> Option<Subject>,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Inspection, InspectionError> {
    let (survey, records, _) = look(folder, random)?;
    let Survey { unreadable, missing, distrust, .. } = survey;
    let mut found = Inspection { unreadable, missing, distrust, ..Inspection::default() };
    for (_, record) in records {
        if !within(limits, &record, now) {
            found.expired += 1;
        } else if record.created_at <= survey.not_before {
            found.ended += 1;
        } else if subject_of(&record).is_none_or(|subject| subject.credential != record.credential) {
            found.disowned += 1;
        } else {
            found.live += 1;
        }
    }
    Ok(found)
}

/// The records of all sessions of the sled store in `folder` that live by `limits` at `now`, in the order of their ids. As by
/// [`SessionManager::export`](crate::session::SessionManager::export) they are remembered as having left; nothing else changes.
///
/// # Errors
/// See [`InspectionError`]; also when a start would not trust the store.
pub fn export_at_rest(
    folder: &Path,
    limits: Limits,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Vec<(StoredId, Record)>, InspectionError> {
    let (survey, mut records, lock) = look(folder, random)?;
    if let Some(distrust) = survey.distrust {
        return Err(InspectionError::Distrusted(distrust));
    }
    // The ledger must be the one of the store that people will go on with.
    let lock = lock.ok_or_else(|| InspectionError::NotTheStore(folder.into()))?;
    records.retain(|(_, record)| within(limits, record, now) && record.created_at > survey.not_before);
    records.sort_by_key(|(id, _)| *id);
    let leaving: Vec<_> = records.iter().map(|(id, record)| (*id, record.absolute_at)).collect();
    Ledger::beside(folder).exchange(&leaving, now).map_err(InspectionError::Ledger)?;
    drop(lock);
    Ok(records)
}

type Records = Vec<(StoredId, Record)>;

/// Everything in the store, by way of a copy, and the lock that was held meanwhile.
fn look(folder: &Path, random: &dyn Random) -> Result<(Survey, Records, Option<Lock>), InspectionError> {
    if !folder.join("db").is_file() {
        return Err(InspectionError::Absent(folder.into()));
    }
    let lock = lock(folder)?;
    let copy = Copy::make(folder, random)?;
    let mut store = SledStore::open(&copy.store(), random).map_err(|error| named(error, folder))?;
    let mut records = Vec::new();
    let survey = store.survey(&mut |id, record| records.push((id, record)))?;
    Ok((survey, records, lock))
}

fn within(limits: Limits, record: &Record, now: Timestamp) -> bool {
    // As at start: a shorter duration in the settings holds for old sessions too.
    let absolute_at = record.absolute_at.min(limits.absolute_at(record.created_at));
    let moments = Moments { last_seen_at: record.last_seen_at, absolute_at };
    moments.judge(limits.idle_timeout, now) == Judgement::Live
}

/// The store's lock while it is copied; a copy made by hand has none.
fn lock(folder: &Path) -> Result<Option<Lock>, InspectionError> {
    let io = |source| SledError::Io { path: folder.into(), source };
    let lock = match File::open(beside(folder, ".lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error).into()),
    };
    match Lock::take(lock) {
        Ok(lock) => Ok(Some(lock)),
        Err(fs::TryLockError::WouldBlock) => Err(InspectionError::InUse(folder.into())),
        Err(fs::TryLockError::Error(source)) => Err(io(source).into()),
    }
}

/// The error as of the store itself, not of its copy.
fn named(error: SledError, folder: &Path) -> SledError {
    let path = folder.to_owned();
    match error {
        SledError::InUse { .. } => SledError::InUse { path },
        SledError::Damaged { cause, .. } => SledError::Damaged { path, cause },
        SledError::Io { source, .. } => SledError::Io { path, source },
        // About the folder the copy lies in.
        loose @ SledError::Loose { .. } => loose,
    }
}

/// A copy that goes when this does.
struct Copy(PathBuf);

impl Copy {
    fn make(folder: &Path, random: &dyn Random) -> Result<Self, InspectionError> {
        let mut name = [0; 8];
        random.fill(&mut name)?;
        let to = std::env::temp_dir().join(format!("fluidgate-check-{}", HEXLOWER.encode(&name)));
        let failed = |cause| InspectionError::Copy { to: to.clone(), cause };
        private_folder(&to).map_err(failed)?;
        let copy = Self(to.clone());
        copy_folder(folder, &copy.store()).map_err(failed)?;
        for suffix in BESIDE {
            match fs::copy(beside(folder, suffix), beside(&copy.store(), suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(copy)
    }

    fn store(&self) -> PathBuf {
        self.0.join("sessions")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    private_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()? {
            kind if kind.is_dir() => copy_folder(&from, &to)?,
            kind if kind.is_file() => drop(fs::copy(&from, &to)?),
            _ => {}
        }
    }
    Ok(())
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests;
