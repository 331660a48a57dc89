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
    last_seen_at: AtomicU64,
    /// When the last activity went to the writer, in seconds since creation.
    touched_after: AtomicU32,
    /// 0 while live, else an [`EndReason`].
    ended: AtomicU8,
    /// Which of the account's credentials proved it.
    credential: u8,
    /// The connection over which a shared store vouched for it; unused with a store of our own.
    verified: AtomicU16,
}

impl LiveSession {
    /// The session of `record`, which belongs to `account`.
    pub(crate) fn new(id: StoredId, record: &Record, account: Arc<Account>) -> Self {
        let credential = account.intern(&record.credential);
        Self {
            id,
            account,
            created_at: record.created_at,
            absolute_at: record.absolute_at,
            credential,
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

#[cfg(test)]
impl PartialEq for LiveSession {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
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
    /// What proved them: as a rule one for all, because another password ends the sessions of the last one.
    credentials: Vec<[u8; 16]>,
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

    /// The number of `credential` here; [`NO_CREDENTIAL`] when there are too many at once. Whoever makes sessions of one account
    /// makes them one after the other.
    fn intern(&self, credential: &[u8; 16]) -> u8 {
        let mut sessions = self.lock();
        let Sessions { live, credentials, .. } = &mut *sessions;
        let in_use = |number: usize| live.iter().any(|session| usize::from(session.credential) == number);
        let number = match credentials.iter().position(|known| known == credential) {
            Some(known) => known,
            None if credentials.len() < usize::from(NO_CREDENTIAL) => credentials.len(),
            // The first that no session goes by any more.
            None => (0..credentials.len()).find(|number| !in_use(*number)).unwrap_or(usize::MAX),
        };
        if number == credentials.len() {
            credentials.push(*credential);
        } else if let Some(slot) = credentials.get_mut(number) {
            *slot = *credential;
        }
        u8::try_from(number).unwrap_or(NO_CREDENTIAL)
    }

    /// The sessions that another credential than `credential` proved, oldest first; without one, all of them.
    pub(crate) fn sessions_of_others(&self, credential: Option<&[u8; 16]>) -> Vec<Arc<LiveSession>> {
        let sessions = self.lock();
        let kept = sessions.credentials.iter().position(|known| Some(known) == credential);
        let others = sessions.live.iter().filter(|session| Some(usize::from(session.credential)) != kept);
        oldest_first(others.cloned().collect())
    }

    /// The sessions at this moment, oldest first.
    pub(crate) fn sessions(&self) -> Vec<Arc<LiveSession>> {
        oldest_first(self.lock().live.clone())
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

/// The number of a credential that could not be kept. It is equal to none, so its session ends when the user is next looked at.
const NO_CREDENTIAL: u8 = u8::MAX;

fn oldest_first(mut sessions: Vec<Arc<LiveSession>>) -> Vec<Arc<LiveSession>> {
    sessions.sort_by_key(|session| (session.created_at, session.id));
    sessions
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::LoginMethod;
    use crate::session::record::Origin;

    fn record(credential: [u8; 16]) -> Record {
        let (created_at, absolute_at) = (Timestamp::from_secs(1), Timestamp::from_secs(100));
        let (user, method, origin) = ("ada".into(), LoginMethod::Password, Origin::default());
        Record { user, method, credential, created_at, last_seen_at: created_at, absolute_at, origin }
    }

    fn session(account: &Arc<Account>, n: u16) -> Arc<LiveSession> {
        let (mut id, mut credential) = ([0; 32], [0; 16]);
        id[..2].copy_from_slice(&n.to_le_bytes());
        credential[..2].copy_from_slice(&n.to_le_bytes());
        let record = record(credential);
        let session = Arc::new(LiveSession::new(StoredId::from_bytes(id), &record, Arc::clone(account)));
        assert!(account.add(&session));
        session
    }

    fn credential(n: u16) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        bytes
    }

    #[test]
    fn a_session_is_small() {
        // With the two counts of its Arc and the allocator's word it fills 96 bytes.
        assert!(size_of::<LiveSession>() + 16 <= 88, "{} bytes", size_of::<LiveSession>());
    }

    #[test]
    fn any_number_of_credentials_one_after_the_other_are_told_apart() {
        let account = Arc::new(Account::new("ada", None, Duration::from_secs(10)));
        for n in 0..1000 {
            let (old, new) = (session(&account, n), session(&account, n + 1));
            assert_eq!(account.sessions_of_others(Some(&credential(n + 1))), [Arc::clone(&old)]);
            assert_eq!(account.sessions_of_others(Some(&credential(9999))).len(), 2);
            account.remove(old.id_ref());
            account.remove(new.id_ref());
        }
        assert!(account.lock().credentials.len() <= usize::from(NO_CREDENTIAL));
    }

    #[test]
    fn a_session_whose_credential_could_not_be_kept_counts_as_proved_by_another_one() {
        let account = Arc::new(Account::new("ada", None, Duration::from_secs(10)));
        let sessions: Vec<_> = (0..300).map(|n| session(&account, n)).collect();
        assert_eq!(account.sessions_of_others(Some(&credential(7))).len(), 299);
        assert_eq!(account.sessions_of_others(Some(&credential(299))).len(), 300);
        assert_eq!(account.sessions_of_others(None).len(), sessions.len());
    }
}
