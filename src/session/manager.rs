//! The session manager: `create`, `manage`, `destroy`, `get`, `delete`, `clean`, the seed's six verbs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::sync::oneshot;

use crate::base::clock::{Clock, Timestamp};
use crate::base::identity::Subject;
use crate::base::secret::Random;
use crate::session::cookie::{CookieCodec, NotGenuine, Presented};
use crate::session::counters::{Counters, EndReason, Rejection, add_one};
use crate::session::id::{StoredId, Token};
use crate::session::live::LiveSession;
use crate::session::outcome::{Activity, Caller, CleanReport, Created, Managed, SessionError, StoreHealth};
use crate::session::record::{MAX_USER, Origin, Record};
use crate::session::shared::Shared;
use crate::session::writer::{Command, Order, Queue, Reply};
use crate::web::cookie;

/// Most cookies of our name that one request gets checked (S23).
pub(super) const MAX_TRIES: usize = 8;

/// Sessions of one gateway. Shared by all workers as an `Arc`.
pub struct SessionManager {
    pub(super) shared: Arc<Shared>,
    pub(super) cookies: CookieCodec,
    queue: Queue,
    pub(super) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    touch_period: Duration,
    pub(super) last_clean: arc_swap::ArcSwapOption<CleanReport>,
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
    /// limits at `now`, marks activity. It never waits, and never reads the store. Only a request with a bad cookie takes a
    /// lock, which only such requests take (S40). A bare `bool` is a caller of whom only `secure` is known.
    pub fn manage(
        &self,
        headers: &HeaderMap,
        caller: impl Into<Caller>,
        activity: Activity,
        now: Timestamp,
    ) -> Managed {
        let caller = caller.into();
        let secure = caller.secure;
        let mut found: Option<(Presented, Arc<LiveSession>)> = None;
        let mut rejected: Option<Refused> = None;
        let mut unresolved = None;
        for value in cookie::values(headers, self.cookies.name(secure).as_bytes()).take(MAX_TRIES) {
            match (self.try_cookie(value, now), &found) {
                (Ok(fresh), None) => found = Some(fresh),
                (Ok((_, session)), Some((_, first))) if session.stored_id() == first.stored_id() => {}
                (Ok((_, session)), Some(_)) => {
                    return self.reject(&Refused::of(Rejection::Duplicate, &session), caller, now);
                }
                (Err(Unusable::Unresolved(id)), _) => unresolved = Some(id),
                (Err(Unusable::Refused(refused)), _) => {
                    rejected = Some(match rejected {
                        Some(before) => before.and(refused),
                        None => refused,
                    });
                }
            }
        }
        if unresolved.is_some() {
            return Managed { unresolved, ..Managed::default() };
        }
        let Some((presented, session)) = found else {
            return rejected.map_or_else(Managed::default, |refused| self.reject(&refused, caller, now));
        };
        self.mark(&session, activity, now);
        let set_cookie = presented.older_key.then(|| {
            add_one(&self.shared.counters.reissued);
            if let Some(trail) = &self.shared.trail {
                trail.renewed(&session);
            }
            self.cookies.issue(&presented.token, session.absolute_at().since(now), secure)
        });
        Managed { session: Some(session), set_cookie, ..Managed::default() }
    }

    /// The second step of a request whose cookie only a shared store can judge: asks it, once for all who present the same
    /// cookie, and looks again. Other requests are never brought here.
    pub async fn resolve(
        &self,
        mut managed: Managed,
        headers: &HeaderMap,
        caller: impl Into<Caller>,
        activity: Activity,
        now: Timestamp,
    ) -> Managed {
        let caller = caller.into();
        let Some(coherence) = &self.shared.coherence else { return managed };
        for _ in 0..MAX_TRIES {
            let Some(id) = managed.unresolved else { break };
            if !coherence.link.fetch(id).await {
                break;
            }
            managed = self.manage(headers, caller, activity, now);
        }
        managed
    }

    /// Another request of a session that [`SessionManager::manage`] found before: judges and marks it alike, and answers whether
    /// it is still live.
    pub fn revisit(&self, session: &Arc<LiveSession>, activity: Activity, now: Timestamp) -> bool {
        let live = self.judge(session, now).is_none() && self.shared.trusts(session, now);
        if live {
            self.mark(session, activity, now);
        }
        live
    }

    /// How many cookies of our name the request carries, of any content.
    pub fn cookies_of_ours(&self, headers: &HeaderMap, secure: bool) -> usize {
        cookie::values(headers, self.cookies.name(secure).as_bytes()).count()
    }

    /// Why `session` is over at `now`. One that this request found past a limit is reported to the writer, once.
    fn judge(&self, session: &Arc<LiveSession>, now: Timestamp) -> Option<EndReason> {
        let known = session.ended().is_some();
        let over = self.shared.over(session, now);
        if over.is_some() && !known {
            // Only a closed manager has no writer.
            let _ = self.queue.touches.send(Arc::clone(session));
        }
        over
    }

