//! The in-process table: the whole truth about live sessions. Loaded at start, changed only after the store has acknowledged,
//! except that an ending takes effect here first.
//!
//! Three views of the same sessions: by id (read by every request, never blocks), by user, and by the minute in which they may
//! expire. None of them is stored, so a crash cannot leave one pointing at what another lost (S6). A session's place in the
//! expiry view is only its earliest possible end; the sweeper looks again when that moment comes and files it anew. A session
//! that ends before keeps eight bytes there until then: the start of its id, which then leads nowhere.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::session::id::StoredId;
use crate::session::index::Index;
use crate::session::live::{Account, LiveSession};

pub(crate) struct Table {
    sessions: Index,
    accounts: papaya::HashMap<Box<str>, Arc<Account>>,
    /// The starts of ids by the minute of the session's earliest possible end.
    due: Mutex<BTreeMap<u64, Vec<u64>>>,
    idle_timeout: Duration,
}

impl Table {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Self {
            sessions: Index::new(),
            accounts: papaya::HashMap::default(),
            due: Mutex::default(),
            idle_timeout,
        }
    }

    pub(crate) fn find(&self, id: &StoredId) -> Option<Arc<LiveSession>> {
        self.sessions.find(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The user's account; made from `subject` when there is none yet.
    pub(crate) fn account(&self, user: &str, subject: impl FnOnce() -> Option<Subject>) -> Arc<Account> {
        let accounts = self.accounts.pin();
        match accounts.get(user) {
            Some(account) => Arc::clone(account),
            None => {
                let fresh = Arc::new(Account::new(user, subject(), self.idle_timeout));
                Arc::clone(accounts.get_or_insert(user.into(), fresh))
            }
        }
    }

    pub(crate) fn known_account(&self, user: &str) -> Option<Arc<Account>> {
        self.accounts.pin().get(user).map(Arc::clone)
    }

    pub(crate) fn all_accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.pin().values().map(Arc::clone).collect()
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<LiveSession>> {
        self.sessions.all()
    }

    /// Enters a session into all three views; false when its account was retired meanwhile, and then nothing has changed.
    pub(crate) fn insert(&self, session: &Arc<LiveSession>) -> bool {
        if !session.account().add(session) {
            return false;
        }
        self.file(session);
        self.sessions.insert(session);
        true
    }

    /// Takes an ended session out. It leaves the expiry view when its minute comes.
    pub(crate) fn remove(&self, session: &LiveSession) {
        self.sessions.remove(session.id_ref());
        session.account().remove(&session.stored_id());
    }

    /// The same for many ended sessions, at a cost that grows with the sessions of their users.
    pub(crate) fn remove_all(&self, ended: &[Arc<LiveSession>]) {
        let mut accounts = HashSet::new();
        for session in ended {
            self.sessions.remove(session.id_ref());
            if accounts.insert(Arc::as_ptr(session.account())) {
                session.account().remove_ended();
            }
        }
    }

    /// Takes up to `limit` places out of the expiry view whose minute has come: how many, and the sessions that are in the table
    /// still. Those that turn out to live on must be filed again.
    pub(crate) fn take_due(&self, now: Timestamp, limit: usize) -> (usize, Vec<Arc<LiveSession>>) {
        let taken = self.take_starts(now, limit);
        (taken.len(), taken.into_iter().flat_map(|start| self.sessions.starting_with(start)).collect())
    }

    fn take_starts(&self, now: Timestamp, limit: usize) -> Vec<u64> {
        let mut due = self.lock_due();
        let mut taken = Vec::new();
        while let Some(mut minute) = due.first_entry() {
            if *minute.key() > minute_of(now) || taken.len() >= limit {
                break;
            }
            let rest = minute.get().len().saturating_sub(limit - taken.len());
            taken.extend(minute.get_mut().drain(rest..));
            if minute.get().is_empty() {
                minute.remove();
            }
        }
        taken
    }

    /// Files a session under the minute of its earliest possible end.
    pub(crate) fn file(&self, session: &Arc<LiveSession>) {
        // One minute on, so that a session is due when it has expired and not up to a minute before.
        let minute = minute_of(session.expires_at()).saturating_add(1);
        self.lock_due().entry(minute).or_default().push(session.id_ref().start());
    }

    /// Forgets accounts without sessions.
    pub(crate) fn prune_accounts(&self) {
        let accounts = self.accounts.pin();
        accounts.retain(|_, account| !account.retire());
    }

    fn lock_due(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<u64>>> {
        // Only pushes and drains happen under the lock; neither can leave the map half changed.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute_of(moment: Timestamp) -> u64 {
    moment.as_secs() / 60
}
