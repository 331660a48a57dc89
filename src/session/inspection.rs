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
use crate::session::lifetime::{Judgement, Limits, Moments};
use crate::session::record::Record;
use crate::session::store::{Distrust, SledError, SledStore, StoreError, folder::beside};

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
    /// Why a start would trust none of them, and end all.
    pub distrust: Option<Distrust>,
}

/// Why a store cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// There is no store.
    #[error("there is no session store at {}", .0.display())]
    Absent(PathBuf),
    /// It is open elsewhere, or damaged.
    #[error(transparent)]
    Sled(#[from] SledError),
    /// It opened but cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    if !folder.join("db").is_file() {
        return Err(InspectionError::Absent(folder.into()));
    }
    let lock = lock(folder)?;
    let copy = Copy::make(folder, random)?;
    drop(lock);
    let mut store = SledStore::open(&copy.store(), random).map_err(|error| named(error, folder))?;
    let mut records = Vec::new();
    let survey = store.survey(&mut |_, record| records.push(record))?;
    let mut found =
        Inspection { unreadable: survey.unreadable, distrust: survey.distrust, ..Inspection::default() };
    for record in records {
        let absolute_at = record.absolute_at.min(limits.absolute_at(record.created_at));
        let moments = Moments { last_seen_at: record.last_seen_at, absolute_at };
        if moments.judge(limits.idle_timeout, now) != Judgement::Live {
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

/// The store's lock while it is copied; a copy made by hand has none.
fn lock(folder: &Path) -> Result<Option<File>, SledError> {
    let io = |source| SledError::Io { path: folder.into(), source };
    let lock = match File::open(beside(folder, ".lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(fs::TryLockError::WouldBlock) => Err(SledError::InUse { path: folder.into() }),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The error as of the store itself, not of its copy.
fn named(error: SledError, folder: &Path) -> SledError {
    let path = folder.to_owned();
    match error {
        SledError::InUse { .. } => SledError::InUse { path },
        SledError::Damaged { cause, .. } => SledError::Damaged { path, cause },
        SledError::Io { source, .. } => SledError::Io { path, source },
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
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::base::identity::{Identity, LoginMethod};
    use crate::base::secret::SystemRandom;
    use crate::session::id::StoredId;
    use crate::session::record::Origin;
    use crate::session::store::{Change, SessionStore};

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);
    const LIMITS: Limits =
        Limits { duration: Duration::from_secs(86_400), idle_timeout: Duration::from_secs(7_200) };

    fn record(user: &str, created_at: Timestamp) -> Record {
        Record {
            user: user.into(),
            method: LoginMethod::Password,
            credential: [1; 16],
            created_at,
            last_seen_at: created_at,
            absolute_at: created_at + LIMITS.duration,
            origin: Origin::default(),
        }
    }

    /// Knows everybody but eve.
    fn subject_of(record: &Record) -> Option<Subject> {
        let identity = Arc::new(Identity::new(&record.user, None, None, &[]));
        let subject = Subject { identity, method: LoginMethod::Password, credential: [1; 16] };
        (&*record.user != "eve").then_some(subject)
    }

    fn look(folder: &Path) -> Result<Inspection, InspectionError> {
        inspect(folder, LIMITS, &subject_of, &SystemRandom, START)
    }

    /// A store with a live session of ada and of eve, and one that has idled out.
    fn store() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("sessions");
        let mut store = SledStore::open(&folder, &SystemRandom).unwrap();
        let old = START.before(LIMITS.idle_timeout);
        let sessions = [("ada", START), ("eve", START), ("ada", old)];
        let changes: Vec<_> = (1u8..)
            .zip(sessions)
            .map(|(n, (user, at))| Change::Create(StoredId::from_bytes([n; 32]), record(user, at)))
            .collect();
        store.commit(&changes).unwrap();
        (place, folder)
    }

    /// Every file of a folder with its bytes and the moment of its last change.
    fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                found.extend(contents(&entry.path()));
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                found.insert(entry.path(), (bytes, metadata.modified().unwrap()));
            }
        }
        found
    }

    #[test]
    fn sessions_are_counted_and_nothing_is_changed() {
        let (place, folder) = store();
        let before = contents(place.path());
        let expected = Inspection { live: 1, expired: 1, disowned: 1, ..Inspection::default() };
        assert_eq!(look(&folder).unwrap(), expected);
        assert_eq!(contents(place.path()), before);
    }

    #[test]
    fn what_everything_before_a_moment_ended_is_told_apart() {
        let (_place, folder) = store();
        SledStore::open(&folder, &SystemRandom).unwrap().set_not_before(START).unwrap();
        assert_eq!(look(&folder).unwrap(), Inspection { ended: 2, expired: 1, ..Inspection::default() });
    }

    #[test]
    fn a_store_without_its_marker_is_not_trusted_and_still_counted() {
        let (_place, folder) = store();
        fs::remove_file(beside(&folder, ".marker")).unwrap();
        let found = look(&folder).unwrap();
        assert_eq!((found.live, found.distrust), (1, Some(Distrust::MarkerGone)));
        assert!(!beside(&folder, ".marker").exists(), "looking makes no marker");
    }

    #[test]
    fn a_store_in_use_and_a_store_that_is_not_there_are_refused() {
        let (place, folder) = store();
        let open = SledStore::open(&folder, &SystemRandom).unwrap();
        assert!(matches!(look(&folder), Err(InspectionError::Sled(SledError::InUse { .. }))));
        drop(open);
        assert!(look(&folder).is_ok());
        let absent = place.path().join("absent");
        assert!(matches!(look(&absent), Err(InspectionError::Absent(_))));
        assert!(!absent.exists());
    }

    #[test]
    fn a_damaged_store_is_not_trusted_or_an_error_that_names_it() {
        let (_place, folder) = store();
        let mut bytes = fs::read(folder.join("db")).unwrap();
        bytes[0] ^= 1;
        fs::write(folder.join("db"), bytes).unwrap();
        match look(&folder) {
            Err(error) => assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}"),
            Ok(found) => assert!(found.distrust.is_some(), "{found:?}"),
        }
    }
}
