//! The session manager: `create`, `manage`, `destroy`, `get`, `delete`, `clean`, the seed's six verbs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::sync::oneshot;

use crate::base::clock::{Clock, Timestamp};
use crate::base::identity::Subject;
use crate::base::secret::{Random, RandomError};
use crate::session::cookie::{CookieCodec, NotGenuine, Presented};
use crate::session::counters::{Counters, EndReason, Rejection, add_one};
use crate::session::id::{StoredId, Token};
use crate::session::live::LiveSession;
use crate::session::record::{MAX_USER, Origin, Record};
use crate::session::shared::Shared;
use crate::session::writer::{Command, Order, Queue, Reply};
use crate::web::cookie;

/// Most cookies of our name that one request gets checked (S23).
const MAX_TRIES: usize = 8;
/// Sessions the clean-up looks at before it lets others run.
const CLEAN_BATCH: usize = 1000;

/// Whether a request keeps its session from idling out (S16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Counts,
    /// It does not: polling, health checks.
    Ignored,
}

/// What [`SessionManager::manage`] found.
#[derive(Debug, Default)]
pub struct Managed {
    /// The live session of the request; `None` for an anonymous one.
    pub session: Option<Arc<LiveSession>>,
    /// What the response must carry: a removal, or the cookie under the newest key. At most one (S24).
    pub set_cookie: Option<HeaderValue>,
    /// Why a presented cookie opened nothing; `None` when none was presented or one was good.
    pub rejected: Option<Rejection>,
}

/// A fresh session and the cookie that carries it.
#[derive(Debug)]
pub struct Created {
    /// The `Set-Cookie` value.
    pub set_cookie: HeaderValue,
    /// The session.
    pub session: Arc<LiveSession>,
}

/// Why something could not be done to a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store cannot be written: answer 503 with Retry-After.
    #[error("the session store cannot be written now")]
    StoreUnavailable,
    /// The session is over in memory, and will be deleted from the store once that works again.
    #[error("the session has ended, but the store has not acknowledged it yet")]
    NotDurable,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The id exists already: the generator is broken.
    #[error("a fresh session id was taken already")]
    IdTaken,
    /// The user's name is empty or too long for a record.
    #[error("a user name must have 1 to {MAX_USER} bytes")]
    UserName,
    /// The manager has been closed.
    #[error("sessions are closed: the program is ending")]
    Closed,
}

/// What one clean-up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanReport {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Sessions whose moment had come.
    pub examined: usize,
    /// Sessions removed.
    pub removed: usize,
}

/// A session with what only the store knows of it, for the list a user sees.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The session.
    pub session: Arc<LiveSession>,
    /// Where its login came from.
    pub origin: Origin,
}

/// Whether the store does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why it does not; `None` while it does.
    pub fault: Option<String>,
    /// Endings that it has not acknowledged yet.
    pub owed: usize,
}

/// Sessions of one gateway. Shared by all workers as an `Arc`.
pub struct SessionManager {
    shared: Arc<Shared>,
    cookies: CookieCodec,
    queue: Queue,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    touch_period: Duration,
    last_clean: arc_swap::ArcSwapOption<CleanReport>,
}

impl SessionManager {
    pub(crate) fn new(
        shared: Arc<Shared>,
        cookies: CookieCodec,
        queue: Queue,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let touch_period = shared.limits.touch_period();
        let last_clean = arc_swap::ArcSwapOption::const_empty();
        Self { shared, cookies, queue, clock, random, touch_period, last_clean }
    }

