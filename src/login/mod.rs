//! Layer 2: proves who someone is; knows nothing of cookies or sessions. Imports `base`, `web`, `observe`.
//!
//! One attempt passes bounds, throttle, hash pool and verdict, in this order. Unknown, disabled, expired and known users
//! cost one hash each and get the same answer (X14).

pub mod directory;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod metrics;
pub mod names;
pub mod password;
mod pool;
mod throttle;

use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use self::directory::{Problem, UserDirectory};
use self::metrics::Attempts;
use self::password::{MAX_PASSWORD, PasswordError, StoredHash};
use self::pool::{Overflow, Pool};
use self::throttle::Throttle;
use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::base::secret::{Random, RandomError, Secret, SystemRandom};

/// Checked settings of the login layer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local user file.
    pub users: PathBuf,
    /// Cost and bounds of password hashing.
    pub hashing: HashingSettings,
    /// Limits on attempts.
    pub throttle: ThrottleSettings,
}

/// Cost and bounds of password hashing. Memory in use is at most `threads` × `memory_kib`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingSettings {
    /// Memory of one Argon2id run in KiB. Default 19456 (the OWASP minimum with two passes).
    pub memory_kib: u32,
    /// Passes. Default 2.
    pub iterations: u32,
    /// Threads of the low-priority pool. Default 1.
    pub threads: usize,
    /// Logins that may wait for a thread; one more is answered 503. Default 64.
    pub queue: usize,
}

impl Default for HashingSettings {
    fn default() -> Self {
        Self { memory_kib: 19456, iterations: 2, threads: 1, queue: 64 }
    }
}

/// Limits on password attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures one account may have in `window` from one source; ten times as many from all sources. Default 10.
    pub per_account: u32,
    /// Failures one source address (IPv6: its /64) may have in `window`. Default 30.
    pub per_source: u32,
    /// The window. Default 5 min.
    pub window: Duration,
}

/// Password login against the local user file. Shared by all workers.
pub struct Login {
    users: PathBuf,
    hashing: HashingSettings,
    state: ArcSwap<State>,
    decoy: Arc<StoredHash>,
    pool: Pool,
    throttle: Mutex<Throttle>,
    attempts: Attempts,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The password was right.
    Grant(Subject),
    /// Unknown, disabled, expired or wrong password; the answer must not tell which (X14).
    Refuse,
    /// Too many attempts (429). Nothing was hashed.
    Throttled {
        /// When it is worth trying again; at least a second.
        retry_after: Duration,
    },
    /// The hash pool is full (503). Nothing was hashed, and the attempt does not count.
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Outside the bounds of a name or a password (400). Nothing was hashed.
    Invalid,
}

/// Why the login layer cannot start, or the user file not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The user file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anyone on the machine may write the file, so it proves nothing.
    #[error("{path}: everyone may write this file; mend it with `chmod 600`", path = path.display())]
    Writable {
        /// The user file.
        path: PathBuf,
    },
    /// The content is wrong.
    #[error("{}", listed(path, problems))]
    Content {
        /// The user file.
        path: PathBuf,
        /// Every mistake with its place, in the order of the file.
        problems: Vec<Problem>,
    },
    /// The cost of new hashes is outside Argon2's limits.
    #[error("login.password: {0}")]
    Hashing(#[from] PasswordError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No thread for the hash pool.
    #[error("cannot start the hash threads: {0}")]
    Threads(std::io::Error),
}

impl Login {
    /// Reads the user file and starts the hash pool.
    ///
    /// # Errors
    /// When the user file cannot be used, or the system gives no thread or no random bytes.
    pub fn open(settings: &Settings) -> Result<Arc<Login>, LoginError> {
        let mut secret = [0; 32];
        SystemRandom.fill(&mut secret)?;
        Ok(Arc::new(Login {
            users: settings.users.clone(),
            hashing: settings.hashing,
            state: ArcSwap::from_pointee(State::read(&settings.users, settings.hashing)?),
            decoy: Arc::new(StoredHash::decoy(settings.hashing, &SystemRandom)?),
            pool: Pool::start(settings.hashing).map_err(LoginError::Threads)?,
            throttle: Mutex::new(Throttle::new(settings.throttle, secret)),
            attempts: Attempts::default(),
        }))
    }

