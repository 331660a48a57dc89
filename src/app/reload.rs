//! Reading the configuration and the user file again while requests are served (S33, S41, I13).
//!
//! A whole candidate is built first and swapped in at once; what cannot be used is refused with its reasons and changes
//! nothing. Sessions are no part of what is replaced: they go on, and see their users as the new user file has them.

mod certificates;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

pub(super) use self::certificates::Certificates;
use super::metrics::ProcessNumbers;
use crate::base::clock::Timestamp;
use crate::config::{self, Config, LoadError, Severity};
use crate::gateway::{Gateway, GatewayError, Parts};
use crate::login::LoginError;
use crate::session::SessionError;

/// How often the user file is looked at; a change acts within this.
const USERS_POLL: Duration = Duration::from_secs(2);

/// A file that was changed is read once it has stayed the same for this long: whoever writes it in place may be in the middle,
/// and half a file, or an empty one, can be a valid one with fewer users, whose sessions would end for good.
const SETTLED: Duration = Duration::from_millis(250);

/// Why something new was refused. The old one stays in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// The user file cannot be used.
    #[error(transparent)]
    Users(#[from] LoginError),
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The new snapshot could not be built.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There is no session secret; the configuration refuses this too.
    #[error("there is no session secret")]
    NoSecret,
}

/// What a reload works on. The control thread owns it, so reloads never run beside each other.
pub(super) struct Reloader {
    /// What is in force: the start's, with the parts that were replaced since.
    config: Config,
    parts: Parts,
    snapshot: Arc<ArcSwap<Gateway>>,
    /// The user file as it was when it was last read, or refused.
    users_seen: Option<FileMark>,
    /// The log has said that the system would not let it be read.
    users_unread: bool,
    /// Of the listeners with TLS, if there are any.
    certificates: Option<Certificates>,
    /// Users who expired up to here have lost their sessions.
    refreshed_at: Timestamp,
    process: Arc<ProcessNumbers>,
    /// `None` without a configuration file: a SIGHUP then keeps its ordinary meaning, that the terminal is gone.
    hangups: Option<Signal>,
}

/// From here on a SIGHUP is a reload and does not end the process. One that comes before the reloader runs is kept for it.
pub(super) fn hangups(config: &Config, runtime: &Runtime) -> Option<Signal> {
    let _entered = runtime.enter();
    config.source.as_ref().and_then(|_| signal(SignalKind::hangup()).ok())
}

impl Reloader {
    /// Works on the running gateway of `config`. `users_seen` is the mark of the user file from before it was read.
    pub(super) fn new(
        config: Config,
        parts: Parts,
        snapshot: Arc<ArcSwap<Gateway>>,
        users_seen: Option<FileMark>,
        certificates: Option<Certificates>,
        process: Arc<ProcessNumbers>,
        hangups: Option<Signal>,
    ) -> Self {
        let refreshed_at = parts.clock.now();
        Self {
            config,
            parts,
            snapshot,
            users_seen,
            users_unread: false,
            certificates,
            refreshed_at,
            process,
            hangups,
        }
    }

