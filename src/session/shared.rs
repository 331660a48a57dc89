//! What the request side and the writer both hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::session::Settings;
use crate::session::cap::Cap;
use crate::session::coherence::Coherence;
use crate::session::counters::{Counters, EndReason, add_one};
use crate::session::id::StoredId;
use crate::session::lifetime::{Judgement, Limits};
use crate::session::live::LiveSession;
use crate::session::record::Record;
use crate::session::sources::Sources;
use crate::session::table::Table;
use crate::session::trail::Trail;

pub(crate) struct Shared {
    pub(crate) table: Table,
    pub(crate) counters: Counters,
    pub(crate) limits: Limits,
    pub(crate) cap: Option<Cap>,
    /// Who sends bad cookies.
    pub(crate) sources: Sources,
    /// The way to the audit log; `None` while that is off.
    pub(crate) trail: Option<Trail>,
    /// Endings that the store has not acknowledged yet.
    pub(crate) owed: AtomicUsize,
    /// Why the store does not work; `None` while it does.
    pub(crate) fault: ArcSwapOption<String>,
    /// Sessions created at or before this moment (milliseconds) are over.
    pub(crate) not_before: AtomicU64,
    /// Present when others write to the store too.
    pub(crate) coherence: Option<Arc<Coherence>>,
}

impl Shared {
    pub(crate) fn new(settings: &Settings, not_before: Timestamp, trail: Option<Trail>) -> Self {
        let limits = Limits { duration: settings.duration, idle_timeout: settings.idle_timeout };
        Self {
            table: Table::new(limits.idle_timeout),
            counters: Counters::default(),
            limits,
            cap: settings.cap,
            sources: Sources::new(settings.max_bad_cookies),
            trail,
            owed: AtomicUsize::new(0),
            fault: ArcSwapOption::const_empty(),
            not_before: AtomicU64::new(not_before.as_millis()),
            coherence: None,
        }
    }

    /// Enters a session whose record the store has acknowledged.
    pub(crate) fn enter(&self, id: StoredId, record: &Record, subject: &Subject) -> Arc<LiveSession> {
        let alone = self.coherence.as_ref().map(|coherence| coherence.enter_alone());
        // The report of what was just written may have come before.
        let known = alone.as_ref().and_then(|_| self.table.find(&id));
        let session = known.unwrap_or_else(|| self.enter_quietly(id, record, || Some(subject.clone())));
        drop(alone);
        add_one(&self.counters.created);
        if let Some(trail) = &self.trail {
            trail.created(&id, record);
        }
        session
    }

    /// The same for a session loaded at start.
    pub(crate) fn enter_quietly(
        &self,
        id: StoredId,
        record: &Record,
        subject: impl Fn() -> Option<Subject>,
    ) -> Arc<LiveSession> {
        loop {
            let account = self.table.account(&record.user, &subject);
            // A user who was gone and is back; a present one is only changed by a reload.
            if account.subject.load().is_none() {
                account.subject.store(subject().map(Arc::new));
            }
            let session = Arc::new(LiveSession::new(id, record, account));
            // An account can be retired between the two steps; the table then makes a new one.
            if self.table.insert(&session) {
                return session;
            }
        }
    }

    /// Ends a session in memory: dead for the very next request on every worker. True for the one caller that did.
    pub(crate) fn end(&self, session: &LiveSession, reason: EndReason) -> bool {
        if let Some(coherence) = &self.coherence {
            // Before it leaves the table: an answer on its way must not bring it back.
            coherence.bury(session.stored_id());
        }
        self.end_here(session, reason)
    }

    /// The same for a session that the store does not hold any more.
    pub(crate) fn end_here(&self, session: &LiveSession, reason: EndReason) -> bool {
        let first = session.end(reason);
        if first {
            self.note_ended(session, reason);
        }
        self.table.remove(session);
        first
    }

    /// Ends many sessions in memory at once; gives the ids of those that were live until then.
    pub(crate) fn end_each(&self, mut sessions: Vec<Arc<LiveSession>>, reason: EndReason) -> Vec<StoredId> {
        sessions.retain(|session| session.end(reason));
        for session in &sessions {
            self.note_ended(session, reason);
        }
        self.table.remove_all(&sessions);
        sessions.iter().map(|session| session.stored_id()).collect()
    }

    /// Why `session` is over at `now`; `None` for a live one. What is found past a limit stays over, whatever a request still
    /// in flight marks afterwards.
    pub(crate) fn over(&self, session: &LiveSession, now: Timestamp) -> Option<EndReason> {
        if let Some(reason) = session.ended() {
            return Some(reason);
        }
        let reason = match session.judge(now) {
            Judgement::Idle => EndReason::Idle,
            Judgement::Absolute => EndReason::Absolute,
            Judgement::Live if session.created_at() <= self.not_before() => EndReason::NotBefore,
            Judgement::Live => return None,
        };
        if session.end(reason) {
            self.note_ended(session, reason);
        }
        Some(reason)
    }

    /// Whether the table's word on `session` may be taken at `now`; always, when nobody else writes to the store.
    pub(crate) fn trusts(&self, session: &LiveSession, now: Timestamp) -> bool {
        self.coherence.as_ref().is_none_or(|coherence| coherence.trusts(session.verified(), now))
    }

    /// Whether it is settled that there is no session `id`; always, when the table is the whole truth.
    pub(crate) fn knows_absent(&self, id: &StoredId, now: Timestamp) -> bool {
        let settled = |coherence: &Arc<Coherence>| coherence.is_buried(id) || coherence.is_absent(id, now);
        self.coherence.as_ref().is_none_or(settled)
    }

    fn note_ended(&self, session: &LiveSession, reason: EndReason) {
        self.counters.count_ended(reason);
        if let Some(trail) = &self.trail {
            trail.ended(session, reason);
        }
    }

    pub(crate) fn not_before(&self) -> Timestamp {
        Timestamp::from_millis(self.not_before.load(Ordering::Acquire))
    }
}