    /// One attempt to log in as `username`, compared exactly: at most 256 bytes, not empty, no NUL; `password` at most
    /// 1 KiB, not empty, no NUL. `source` is the client's address after trusted proxies, `None` when there is none.
    pub async fn attempt(
        &self,
        username: &str,
        password: Secret,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Outcome {
        let outcome = self.judge(username, password, source, now).await;
        self.attempts.count(&outcome);
        outcome
    }

    async fn judge(
        &self,
        username: &str,
        password: Secret,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Outcome {
        if !in_bounds(username.as_bytes(), names::MAX_NAME) || !in_bounds(password.expose(), MAX_PASSWORD) {
            return Outcome::Invalid;
        }
        let ticket = match self.throttle(|t| t.begin(username, source, now)) {
            Ok(ticket) => ticket,
            Err(retry_after) => return Outcome::Throttled { retry_after },
        };
        let hash = self.state.load().directory.user(username).map(|user| Arc::clone(user.hash()));
        let checked = hash.as_ref().unwrap_or(&self.decoy);
        match self.pool.verify(Arc::clone(checked), password).await {
            Err(Overflow) => {
                self.throttle(|t| t.cancel(&ticket));
                Outcome::Busy { retry_after: BUSY }
            }
            Ok(false) => Outcome::Refuse,
            Ok(true) => match self.confirm(username, checked, now) {
                Some(subject) => {
                    self.throttle(|t| t.succeed(&ticket, now));
                    Outcome::Grant(subject)
                }
                None => Outcome::Refuse,
            },
        }
    }

    /// The present directory state of `user`; `None` when gone, disabled or expired at `now`. Takes no lock.
    pub fn subject_of(&self, user: &str, now: Timestamp) -> Option<Subject> {
        let state = self.state.load();
        state.directory.user(user).filter(|u| u.is_active(now)).map(|u| u.subject().clone())
    }

    /// Reads the user file again; on an error the old directory stays. Reads a file: not for a worker's thread.
    ///
    /// # Errors
    /// When the user file cannot be used.
    pub fn reload(&self) -> Result<(), LoginError> {
        self.state.store(Arc::new(State::read(&self.users, self.hashing)?));
        Ok(())
    }

    /// Whether a user of the file expired after `since` and at or before `until`, so that their sessions have to end.
    pub fn expired_between(&self, since: Timestamp, until: Timestamp) -> bool {
        self.state.load().directory.expiries().any(|end| since < end && end <= until)
    }

    /// What is odd but not wrong about the user file, one line each; for the log at start and after a reload.
    pub fn warnings(&self) -> Vec<String> {
        self.state.load().warnings.clone()
    }

    /// The number of users in the file, disabled ones too.
    pub fn user_count(&self) -> usize {
        self.state.load().directory.len()
    }

    /// How many hashes have been run since the start; for metrics.
    pub fn hash_runs(&self) -> u64 {
        self.pool.runs()
    }

    /// The verdict after a match, on the directory as it is now: a reload during the hash may have ended the user.
    fn confirm(&self, username: &str, checked: &StoredHash, now: Timestamp) -> Option<Subject> {
        self.subject_of(username, now).filter(|subject| subject.credential == checked.credential())
    }

    /// A map operation under the lock, never held across a wait. Only password attempts come here, no other request.
    fn throttle<T>(&self, act: impl FnOnce(&mut Throttle) -> T) -> T {
        act(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("users", &self.users).finish_non_exhaustive()
    }
}

/// What a full pool asks for: a queue of 64 at 20 ms each is worked off in about that time.
const BUSY: Duration = Duration::from_secs(1);
/// The largest user file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// One reading of the user file.
struct State {
    directory: UserDirectory,
    warnings: Vec<String>,
}

/// Reads the user file, without starting anything.
///
/// # Errors
/// When it cannot be used.
pub fn read_users(path: &Path) -> Result<UserDirectory, LoginError> {
    read_file(path).map(|(_, directory)| directory)
}

/// The user file and its mode.
fn read_file(path: &Path) -> Result<(u32, UserDirectory), LoginError> {
    let refuse = |source| LoginError::Read { path: path.to_owned(), source };
    // Opening a pipe would wait for somebody to write into it, and a reload with it.
    if !std::fs::metadata(path).map_err(refuse)?.is_file() {
        return Err(refuse(std::io::Error::other("not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(refuse)?;
    let mode = file.metadata().map_err(refuse)?.permissions().mode();
    // Refused: whoever can write the file can be anyone. Only warned of: reading it yields hashes, and a group that
    // may read is a common way to give a service its file.
    if mode & 0o002 != 0 {
        return Err(LoginError::Writable { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE.saturating_add(1)).read_to_string(&mut text).map_err(refuse)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(refuse(std::io::Error::other("larger than 64 MiB")));
    }
    let directory = UserDirectory::parse(&text)
        .map_err(|problems| LoginError::Content { path: path.to_owned(), problems })?;
    Ok((mode, directory))
}

impl State {
    fn read(path: &Path, hashing: HashingSettings) -> Result<Self, LoginError> {
        let (mode, directory) = read_file(path)?;
        let mut warnings = Vec::new();
        let shown = path.display();
        if mode & 0o024 != 0 {
            warnings.push(format!(
                "{shown}: mode {:03o} lets others at the hashes; mend it with `chmod 600`",
                mode & 0o777
            ));
        }
        for (name, user) in directory.users().filter(|(_, user)| !user.hash().costs_as(hashing)) {
            let cost = user.hash();
            warnings.push(format!(
                "{shown}: the hash of user `{name}` has another cost than new ones ({cost:?}), so the time of an \
                 answer tells that the name exists; mend it with `fluidgate users set-password`"
            ));
        }
        Ok(Self { directory, warnings })
    }
}

fn in_bounds(bytes: &[u8], max: usize) -> bool {
    !bytes.is_empty() && bytes.len() <= max && !bytes.contains(&0)
}

fn listed(path: &Path, problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{}:{p}", path.display())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