    /// Per-request upkeep, on the hot path: finds our cookie, checks its MAC, looks the session up in memory, judges both
    /// limits at `now`, marks activity. It never waits, and never reads the store.
    pub fn manage(&self, headers: &HeaderMap, secure: bool, activity: Activity, now: Timestamp) -> Managed {
        let mut found: Option<(Presented, Arc<LiveSession>)> = None;
        let mut rejected: Option<Rejection> = None;
        for value in cookie::values(headers, self.cookies.name(secure).as_bytes()).take(MAX_TRIES) {
            match (self.try_cookie(value, now), &found) {
                (Ok(fresh), None) => found = Some(fresh),
                (Ok((_, session)), Some((_, first))) if session.stored_id() == first.stored_id() => {}
                (Ok(_), Some(_)) => return self.reject(Rejection::Duplicate, secure),
                (Err(rejection), _) => rejected = rejected.max(Some(rejection)),
            }
        }
        let Some((presented, session)) = found else {
            return rejected.map_or_else(Managed::default, |rejection| self.reject(rejection, secure));
        };
        if activity == Activity::Counts && session.mark_activity(now, self.touch_period) {
            // Only a closed manager has no writer; memory knows of the activity all the same.
            let _ = self.queue.touches.send(Arc::clone(&session));
        }
        let set_cookie = presented.older_key.then(|| {
            add_one(&self.shared.counters.reissued);
            self.cookies.issue(&presented.token, session.absolute_at().since(now), secure)
        });
        Managed { session: Some(session), set_cookie, rejected: None }
    }

    /// Begins a session for `subject`; resolves once it is durable. `ended`, the session the login was made with, ends in the
    /// same write (S27). Always a fresh token: an id a client brought is never adopted.
    ///
    /// # Errors
    /// When the store cannot be written or the generator fails; `ended` then lives on.
    pub async fn create(
        &self,
        subject: &Subject,
        ended: Option<&Arc<LiveSession>>,
        origin: Origin,
        secure: bool,
        now: Timestamp,
    ) -> Result<Created, SessionError> {
        let user = subject.identity.user();
        if user.is_empty() || user.len() > MAX_USER {
            return Err(SessionError::UserName);
        }
        let token = Token::random(&*self.random)?;
        // A session is never born before the moment that ended everything.
        let created_at = now.max(self.shared.not_before() + Duration::from_millis(1));
        let absolute_at = self.shared.limits.absolute_at(created_at);
        let record = Record {
            user: user.into(),
            method: subject.method,
            credential: subject.credential,
            created_at,
            last_seen_at: created_at,
            absolute_at,
            origin,
        };
        let (id, subject, ended) = (token.stored_id(), subject.clone(), ended.cloned());
        let session =
            self.ask(|reply| Command::Create(Box::new(Order { id, record, subject, ended, reply }))).await?;
        Ok(Created { set_cookie: self.cookies.issue(&token, absolute_at.since(now), secure), session })
    }

    /// Ends the caller's own session: at once for every worker, and resolves once that is durable. Repeating it is fine.
    ///
    /// # Errors
    /// [`SessionError::NotDurable`] when the store could not be written: the session is over all the same, and the record
    /// will be deleted when the store works again.
    pub async fn destroy(&self, session: &Arc<LiveSession>, _now: Timestamp) -> Result<(), SessionError> {
        self.shared.end(session, EndReason::Logout);
        self.forget(vec![session.stored_id()]).await
    }

    /// Ends the session `id`, on behalf of its user or an administrator; false when there is none.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub async fn delete(
        &self,
        id: &StoredId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<bool, SessionError> {
        let Some(session) = self.get(id, now) else { return Ok(false) };
        self.shared.end(&session, reason);
        self.forget(vec![*id]).await.map(|()| true)
    }

    /// The live session `id`; never one past a limit.
    pub fn get(&self, id: &StoredId, now: Timestamp) -> Option<Arc<LiveSession>> {
        self.shared.table.find(id).filter(|session| self.shared.over(session, now).is_none())
    }