    /// Reloads on SIGHUP, when `asked` (the answer says whether everything could be used), and when the user file or a certificate
    /// has changed.
    pub(super) async fn run(mut self, mut asked: UnboundedReceiver<oneshot::Sender<bool>>) {
        let mut hangups = self.hangups.take();
        let mut polls = tokio::time::interval(USERS_POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(done) = asked.recv() => {
                    let taken = self.everything().await;
                    // Nobody may be waiting for the answer any more.
                    let _ = done.send(taken);
                }
                () = next(&mut hangups) => {
                    self.everything().await;
                }
                _ = polls.tick() => {
                    self.look_at_users().await;
                    if let Some(certificates) = &mut self.certificates {
                        certificates.look(self.parts.clock.now()).await;
                    }
                }
            }
        }
    }

    /// Reads both files again. True when both could be used; what could not is in the log.
    async fn everything(&mut self) -> bool {
        let users = self.users().await;
        let config = self.config();
        if let Err(error) = &config {
            refused(error);
        }
        self.process.config.read(config.is_ok(), self.parts.clock.now());
        users && config.is_ok()
    }

    /// Reads the user file again if it is another one than last time, and lets go of users who have expired meanwhile.
    async fn look_at_users(&mut self) {
        let found = FileMark::of(&self.config.login.users);
        if found != self.users_seen {
            tokio::time::sleep(SETTLED).await;
            // One that is being written is looked at again next time.
            if FileMark::of(&self.config.login.users) == found {
                self.users().await;
            }
        }
        if self.parts.login.expired_between(self.refreshed_at, self.parts.clock.now()) {
            self.refresh_sessions().await;
        }
    }

    async fn users(&mut self) -> bool {
        // Before the reading: a change in between is found by the next look.
        self.users_seen = FileMark::of(&self.config.login.users);
        let read = self.parts.login.reload();
        self.process.users.read(read.is_ok(), self.parts.clock.now());
        if let Err(error) = read {
            let unread = matches!(&error, LoginError::Read { source, .. } if may_pass(source));
            if unread {
                // A user who was taken out must not stay because there was no file descriptor left at that moment.
                self.users_seen = None;
            }
            if is_news(&mut self.users_unread, unread) {
                refused(&error.into());
            }
            return false;
        }
        self.users_unread = false;
        for warning in self.parts.login.warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!(users = self.parts.login.user_count(), "the user file is reloaded");
        self.refresh_sessions().await;
        true
    }

    /// Every session sees its user as they are now, or ends.
    async fn refresh_sessions(&mut self) {
        let (login, now) = (&self.parts.login, self.parts.clock.now());
        self.refreshed_at = now;
        // In memory all sessions have changed when this returns; what is awaited is the disk.
        let durable = self.parts.sessions.refresh_subjects(&|user| login.subject_of(user, now));
        match durable.await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "sessions of users who are gone or changed have ended"),
            Err(error @ SessionError::Closed) => tracing::debug!(%error, "a reload came too late"),
            Err(error) => {
                tracing::error!(%error, "sessions ended by the new user file could not be written yet; they are revoked in memory");
            }
        }
    }

    fn config(&mut self) -> Result<(), ReloadError> {
        let Some(source) = self.config.source.clone() else { return Ok(()) };
        let loaded = config::load(&source)?;
        for warning in loaded.warnings.list() {
            tracing::warn!(line = warning.line, column = warning.column, "{}", warning.what);
        }
        let waiting = needs_restart(&self.config, &loaded.config);
        let mut gateway = loaded.config.gateway;
        // The session cookie's path was checked against the prefix of the start.
        gateway.prefix.clone_from(&self.config.gateway.prefix);
        let secret = self.config.session.secrets.first().ok_or(ReloadError::NoSecret)?;
        let candidate = Gateway::build(&gateway, secret, self.parts.clone())?;
        // The files were judged a moment ago, so a refusal is rare here; the log says it, and the old ones stay.
        if let (Some(certificates), Some(tls)) = (&mut self.certificates, &loaded.config.server.tls) {
            certificates.take(tls, self.parts.clock.now());
            self.config.server.tls = Some(tls.clone());
        }
        self.snapshot.store(Arc::new(candidate));
        self.config.gateway = gateway;
        tracing::info!(routes = self.config.gateway.routes.len(), "the configuration is reloaded");
        if !waiting.is_empty() {
            tracing::warn!(
                settings = waiting.join(", "),
                "changed settings that take effect with a restart only"
            );
        }
        Ok(())
    }
}

