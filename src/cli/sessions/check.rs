//! `fluidgate sessions check`: what a start would find in a store, and what it would lose.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{SessionsError, load, sessions};
use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::identity::{Identity, Subject};
use crate::base::secret::SystemRandom;
use crate::cli::users::file::{self as user_file, EditError};
use crate::config::Config;
use crate::session::id::StoredId;
use crate::session::inspection::{Inspection, InspectionError, export_at_rest, inspect};
use crate::session::lifetime::Limits;
use crate::session::record::Record;
use crate::session::{StoreSettings, store::SledStore};

/// The limits of a configuration that says nothing of them.
const DEFAULT_LIMITS: Limits =
    Limits { duration: Duration::from_secs(24 * 3600), idle_timeout: Duration::from_secs(2 * 3600) };

/// Why a store cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// The store cannot be looked into.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// The user file cannot be used.
    #[error(transparent)]
    Users(#[from] EditError),
    /// The configuration has no store on a disk.
    #[error("{}: the store is in memory; there is nothing to check", .0.display())]
    NothingStored(PathBuf),
}

/// Checks the store in `store`, or else that of the configuration; true when a start would lose sessions. Without a
/// configuration the default limits count, and everybody as a user.
///
/// # Errors
/// When the store is in use, is not there, or cannot be read.
pub(super) fn run(out: &mut impl Write, store: Option<&Path>, config: &Path) -> Result<bool, SessionsError> {
    let rest = AtRest::find(store, config)?;
    let (folder, limits, now) = (&*rest.folder, rest.limits, rest.now);
    let users = rest.config.as_ref().map(|config| user_file::read(&config.login.users)).transpose();
    let users = users.map_err(CheckError::Users)?;
    let subject_of = |record: &Record| match &users {
        Some(users) => {
            users.user(&record.user).filter(|user| user.is_active(now)).map(|u| u.subject().clone())
        }
        None => Some(anybody(record)),
    };
    let found = inspect(folder, limits, &subject_of, &SystemRandom, now).map_err(CheckError::Inspection)?;
    if rest.config.is_none() {
        writeln!(out, "no configuration: the default limits count, and everybody is a user")?;
    }
    tell(out, folder, &found)?;
    Ok(found.distrust.is_some() || found.unreadable > 0)
}

/// The records of the live sessions of a store at rest, remembered there as having left.
///
/// # Errors
/// As [`run`]; also when a start would not trust the store.
pub(super) fn export(store: &Path, config: &Path) -> Result<Vec<(StoredId, Record)>, SessionsError> {
    let rest = AtRest::find(Some(store), config)?;
    let exported = export_at_rest(&rest.folder, rest.limits, &SystemRandom, rest.now);
    Ok(exported.map_err(CheckError::Inspection)?)
}

/// A store at rest, and what its sessions are judged by.
struct AtRest {
    config: Option<Config>,
    folder: PathBuf,
    limits: Limits,
    now: Timestamp,
}

impl AtRest {
    fn find(store: Option<&Path>, path: &Path) -> Result<Self, SessionsError> {
        let config = if store.is_some() && !path.exists() { None } else { Some(load(path)?) };
        let folder = match (store, config.as_ref().map(|config| &config.session.store)) {
            (Some(store), _) => store.to_owned(),
            (None, Some(StoreSettings::Sled { path })) => path.clone(),
            (None, _) => return Err(CheckError::NothingStored(path.into()).into()),
        };
        let limits = config.as_ref().map_or(DEFAULT_LIMITS, |config| Limits {
            duration: config.session.duration,
            idle_timeout: config.session.idle_timeout,
        });
        let now = SystemClock::starting_at_least(SledStore::latest_moment(&folder)).now();
        Ok(Self { config, folder, limits, now })
    }
}

fn tell(out: &mut impl Write, folder: &Path, found: &Inspection) -> io::Result<()> {
    let Inspection { live, expired, ended, disowned, unreadable, missing, distrust } = *found;
    let all = live + expired + ended + disowned + unreadable;
    writeln!(out, "{}: {}", folder.display(), sessions(all))?;
    writeln!(out, "  live: {live}")?;
    writeln!(out, "  expired: {expired}")?;
    for (count, what) in [
        (ended, "ended by `sessions revoke --all`"),
        (disowned, "of users who are gone or have a new password"),
        (unreadable, "unreadable to this fluidgate; a start would set them aside"),
        (missing, "missing, although the last commit counted them"),
    ] {
        if count > 0 {
            writeln!(out, "  {what}: {count}")?;
        }
    }
    match distrust {
        None => {
            writeln!(out, "the store agrees with its marker: a start would keep {}", sessions(live))
        }
        Some(reason) => {
            writeln!(out, "the store is not trusted: {reason}")?;
            writeln!(out, "a start would drop everything in it, and end {}", sessions(live))
        }
    }
}

/// A subject that fits any record.
fn anybody(record: &Record) -> Subject {
    let identity = Arc::new(Identity::new(&record.user, None, None, &[]));
    Subject { identity, method: record.method, credential: record.credential }
}
