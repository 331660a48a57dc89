//! What one commit of the writer is to do.

use std::collections::HashSet;
use std::sync::Arc;

use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::shared::Shared;
use crate::session::store::Change;
use crate::session::writer::{Order, Reply};

/// The changes of one commit, and who waits for them.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) touches: u64,
    /// For the audit log, each with its place among the changes.
    pub(super) touched: Vec<(usize, Arc<LiveSession>)>,
    pub(super) creates: Vec<Create>,
    /// Ids that a create of this plan deletes.
    deleted: HashSet<StoredId>,
    /// Logins above the cap. They are answered with the others: had an earlier one failed, there would have been room.
    pub(super) refused: Vec<Reply<Arc<LiveSession>>>,
    pub(super) forgotten: Vec<Reply<()>>,
    pub(super) settled: Vec<Reply<()>>,
}

/// One session to be created.
pub(super) struct Create {
    /// The place of its `Create` among the changes.
    pub(super) at: usize,
    pub(super) order: Order,
    /// Sessions of the same user that end for it.
    pub(super) makes_room: Vec<StoredId>,
}

impl Plan {
    /// Adds a session to be created, with what ends for it; a login above the cap is put to those refused.
    pub(super) fn create(&mut self, order: Order, shared: &Shared) {
        let mut makes_room = Vec::new();
        if let Some(cap) = shared.cap {
            let live = self.live_sessions(&order, shared);
            match cap.room(&live) {
                Some(ids) if ids.is_empty() || !order.brought => makes_room = ids,
                _ => return self.refused.push(order.reply),
            }
        }
        for id in makes_room.iter().chain(&order.ended) {
            self.deleted.insert(*id);
            self.changes.push(Change::Delete(*id));
        }
        let at = self.changes.len();
        self.changes.push(Change::Create(order.id, order.record.clone()));
        self.creates.push(Create { at, order, makes_room });
    }

    /// The sessions that the user of `order` will have when everything planned so far is done, oldest first.
    fn live_sessions(&self, order: &Order, shared: &Shared) -> Vec<StoredId> {
        let (user, now) = (&order.record.user, order.record.created_at);
        let present = shared.table.known_account(user).map(|account| account.sessions()).unwrap_or_default();
        let present =
            present.iter().filter(|session| shared.over(session, now).is_none()).map(|s| s.stored_id());
        let planned = self.creates.iter().filter(|create| create.order.record.user == *user);
        present
            .chain(planned.map(|create| create.order.id))
            .filter(|id| !self.deleted.contains(id) && !order.ended.contains(id))
            .collect()
    }

    pub(super) fn forget(&mut self, ids: Vec<StoredId>, reply: Reply<()>) {
        self.changes.extend(ids.into_iter().map(Change::Delete));
        self.forgotten.push(reply);
    }
}
