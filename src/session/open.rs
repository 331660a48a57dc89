//! Start: settings checked, store opened, every record brought into the table, the writer started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::identity::Subject;
use crate::base::secret::Random;
use crate::observe::audit::AuditLog;
use crate::session::coherence::Coherence;
use crate::session::cookie::{CookieCodec, CookieProblem};
use crate::session::counters::{EndReason, add_one};
use crate::session::follow::{Directory, TableFollower};
use crate::session::keys::{KeyRing, SecretProblem};
use crate::session::lifetime::Limits;
use crate::session::manager::SessionManager;
use crate::session::record::Record;
use crate::session::shared::Shared;
use crate::session::store::contained::Contained;
use crate::session::store::{
    Change, Distrust, MemoryStore, RedisAddress, RedisError, RedisStore, SessionStore, SledError, SledStore,
    StoreError,
};
use crate::session::trail::Trail;
use crate::session::{Settings, StoreSettings, writer};

/// Most deletions in one commit at start.
const BATCH: usize = 10_000;

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Live sessions now in the table.
    pub live: usize,
    /// Sessions that had expired meanwhile, and were deleted.
    pub expired: usize,
    /// Sessions whose user is gone or has another credential, and were deleted.
    pub disowned: usize,
    /// Records this build cannot read, set aside.
    pub quarantined: usize,
    /// Why everything in the store was dropped; say it loudly.
    pub dropped: Option<Distrust>,
}

/// Why sessions cannot start. Each text is fit for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A secret must not be used.
    #[error(transparent)]
    Secret(#[from] SecretProblem),
    /// The cookie's options contradict each other.
    #[error(transparent)]
    Cookie(#[from] CookieProblem),
    /// The limits make no sense.
    #[error(
        "session.idle_timeout and session.duration must be a second or more, and idle_timeout no longer than duration"
    )]
    Limits,
    /// The embedded store does not open.
    #[error(transparent)]
    Sled(#[from] SledError),
    /// The Redis server cannot be used.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The store opened but cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread for the writer.
    #[error("cannot start the store's writer thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl SessionManager {
    /// Opens the store, loads every record into the table, starts the writer thread and returns. `subject_of` resolves a
    /// stored user name to what the directory says of that user now; `None` ends the user's sessions.
    ///
    /// # Errors
    /// When settings contradict each other, or the store is locked by another process, damaged, or cannot be used.
    pub fn open(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        subject_of: impl Fn(&str) -> Option<Subject> + Send + Sync + 'static,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        Self::open_audited(settings, clock, random, subject_of, None)
    }

    /// The same, and tells `audit` what becomes of every session (S39).
    ///
    /// # Errors
    /// As [`SessionManager::open`].
    pub fn open_audited(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        subject_of: impl Fn(&str) -> Option<Subject> + Send + Sync + 'static,
        audit: Option<Arc<AuditLog>>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        match &settings.store {
            StoreSettings::Memory => Self::assemble(settings, clock, random, &subject_of, audit, || {
                Ok(Box::new(MemoryStore::default()))
            }),
            StoreSettings::Sled { path } => {
                let random_for_store = Arc::clone(&random);
                Self::assemble(settings, clock, random, &subject_of, audit, || {
                    Ok(Box::new(SledStore::open(path, &*random_for_store)?))
                })
            }
            StoreSettings::Redis { address, grace } => {
                let directory = Arc::new(subject_of);
                Self::join(settings, address, *grace, clock, random, directory, audit)
            }
        }
    }

    /// Takes part in a store that others use too.
    fn join(
        settings: &Settings,
        address: &RedisAddress,
        grace: Duration,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        directory: Directory,
        audit: Option<Arc<AuditLog>>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let (keys, limits) = checked(settings)?;
        let store = RedisStore::open(address, limits, Arc::clone(&clock))?;
        let coherence = Arc::new(Coherence::new(store.link(), grace));
        let shared = Shared::new(settings, store.not_before(), trail(settings, audit, &clock));
        let shared = Arc::new(Shared { coherence: Some(Arc::clone(&coherence)), ..shared });
        store.attach(Arc::new(TableFollower {
            shared: Arc::clone(&shared),
            coherence,
            directory,
            clock: Arc::clone(&clock),
        }))?;
        let quarantined = usize::try_from(shared.counters.quarantined.load(Ordering::Relaxed));
        let quarantined = quarantined.unwrap_or(usize::MAX);
        let report = OpenReport { live: shared.table.len(), quarantined, ..OpenReport::default() };
        let queue = writer::start(Box::new(Contained::new(Box::new(store))), Arc::clone(&shared))?;
        let cookies = CookieCodec::new(keys, &settings.cookie);
        Ok((Arc::new(Self::new(shared, cookies, queue, clock, random)), report))
    }

    /// The same over a store of the caller's own, whatever store the settings name.
    ///
    /// # Errors
    /// As [`SessionManager::open`].
    pub fn open_over(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        subject_of: impl Fn(&str) -> Option<Subject> + Send + Sync + 'static,
        audit: Option<Arc<AuditLog>>,
        store: Box<dyn SessionStore>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        Self::assemble(settings, clock, random, &subject_of, audit, || Ok(store))
    }

    /// The same over any store, without an audit log; `make` is called once the settings are known to be good.
    #[cfg(test)]
    pub(crate) fn open_with(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
        make: impl FnOnce() -> Result<Box<dyn SessionStore>, OpenError>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        Self::assemble(settings, clock, random, subject_of, None, make)
    }

    pub(crate) fn assemble(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
        audit: Option<Arc<AuditLog>>,
        make: impl FnOnce() -> Result<Box<dyn SessionStore>, OpenError>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let (keys, _) = checked(settings)?;
        let mut store = Box::new(Contained::new(make()?));
        let trail = trail(settings, audit, &clock);
        let shared = Arc::new(Shared::new(settings, store.not_before(), trail));
        let report = load(&mut *store, &shared, clock.now(), subject_of)?;
        let queue = writer::start(store, Arc::clone(&shared))?;
        let cookies = CookieCodec::new(keys, &settings.cookie);
        Ok((Arc::new(Self::new(shared, cookies, queue, clock, random)), report))
    }
}

