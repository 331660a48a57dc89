//! One live session, and the account it belongs to, as requests see them. Small on purpose: a million of them stay in memory.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::base::clock::Timestamp;
use crate::base::identity::{Identity, Subject};
use crate::session::counters::EndReason;
use crate::session::id::StoredId;
use crate::session::lifetime::{Judgement, Moments};
use crate::session::record::Record;

/// A session in the table. Requests share it; only atomics in it change.
pub struct LiveSession {
    id: StoredId,
    account: Arc<Account>,
    created_at: Timestamp,
    absolute_at: Timestamp,
    credential: [u8; 16],
    last_seen_at: AtomicU64,
    /// When the last activity went to the writer, in seconds since creation.
    touched_after: AtomicU32,
    /// 0 while live, else an [`EndReason`].
    ended: AtomicU8,
    /// The connection over which a shared store vouched for it; unused with a store of our own.
    verified: AtomicU16,
}

impl LiveSession {
    /// The session of `record`, which belongs to `account`.
    pub(crate) fn new(id: StoredId, record: &Record, account: Arc<Account>) -> Self {
        Self {
            id,
            account,
            created_at: record.created_at,
            absolute_at: record.absolute_at,
            credential: record.credential,
            last_seen_at: AtomicU64::new(record.last_seen_at.as_millis()),
            touched_after: AtomicU32::new(seconds(record.last_seen_at.since(record.created_at))),
            ended: AtomicU8::new(0),
            verified: AtomicU16::new(0),
        }
    }

    /// The key of the session in table and store; safe to print, opens nothing.
    pub fn stored_id(&self) -> StoredId {
        self.id
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.account.user
    }

    /// The user as the directory knows them now; `None` once they are gone.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.account.subject.load().as_ref().map(|subject| Arc::clone(&subject.identity))
    }

    /// When the session began.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The last request that counted as activity.
    pub fn last_seen_at(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen_at.load(Ordering::Relaxed))
    }

    /// When it ends without further activity: the nearer of both limits.
    pub fn expires_at(&self) -> Timestamp {
        self.moments().expires_at(self.idle_timeout())
    }

    /// The absolute limit, which nothing moves.
    pub fn absolute_at(&self) -> Timestamp {
        self.absolute_at
    }

    /// Whether the session may still be used at `now`: not ended, and within both limits. Cheap enough to ask every second
    /// for every open stream.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended().is_none() && self.judge(now) == Judgement::Live
    }

    /// Why the session was ended; `None` while it was not. A session past a limit counts once somebody has noticed.
    pub fn ended(&self) -> Option<EndReason> {
        let code = self.ended.load(Ordering::Acquire);
        EndReason::ALL.into_iter().find(|reason| *reason as u8 == code)
    }

    pub(crate) fn id_ref(&self) -> &StoredId {
        &self.id
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(crate) fn credential(&self) -> &[u8; 16] {
        &self.credential
    }

    pub(crate) fn judge(&self, now: Timestamp) -> Judgement {
        self.moments().judge(self.idle_timeout(), now)
    }

    /// Ends the session for every later look at it; true for the one caller that did.
    pub(crate) fn end(&self, reason: EndReason) -> bool {
        self.ended.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn verified(&self) -> u16 {
        self.verified.load(Ordering::Acquire)
    }

    pub(crate) fn set_verified(&self, epoch: u16) {
        self.verified.store(epoch, Ordering::Release);
    }

    /// Activity that another gateway has written.
    pub(crate) fn saw_activity(&self, moment: Timestamp) {
        self.last_seen_at.fetch_max(moment.as_millis(), Ordering::Relaxed);
    }

    /// Marks activity at `now`. True for one caller per `touch_period`: that one hands the session to the writer.
    pub(crate) fn mark_activity(&self, now: Timestamp, touch_period: Duration) -> bool {
        if now.as_millis() > self.last_seen_at.load(Ordering::Relaxed) {
            self.last_seen_at.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
        let age = seconds(now.since(self.created_at));
        let touched = self.touched_after.load(Ordering::Relaxed);
        age.saturating_sub(touched) >= seconds(touch_period).max(1)
            && self.touched_after.compare_exchange(touched, age, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn moments(&self) -> Moments {
        Moments { last_seen_at: self.last_seen_at(), absolute_at: self.absolute_at }
    }

    fn idle_timeout(&self) -> Duration {
        self.account.idle_timeout
    }
}

impl fmt::Debug for LiveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSession")
            .field("id", &self.id)
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

/// Everything the sessions of one user share, so that a reload changes the user once and not per session.
pub(crate) struct Account {
    pub(crate) user: Box<str>,
    /// What the directory says of the user now; `None` once they are gone.
    pub(crate) subject: ArcSwapOption<Subject>,
    /// The same for all; it stands here and not in each session to keep those small.
    idle_timeout: Duration,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    live: Vec<Arc<LiveSession>>,
    /// The account has left the table; whoever still holds it must ask the table for the new one.
    retired: bool,
}

impl Account {
    pub(crate) fn new(user: &str, subject: Option<Subject>, idle_timeout: Duration) -> Self {
        Self {
            user: user.into(),
            subject: ArcSwapOption::from_pointee(subject),
            idle_timeout,
            sessions: Mutex::new(Sessions::default()),
        }
    }

    /// Adds a session; false when the account has been retired.
    pub(crate) fn add(&self, session: &Arc<LiveSession>) -> bool {
        let mut sessions = self.lock();
        if !sessions.retired {
            sessions.live.push(Arc::clone(session));
        }
        !sessions.retired
    }

    pub(crate) fn remove(&self, id: &StoredId) {
        let mut sessions = self.lock();
        if let Some(at) = sessions.live.iter().position(|session| session.id == *id) {
            sessions.live.swap_remove(at);
            // Give memory back after a crowd has left.
            if sessions.live.len() < sessions.live.capacity() / 4 {
                sessions.live.shrink_to_fit();
            }
        }
    }

    /// Takes every ended session out in one pass; one by one the cost would grow with the square of their number.
    pub(crate) fn remove_ended(&self) {
        let mut sessions = self.lock();
        sessions.live.retain(|session| session.ended().is_none());
        if sessions.live.len() < sessions.live.capacity() / 4 {
            sessions.live.shrink_to_fit();
        }
    }

    /// The sessions at this moment, oldest first.
    pub(crate) fn sessions(&self) -> Vec<Arc<LiveSession>> {
        let mut live = self.lock().live.clone();
        live.sort_by_key(|session| (session.created_at, session.id));
        live
    }

    /// Retires the account if it has no sessions; true when it did.
    pub(crate) fn retire(&self) -> bool {
        let mut sessions = self.lock();
        sessions.retired |= sessions.live.is_empty();
        sessions.retired
    }

    /// Asks the directory and keeps what it says; gives the credential. One at a time: a login that asked before a reload must
    /// not store after it what the user was before.
    pub(crate) fn refresh(&self, subject_of: &dyn Fn(&str) -> Option<Subject>) -> Option<[u8; 16]> {
        let _one_at_a_time = self.lock();
        let subject = subject_of(&self.user);
        let credential = subject.as_ref().map(|subject| subject.credential);
        self.subject.store(subject.map(Arc::new));
        credential
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // Nothing inside the critical sections can leave the list half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
