//! What a shared store says, brought into the table.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::identity::Subject;
use crate::session::coherence::{Coherence, UNVERIFIED};
use crate::session::counters::{EndReason, add_one};
use crate::session::id::StoredId;
use crate::session::lifetime::Judgement;
use crate::session::record::Record;
use crate::session::shared::Shared;
use crate::session::store::redis::{Follower, Found};

/// Looks a user up in the directory as it is now.
pub(crate) type Directory = Arc<dyn Fn(&str) -> Option<Subject> + Send + Sync>;

/// Keeps the table of one gateway in step with a shared store.
pub(crate) struct TableFollower {
    pub(crate) shared: Arc<Shared>,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) directory: Directory,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Follower for TableFollower {
    fn epoch(&self) -> u16 {
        self.coherence.epoch()
    }

    fn connected(&self) {
        self.coherence.connected();
    }

    fn filled(&self) {
        self.coherence.fault.store(None);
    }

    fn lost(&self, cause: &str, silence: Duration) {
        self.coherence.lost(self.clock.now().before(silence), cause);
        self.settle_round();
    }

    fn changed(&self, id: &StoredId) {
        self.coherence.forget_absent(id);
        if let Some(session) = self.shared.table.find(id) {
            session.set_verified(UNVERIFIED);
        }
    }

    fn all_changed(&self) {
        self.coherence.drop_all();
        self.settle_round();
    }

    fn apply(&self, epoch: u16, id: StoredId, found: Found) {
        add_one(&self.shared.counters.store_reads);
        match found {
            Found::Record(record) => self.present(epoch, id, *record),
            Found::Unreadable => {
                add_one(&self.shared.counters.quarantined);
                self.gone(id);
            }
            Found::Nothing => self.gone(id),
        }
    }

    fn not_before(&self, moment: Timestamp) {
        let moment = moment.as_millis();
        if self.shared.not_before.fetch_max(moment, Ordering::AcqRel) < moment {
            // Open streams ask the session itself.
            let now = self.clock.now();
            for session in self.shared.table.all_sessions() {
                let _ = self.shared.over(&session, now);
            }
        }
    }

    fn unseen(&self) -> Vec<StoredId> {
        let epoch = self.coherence.epoch();
        let sessions = self.shared.table.all_sessions();
        let unseen = sessions.iter().filter(|session| session.verified() != epoch);
        unseen.map(|session| session.stored_id()).collect()
    }
}

impl TableFollower {
    /// Once in 65 535 losses: no session may carry the number of a connection long gone and pass for verified.
    fn settle_round(&self) {
        if self.coherence.came_round() {
            self.shared.table.all_sessions().iter().for_each(|session| session.set_verified(UNVERIFIED));
        }
    }

    fn present(&self, epoch: u16, id: StoredId, mut record: Record) {
        let limits = &self.shared.limits;
        record.absolute_at = record.absolute_at.min(limits.absolute_at(record.created_at));
        let alone = self.coherence.enter_alone();
        if let Some(session) = self.shared.table.find(&id) {
            // Activity on another gateway; one that has ended here stays so.
            session.saw_activity(record.last_seen_at);
            session.set_verified(epoch);
            return;
        }
        let now = self.clock.now();
        let judgement = record.moments().judge(limits.idle_timeout, now);
        let over = judgement != Judgement::Live || record.created_at <= self.shared.not_before();
        let subject = (self.directory)(&record.user);
        let disowns =
            |subject: &Option<Subject>| subject.as_ref().is_none_or(|s| s.credential != record.credential);
        let disowned = disowns(&subject);
        if over || disowned || self.coherence.is_buried(&id) {
            self.coherence.note_absent(id, now);
            return;
        }
        let session = self.shared.enter_quietly(id, &record, || subject.clone());
        drop(alone);
        session.set_verified(epoch);
        self.coherence.forget_absent(&id);
        // It may have been ended here meanwhile: whoever comes second sees the other.
        if self.coherence.is_buried(&id) {
            self.shared.end_here(&session, EndReason::Revoked);
        }
        // So may a reload have looked at the user's sessions before this one was among them.
        if disowns(&(self.directory)(&record.user)) {
            self.shared.end_here(&session, EndReason::CredentialChange);
        }
    }

    /// The store does not have it (any more): ended by somebody else, or its time on the server ran out.
    fn gone(&self, id: StoredId) {
        let now = self.clock.now();
        self.coherence.note_absent(id, now);
        if let Some(session) = self.shared.table.find(&id) {
            let _ = self.shared.over(&session, now);
            self.shared.end_here(&session, self.coherence.why_gone(&id));
        }
    }
}