    /// Removes what has expired, in bounded batches.
    ///
    /// # Errors
    /// When the store could not be written: everything due has ended in memory all the same.
    pub async fn clean(&self, now: Timestamp) -> Result<CleanReport, SessionError> {
        let (mut examined, mut removed, mut outcome) = (0, 0, Ok(()));
        loop {
            let due = self.shared.table.take_due(now, CLEAN_BATCH);
            examined += due.len();
            let last = due.len() < CLEAN_BATCH;
            let ids = self.end_what_is_over(due, now);
            removed += ids.len();
            if !ids.is_empty() {
                outcome = outcome.and(self.forget(ids).await);
            }
            if last {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.shared.table.prune_accounts();
        let report = CleanReport { started_at: now, took: self.clock.now().since(now), examined, removed };
        self.last_clean.store(Some(Arc::new(report)));
        outcome.map(|()| report)
    }

    /// What the last clean-up did; `None` before the first.
    pub fn last_clean(&self) -> Option<CleanReport> {
        self.last_clean.load().as_deref().copied()
    }

    /// The live sessions of `user`, oldest first.
    pub fn sessions_of(&self, user: &str, now: Timestamp) -> Vec<Arc<LiveSession>> {
        let sessions =
            self.shared.table.known_account(user).map(|account| account.sessions()).unwrap_or_default();
        sessions.into_iter().filter(|session| self.shared.over(session, now).is_none()).collect()
    }

    /// The same with what only the store knows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn details_of(&self, user: &str, now: Timestamp) -> Result<Vec<SessionDetails>, SessionError> {
        let sessions = self.sessions_of(user, now);
        let ids = sessions.iter().map(|session| session.stored_id()).collect();
        let mut records = self.ask(|reply| Command::Read(ids, reply)).await?.into_iter().peekable();
        let details = sessions.into_iter().map(|session| {
            // The writer answers in the order it was asked, leaving out what it did not find.
            let record = records.next_if(|(id, _)| *id == session.stored_id());
            SessionDetails { session, origin: record.map(|(_, record)| record.origin).unwrap_or_default() }
        });
        Ok(details.collect())
    }

    /// All live sessions, in no order. For administration: the cost grows with all of them.
    pub fn all_sessions(&self, now: Timestamp) -> Vec<Arc<LiveSession>> {
        let sessions = self.shared.table.all_sessions();
        sessions.into_iter().filter(|session| self.shared.over(session, now).is_none()).collect()
    }

    /// Ends every session that began at or before `now`, without deleting record by record (S35).
    ///
    /// # Errors
    /// When that could not be made durable; in memory everything has ended all the same.
    pub async fn end_all(&self, now: Timestamp) -> Result<usize, SessionError> {
        self.shared.not_before.fetch_max(now.as_millis(), Ordering::AcqRel);
        let ended = self.shared.table.all_sessions();
        let count = ended
            .iter()
            .filter(|session| session.created_at() <= now)
            .filter(|s| s.ended().is_none())
            .count();
        let outcome = self.ask(|reply| Command::NotBefore(now, reply)).await;
        // Open streams ask the session itself; the records go with the next clean-ups.
        for session in ended.into_iter().filter(|session| session.created_at() <= now) {
            self.shared.over(&session, now);
        }
        outcome.map(|()| count)
    }

    /// After a reload of the user directory: every session sees its user as they are now; sessions of users who are gone, or
    /// whose credential is another than the one that opened the session, end (S33). Memory has changed when this returns; the
    /// future resolves, with the number of ended sessions, once that is durable.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub fn refresh_subjects(
        &self,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
    ) -> impl Future<Output = Result<usize, SessionError>> + Send + use<'_> {
        let accounts = self.shared.table.all_accounts();
        let ids = accounts
            .iter()
            .flat_map(|account| self.refresh(&account.user, subject_of(&account.user)))
            .collect();
        self.forget_all(ids)
    }

    /// The same for one user. A login calls it after `create` with what the directory says by then, which closes the gap
    /// between checking a password and a reload that changed it.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub async fn refresh_subject(&self, user: &str, subject: Option<Subject>) -> Result<usize, SessionError> {
        let ids = self.refresh(user, subject);
        self.forget_all(ids).await
    }

    /// The `Set-Cookie` value that removes the cookie, with every attribute it was set with (S21).
    pub fn removal_cookie(&self, secure: bool) -> HeaderValue {
        self.cookies.removal(secure)
    }

    /// Takes our cookie, in either spelling, out of what goes upstream; every other cookie's bytes stay (S25).
    pub fn withhold_cookie(&self, headers: &mut HeaderMap) {
        cookie::withhold(headers, |name| self.cookies.is_name(name));
    }

    /// Whether an upstream's `Set-Cookie` would set our cookie, the prefix in any case (S24).
    pub fn is_our_set_cookie(&self, value: &HeaderValue) -> bool {
        self.cookies.is_like_name(cookie::set_cookie_name(value.as_bytes()))
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How many sessions are in the table, those included that have expired and wait for the clean-up.
    pub fn live(&self) -> usize {
        self.shared.table.len()
    }

    /// Whether the store does its work.
    pub fn health(&self) -> StoreHealth {
        StoreHealth {
            fault: self.shared.fault.load().as_deref().cloned(),
            owed: self.shared.owed.load(Ordering::Relaxed),
        }
    }

    /// Writes every activity that so far only memory knows.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settle(&self) -> Result<(), SessionError> {
        self.ask(Command::Settle).await
    }

    /// Writes everything, closes the store, frees its lock. Afterwards every write answers [`SessionError::Closed`].
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.ask(Command::Close).await;
    }

    fn try_cookie(&self, value: &[u8], now: Timestamp) -> Result<(Presented, Arc<LiveSession>), Rejection> {
        let presented = self.cookies.read(value).map_err(|not_genuine| match not_genuine {
            NotGenuine::Malformed => Rejection::Malformed,
            NotGenuine::BadMac => Rejection::BadMac,
        })?;
        let session = self.shared.table.find(&presented.token.stored_id()).ok_or(Rejection::Unknown)?;
        match self.shared.over(&session, now) {
            None => Ok((presented, session)),
            Some(EndReason::Idle | EndReason::Absolute) => Err(Rejection::Expired),
            Some(_) => Err(Rejection::Unknown),
        }
    }

    fn reject(&self, rejection: Rejection, secure: bool) -> Managed {
        self.shared.counters.count_rejected(rejection);
        Managed { session: None, set_cookie: Some(self.cookies.removal(secure)), rejected: Some(rejection) }
    }

    /// Ends those of `due` that are over, files the others anew, and gives the ids of the ended ones.
    fn end_what_is_over(&self, due: Vec<Arc<LiveSession>>, now: Timestamp) -> Vec<StoredId> {
        let mut ids = Vec::new();
        for session in due {
            if self.shared.over(&session, now).is_none() {
                self.shared.table.file(&session);
            } else if self.shared.table.find(&session.stored_id()).is_some() {
                // Those not in the table any more were deleted when they ended.
                self.shared.table.remove(&session);
                ids.push(session.stored_id());
            }
        }
        ids
    }

    fn refresh(&self, user: &str, subject: Option<Subject>) -> Vec<StoredId> {
        let Some(account) = self.shared.table.known_account(user) else { return Vec::new() };
        let (credential, reason) = match &subject {
            Some(subject) => (Some(subject.credential), EndReason::CredentialChange),
            None => (None, EndReason::UserGone),
        };
        account.subject.store(subject.map(Arc::new));
        let sessions = account.sessions();
        let ended = sessions.iter().filter(|session| Some(session.credential()) != credential.as_ref());
        ended.filter(|session| self.shared.end(session, reason)).map(|session| session.stored_id()).collect()
    }

    async fn forget_all(&self, ids: Vec<StoredId>) -> Result<usize, SessionError> {
        let count = ids.len();
        if count > 0 {
            self.forget(ids).await?;
        }
        Ok(count)
    }

    async fn forget(&self, ids: Vec<StoredId>) -> Result<(), SessionError> {
        self.ask(|reply| Command::Forget(ids, reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SessionError> {
        let (reply, answer) = oneshot::channel();
        self.queue.commands.send(command(reply)).map_err(|_| SessionError::Closed)?;
        answer.await.map_err(|_| SessionError::Closed)?
    }
}