    fn mark(&self, session: &Arc<LiveSession>, activity: Activity, now: Timestamp) {
        if activity == Activity::Counts && session.mark_activity(now, self.touch_period) {
            // Only a closed manager has no writer; memory knows of the activity all the same.
            let _ = self.queue.touches.send(Arc::clone(session));
        }
    }

    /// Begins a session for `subject`; resolves once it is durable. `ended`, the sessions the login was made with, end in the
    /// same write (S27). Always a fresh token: an id a client brought is never adopted.
    ///
    /// # Errors
    /// When the store cannot be written, the generator fails, or the user has as many sessions as the cap allows; `ended` then
    /// live on.
    pub async fn create(
        &self,
        subject: &Subject,
        ended: impl IntoIterator<Item = StoredId>,
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
        let (id, subject, ended) = (token.stored_id(), subject.clone(), ended.into_iter().collect());
        let session = self
            .ask(|reply| {
                Command::Create(Box::new(Order { id, record, subject, ended, brought: false, reply }))
            })
            .await?;
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
        let incoherent = self.shared.coherence.as_ref().map(|coherence| coherence.fault.load_full());
        let incoherent = incoherent.flatten();
        StoreHealth {
            fault: self.shared.fault.load().as_deref().or(incoherent.as_deref()).cloned(),
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

    pub(super) fn try_cookie(
        &self,
        value: &[u8],
        now: Timestamp,
    ) -> Result<(Presented, Arc<LiveSession>), Unusable> {
        let presented = self.cookies.read(value).map_err(|not_genuine| match not_genuine {
            NotGenuine::Malformed => Refused::new(Rejection::Malformed, None),
            NotGenuine::BadMac => Refused::new(Rejection::BadMac, None),
        })?;
        let id = presented.token.stored_id();
        let Some(session) = self.shared.table.find(&id) else {
            let settled = self.shared.knows_absent(&id, now);
            let unknown = || Unusable::Refused(Refused::new(Rejection::Unknown, Some(id)));
            return Err(if settled { unknown() } else { Unusable::Unresolved(id) });
        };
        match self.judge(&session, now) {
            None if self.shared.trusts(&session, now) => Ok((presented, session)),
            None => Err(Unusable::Unresolved(id)),
            Some(EndReason::Idle | EndReason::Absolute) => {
                Err(Refused::of(Rejection::Expired, &session).into())
            }
            Some(_) => Err(Refused::of(Rejection::Unknown, &session).into()),
        }
    }

    fn reject(&self, refused: &Refused, caller: Caller, now: Timestamp) -> Managed {
        let rejection = refused.why;
        self.shared.counters.count_rejected(rejection);
        if let Some(trail) = &self.shared.trail {
            trail.rejected(rejection, refused.id.as_ref(), caller.address);
        }
        let retry_after = refused.bad.then(|| self.shared.sources.count(caller.address, now)).flatten();
        if retry_after.is_some() {
            add_one(&self.shared.counters.throttled);
        }
        let set_cookie = Some(self.cookies.removal(caller.secure));
        Managed { set_cookie, rejected: Some(rejection), retry_after, ..Managed::default() }
    }

    pub(super) async fn forget(&self, ids: Vec<StoredId>) -> Result<(), SessionError> {
        self.ask(|reply| Command::Forget(ids, reply)).await
    }

    pub(super) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SessionError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| SessionError::Closed)?
    }

    pub(super) fn send(&self, command: Command) -> Result<(), SessionError> {
        self.queue.commands.send(command).map_err(|_| SessionError::Closed)
    }
}

/// A cookie that opens nothing, and the session it speaks of when it is genuine.
pub(super) struct Refused {
    why: Rejection,
    id: Option<StoredId>,
    /// It counts against its source. An expired or a doubled cookie does not: honest browsers have those.
    bad: bool,
}

impl Refused {
    fn new(why: Rejection, id: Option<StoredId>) -> Self {
        let bad = matches!(why, Rejection::Malformed | Rejection::BadMac | Rejection::Unknown);
        Self { why, id, bad }
    }

    fn of(why: Rejection, session: &LiveSession) -> Self {
        Self::new(why, Some(session.stored_id()))
    }

    /// Two of one request: the reason that says more, and bad if either is, so that an expired cookie cannot cover forged ones.
    fn and(self, other: Self) -> Self {
        let bad = self.bad || other.bad;
        let telling = if self.why >= other.why { self } else { other };
        Self { bad, ..telling }
    }
}

/// Why a cookie opens nothing now.
pub(super) enum Unusable {
    Refused(Refused),
    /// The table cannot tell.
    Unresolved(StoredId),
}

impl From<Refused> for Unusable {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
