//! The manager's verbs that no request waits for: the clean-up, lists, reloads, and ending everything at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::session::counters::EndReason;
use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::manager::SessionManager;
use crate::session::outcome::{CleanReport, SessionError};
use crate::session::writer::Command;

/// Sessions the clean-up looks at before it lets others run: half a millisecond of work.
const CLEAN_BATCH: usize = 32;
/// How long it rests after each batch. On a machine with nothing to spare a request then meets it in less than one case of a hundred;
/// 500 sessions a second is still 43 million a day, and an expired session is dead whether it was removed or not.
const CLEAN_REST: Duration = Duration::from_millis(60);

impl SessionManager {
    /// Removes what has expired, in bounded batches.
    ///
    /// # Errors
    /// When the store could not be written: everything due has ended in memory all the same.
    pub async fn clean(&self, now: Timestamp) -> Result<CleanReport, SessionError> {
        let (mut examined, mut removed, mut outcome) = (0, 0, Ok(()));
        loop {
            let (taken, due) = self.shared.table.take_due(now, CLEAN_BATCH);
            examined += due.len();
            let last = taken < CLEAN_BATCH;
            let ids = self.end_what_is_over(due, now);
            removed += ids.len();
            // A shared store forgets by itself: another gateway may know of activity that we do not.
            if !ids.is_empty() && self.shared.coherence.is_none() {
                outcome = outcome.and(self.forget(ids).await);
            }
            if last {
                break;
            }
            tokio::time::sleep(CLEAN_REST).await;
        }
        self.shared.table.prune_accounts();
        if let Some(coherence) = &self.shared.coherence {
            coherence.tidy(now);
        }
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

    /// All live sessions, in no order. For administration: the cost grows with all of them.
    pub fn all_sessions(&self, now: Timestamp) -> Vec<Arc<LiveSession>> {
        let sessions = self.shared.table.all_sessions();
        sessions.into_iter().filter(|session| self.shared.over(session, now).is_none()).collect()
    }

    /// Ends the sessions of `user`, but for `except`, in one write, and says how many. The cost grows with this user's sessions.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub async fn end_of_user(
        &self,
        user: &str,
        except: Option<&StoredId>,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<usize, SessionError> {
        let mut sessions = self.sessions_of(user, now);
        sessions.retain(|session| Some(&session.stored_id()) != except);
        self.forget_all(self.shared.end_each(sessions, reason)).await
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
        let ids = accounts.iter().flat_map(|account| self.refresh(&account.user, subject_of)).collect();
        self.forget_all(ids)
    }

    /// The same for one user. A login calls it after `create`, which closes the gap between checking a password and a reload
    /// that changed it.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub async fn refresh_subject(
        &self,
        user: &str,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
    ) -> Result<usize, SessionError> {
        let ids = self.refresh(user, subject_of);
        self.forget_all(ids).await
    }

    /// Ends those of `due` that are over, files the others anew, and gives the ids of the ended ones.
    fn end_what_is_over(&self, due: Vec<Arc<LiveSession>>, now: Timestamp) -> Vec<StoredId> {
        let mut over = Vec::new();
        for session in due {
            if self.shared.over(&session, now).is_none() {
                self.shared.table.file(&session);
            } else {
                over.push(session);
            }
        }
        self.shared.table.remove_all(&over);
        over.iter().map(|session| session.stored_id()).collect()
    }

    pub(super) fn refresh(&self, user: &str, subject_of: &dyn Fn(&str) -> Option<Subject>) -> Vec<StoredId> {
        let Some(account) = self.shared.table.known_account(user) else { return Vec::new() };
        let (credential, reason) = match account.refresh(subject_of) {
            Some(credential) => (Some(credential), EndReason::CredentialChange),
            None => (None, EndReason::UserGone),
        };
        self.shared.end_each(account.sessions_of_others(credential.as_ref()), reason)
    }

    pub(super) async fn forget_all(&self, ids: Vec<StoredId>) -> Result<usize, SessionError> {
        let count = ids.len();
        if count > 0 {
            self.forget(ids).await?;
        }
        Ok(count)
    }
}