impl Settings {
    /// The latest moment the stored sessions are known to have spoken of, without opening the store; the epoch for none. Start
    /// the clock no earlier than this, and a wall clock that was set back revives nothing (S19).
    pub fn latest_moment(&self) -> Timestamp {
        match &self.store {
            StoreSettings::Memory | StoreSettings::Redis { .. } => Timestamp::default(),
            StoreSettings::Sled { path } => SledStore::latest_moment(path),
        }
    }
}

fn trail(settings: &Settings, audit: Option<Arc<AuditLog>>, clock: &Arc<dyn Clock>) -> Option<Trail> {
    let trail = audit.zip(settings.secrets.first());
    trail.map(|(log, secret)| Trail::new(log, secret, Arc::clone(clock)))
}

fn checked(settings: &Settings) -> Result<(KeyRing, Limits), OpenError> {
    let keys = KeyRing::new(&settings.secrets)?;
    settings.cookie.check()?;
    let limits = Limits { duration: settings.duration, idle_timeout: settings.idle_timeout };
    if limits.idle_timeout.as_secs() == 0 || limits.idle_timeout > limits.duration {
        return Err(OpenError::Limits);
    }
    Ok((keys, limits))
}

/// Brings the store's records into the table, and deletes those that are over.
fn load(
    store: &mut dyn SessionStore,
    shared: &Shared,
    now: Timestamp,
    subject_of: &dyn Fn(&str) -> Option<Subject>,
) -> Result<OpenReport, StoreError> {
    let mut report = OpenReport::default();
    let mut over = Vec::new();
    let loaded = store.load(&mut |id, mut record| {
        // A shorter duration in the settings holds for old sessions too; a longer one promises them nothing.
        record.absolute_at = record.absolute_at.min(shared.limits.absolute_at(record.created_at));
        let session = shared.enter_quietly(id, &record, || subject_of(&record.user));
        if let Some(reason) = disowned(&session.account().subject.load(), &record) {
            shared.end(&session, reason);
            report.disowned += 1;
        } else if shared.over(&session, now).is_some() {
            shared.table.remove(&session);
            report.expired += 1;
        } else {
            report.live += 1;
            return;
        }
        over.push(Change::Delete(id));
    })?;
    if loaded.dropped.is_some() {
        shared.table.all_sessions().iter().for_each(|session| shared.table.remove(session));
        (report, over) = (OpenReport::default(), Vec::new());
    }
    for changes in over.chunks(BATCH) {
        store.commit(changes)?;
    }
    report.quarantined = loaded.quarantined;
    report.dropped = loaded.dropped;
    for _ in 0..loaded.quarantined {
        add_one(&shared.counters.quarantined);
    }
    Ok(report)
}

fn disowned(subject: &Option<Arc<Subject>>, record: &Record) -> Option<EndReason> {
    match subject {
        None => Some(EndReason::UserGone),
        Some(subject) if subject.credential != record.credential => Some(EndReason::CredentialChange),
        Some(_) => None,
    }
}
