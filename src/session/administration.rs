//! The manager's verbs for an administrator: lists of everybody's sessions, export and import.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::manager::SessionManager;
use crate::session::outcome::{SessionDetails, SessionError};
use crate::session::record::Record;
use crate::session::writer::{Command, Order};

/// Most records of an import in one group: logins get their turn in between.
const BATCH: usize = 500;

/// What came of the sessions of an import. They add up to what was brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Live now.
    pub imported: usize,
    /// Here already; left as they were.
    pub present: usize,
    /// Past one of their limits.
    pub expired: usize,
    /// Ended here since they left or came: by a logout, a revocation, or the moment that ended everything.
    pub ended: usize,
    /// Their user is gone, or has another credential.
    pub disowned: usize,
    /// Begun in the future, as this clock sees it.
    pub future: usize,
    /// More than the cap lets their user have. An import ends nobody to make room; of those it brings, the newest come first.
    pub at_cap: usize,
}

impl SessionManager {
    /// `sessions` with what only the store knows of them. While the store cannot be read, the origins are empty.
    pub async fn describe(&self, sessions: Vec<Arc<LiveSession>>) -> Vec<SessionDetails> {
        let ids = sessions.iter().map(|session| session.stored_id()).collect();
        let records = self.ask(|reply| Command::Read(ids, reply)).await.unwrap_or_default();
        SessionDetails::pair(sessions, records)
    }

    /// The records of all sessions live at `now`, as of one moment, in the order of their ids. They are remembered as having
    /// left: no import brings one of them back here once it has ended. Logins wait while the store is read.
    ///
    /// # Errors
    /// When the store or its ledger cannot be read, or the ledger not be written.
    pub async fn export(&self, now: Timestamp) -> Result<Vec<(StoredId, Record)>, SessionError> {
        self.ask(|reply| Command::Export(now, reply)).await
    }

    /// Takes in what another store exported, each session only if it is live at `now`, belongs to a user whose credential is
    /// still the one that opened it, is not here, and never was here before. Durable on return.
    ///
    /// # Errors
    /// When the store cannot remember what came in, or fails; sessions written before the failure stay, the others cannot come
    /// in any more.
    pub async fn import(
        &self,
        records: Vec<(StoredId, Record)>,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
        now: Timestamp,
    ) -> Result<ImportReport, SessionError> {
        let mut report = ImportReport::default();
        let mut wanted = self.admissible(records, subject_of, now, &mut report);
        wanted.sort_by_key(|(_, record, _)| std::cmp::Reverse(record.created_at));
        let entering = wanted.iter().map(|(id, record, _)| (*id, record.absolute_at)).collect();
        let known = self.ask(|reply| Command::Exchange(entering, now, reply)).await?;
        let known = known.ok_or(SessionError::NoImport)?;
        let users: HashSet<_> = wanted.iter().map(|(_, record, _)| record.user.clone()).collect();
        let mut fresh = wanted.into_iter().filter(|(id, ..)| !known.contains(id)).peekable();
        while fresh.peek().is_some() {
            let answers: Vec<_> = fresh.by_ref().take(BATCH).map(|entry| self.order(entry)).collect();
            for answer in answers {
                match answer?.await.map_err(|_| SessionError::Closed)? {
                    Ok(_) => report.imported += 1,
                    Err(SessionError::IdTaken) => report.present += 1,
                    Err(SessionError::AtCap) => report.at_cap += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        report.ended += known.len();
        // The directory may have changed meanwhile, and the reload looked at the sessions before these were among them.
        let ended: Vec<_> = users.iter().flat_map(|user| self.refresh(user, subject_of)).collect();
        self.forget_all(ended).await?;
        Ok(report)
    }

    /// Those of `records` that may come in as far as memory knows, each once, with its user; the others are counted.
    fn admissible(
        &self,
        records: Vec<(StoredId, Record)>,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
        now: Timestamp,
        report: &mut ImportReport,
    ) -> Vec<(StoredId, Record, Subject)> {
        let limits = &self.shared.limits;
        let (mut seen, mut wanted) = (HashSet::new(), Vec::new());
        for (id, mut record) in records {
            // A time of activity that has not come yet would move the clock's floor for good.
            record.last_seen_at = record.last_seen_at.min(now);
            // As at start: a shorter duration in the settings holds, a longer one promises nothing.
            record.absolute_at = record.absolute_at.min(limits.absolute_at(record.created_at));
            let subject = subject_of(&record.user).filter(|subject| subject.credential == record.credential);
            if !seen.insert(id) || self.shared.table.find(&id).is_some() {
                report.present += 1;
            } else if record.created_at > now {
                report.future += 1;
            } else if record.created_at <= self.shared.not_before() {
                report.ended += 1;
            } else if now >= record.absolute_at || now >= record.last_seen_at + limits.idle_timeout {
                report.expired += 1;
            } else if let Some(subject) = subject {
                wanted.push((id, record, subject));
            } else {
                report.disowned += 1;
            }
        }
        // Where a cap ends the oldest, the youngest stay.
        wanted.sort_by_key(|(id, record, _)| (record.created_at, *id));
        wanted
    }

    fn order(&self, (id, record, subject): (StoredId, Record, Subject)) -> Result<Answer, SessionError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Create(Box::new(Order {
            id,
            record,
            subject,
            ended: Vec::new(),
            brought: true,
            reply,
        })))?;
        Ok(answer)
    }
}

type Answer = oneshot::Receiver<Result<Arc<LiveSession>, SessionError>>;