/// What differs and cannot change while the gateway runs, as sections or keys of the file. Both are taken apart whole, so that
/// whoever adds a setting has to say here what a reload does with it.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        source: _,
        server,
        session,
        login,
        gateway,
        management,
        admin_socket,
        access_log,
        audit_log,
    } = new;
    let crate::session::Settings { secrets, duration, idle_timeout, store, cookie, cap, max_bad_cookies } =
        session;
    let crate::login::Settings { users, hashing, throttle } = login;
    let differs = [
        // Certificates are replaced, but no listener begins or ceases to speak TLS.
        ("server", old.server != crate::server::Settings { tls: old.server.tls.clone(), ..server.clone() }),
        ("server.prefix", old.gateway.prefix != gateway.prefix),
        ("session.secrets", old.session.secrets != *secrets),
        ("session.duration", old.session.duration != *duration),
        ("session.idle_timeout", old.session.idle_timeout != *idle_timeout),
        ("session.store", old.session.store != *store),
        ("session.cookie", old.session.cookie != *cookie),
        ("session.max_per_user", old.session.cap != *cap),
        ("session.max_bad_cookies", old.session.max_bad_cookies != *max_bad_cookies),
        ("login.password.users", old.login.users != *users),
        ("login.password.hashing", old.login.hashing != *hashing),
        ("login.throttle", old.login.throttle != *throttle),
        ("management", old.management != *management),
        ("management.admin_socket", old.admin_socket != *admin_socket),
        ("access_log", old.access_log != *access_log),
        ("audit_log", old.audit_log != *audit_log),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

async fn next(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => drop(hangups.recv().await),
        None => std::future::pending().await,
    }
}

/// One line per problem, so that each can be found in a log.
fn refused(error: &ReloadError) {
    match error {
        ReloadError::Config(LoadError::Invalid(problems)) => {
            for problem in problems.list().iter().filter(|problem| problem.severity == Severity::Error) {
                let mend = problem.mend.as_deref().unwrap_or_default();
                tracing::error!(line = problem.line, column = problem.column, mend, "{}", problem.what);
            }
            tracing::error!("the new configuration is refused; the old one stays in force");
        }
        ReloadError::Users(LoginError::Content { path, problems }) => {
            for problem in problems {
                tracing::error!(file = %path.display(), "{problem}");
            }
            tracing::error!("the new user file is refused; the old users stay");
        }
        ReloadError::Users(error) => {
            tracing::error!(%error, "the new user file is refused; the old users stay")
        }
        error => tracing::error!(%error, "the new configuration is refused; the old one stays in force"),
    }
}

/// Whether the same file may be read at the next try: the system was to blame, as when no file descriptor is left (X21).
fn may_pass(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
        && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Whether a failure is to be told: that the system would not let a file be read (`unread`) is told once, and `told` keeps that.
fn is_news(told: &mut bool, unread: bool) -> bool {
    let before = std::mem::replace(told, unread);
    !(unread && before)
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileMark {
    /// `None` for a file that is not there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileMark {
    fn from(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_was_changed_or_replaced_has_another_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(FileMark::of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = FileMark::of(&path);
        assert_eq!(FileMark::of(&path), first);
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(FileMark::of(&path), first);
        let second = FileMark::of(&path);
        std::fs::write(&path, "three").unwrap();
        assert_ne!(FileMark::of(&path), second);
    }

    #[test]
    fn what_waits_for_a_restart_is_named_and_a_new_route_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users.toml"), "").unwrap();
        std::fs::write(folder.path().join("secret.key"), "q0vXz9kPjB2mC7tR4wY8sLhN1dGf6aEuI3oZxVbMkJQ")
            .unwrap();
        for file in ["users.toml", "secret.key"] {
            std::fs::set_permissions(folder.path().join(file), std::fs::Permissions::from_mode(0o600))
                .unwrap();
        }
        let config = |server: &str, session: &str, routes: &str| {
            let text = format!(
                "[server]\n{server}\n[session]\nsecrets = [\"file:secret.key\"]\n{session}\n\
                 [login.password]\nusers = \"users.toml\"\n[[routes]]\nupstream = [\"http://127.0.0.1:9\"]\n{routes}"
            );
            config::parse(&text, "gateway.toml", folder.path()).unwrap_or_else(|e| panic!("{e}")).config
        };
        let old = config("", "", "");
        assert_eq!(
            needs_restart(
                &old,
                &config("", "", "[[routes]]\npath = \"/a\"\nupstream = [\"http://127.0.0.1:8\"]")
            ),
            Vec::<&str>::new()
        );
        let new = config("prefix = \"/_door\"\nworkers = 999", "idle_timeout = \"5m\"", "");
        assert_eq!(needs_restart(&old, &new), ["server", "server.prefix", "session.idle_timeout"]);
    }
}
