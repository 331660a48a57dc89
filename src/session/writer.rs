//! The writer: one plain thread that owns the store. It drains its queue, makes one commit of what it found, and answers
//! everybody in it; while it waits for the disk the next group gathers by itself, and when idle it adds no delay (S7, S38).
//!
//! ```text
//! writing --a commit fails--> failing: creates refused, endings owed --reopened and reconciled--> writing
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::base::clock::Timestamp;
use crate::base::identity::Subject;
use crate::session::counters::{EndReason, add_one};
use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::outcome::SessionError;
use crate::session::plan::{Create, Plan};
use crate::session::record::Record;
use crate::session::shared::Shared;
use crate::session::store::{Change, Loaded, Outcome, SessionStore, StoreError};

/// Most commands in one commit.
const MAX_GROUP: usize = 1024;
/// Most touches in one commit.
const MAX_TOUCHES: usize = 4096;
/// How long an idle writer waits before it looks for touches.
const TICK: Duration = Duration::from_secs(1);
/// How often at most it tries to open a failed store again.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, SessionError>>;

/// A session to be created.
pub(crate) struct Order {
    pub(crate) id: StoredId,
    pub(crate) record: Record,
    pub(crate) subject: Subject,
    /// The presented sessions, which end in the same commit (S27).
    pub(crate) ended: Vec<StoredId>,
    /// It comes from an import, which ends nobody to make room.
    pub(crate) brought: bool,
    pub(crate) reply: Reply<Arc<LiveSession>>,
}

/// What the writer can be asked for.
pub(crate) enum Command {
    Create(Box<Order>),
    /// Delete the records of sessions that have ended in memory.
    Forget(Vec<StoredId>, Reply<()>),
    Read(Vec<StoredId>, Reply<Vec<(StoredId, Record)>>),
    NotBefore(Timestamp, Reply<()>),
    /// Read the records of all sessions that live at the moment, and remember that they have left.
    Export(Timestamp, Reply<Vec<(StoredId, Record)>>),
    /// Remember the sessions, each with its absolute limit, as exchanged; `None` when the store cannot.
    Exchange(Vec<(StoredId, Timestamp)>, Timestamp, Reply<Option<HashSet<StoredId>>>),
    /// Write every touch that waits.
    Settle(Reply<()>),
    Close(Reply<()>),
}

/// The sending ends. Touches have their own channel, whose receiver never sleeps on it: sending on it never takes a lock.
pub(crate) struct Queue {
    pub(crate) commands: Sender<Command>,
    pub(crate) touches: Sender<Arc<LiveSession>>,
}

/// Starts the thread `store-writer`. It ends on [`Command::Close`] or when the queue is dropped, after writing what waits.
pub(crate) fn start(store: Box<dyn SessionStore>, shared: Arc<Shared>) -> std::io::Result<Queue> {
    let (commands, command_inbox) = channel();
    let (touches, touch_inbox) = channel();
    let writer = Writer {
        store,
        shared,
        commands: command_inbox,
        touches: touch_inbox,
        owed: HashSet::new(),
        failing: None,
    };
    std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run())?;
    Ok(Queue { commands, touches })
}

struct Writer {
    store: Box<dyn SessionStore>,
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    touches: Receiver<Arc<LiveSession>>,
    /// Ids whose records must go and could not be deleted yet.
    owed: HashSet<StoredId>,
    /// When the store failed or was last tried again; `None` while it works.
    failing: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let mut group = Vec::new();
            match self.commands.recv_timeout(TICK) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.serve(Vec::new());
                    return;
                }
            }
            while group.len() < MAX_GROUP
                && let Ok(next) = self.commands.try_recv()
            {
                group.push(next);
            }
            if self.failing.is_some_and(|since| since.elapsed() >= RETRY) {
                self.try_to_recover();
            }
            if let Some(done) = self.serve(group) {
                // The store's lock is free before the caller goes on.
                drop(self.store);
                let _ = done.send(Ok(()));
                return;
            }
        }
    }

    /// Serves one group; gives back the reply of a `Close`.
    fn serve(&mut self, group: Vec<Command>) -> Option<Reply<()>> {
        let mut plan = Plan::default();
        let mut close = None;
        let mut later = Vec::new();
        for command in group {
            match command {
                Command::Create(order) => plan.create(*order, &self.shared),
                Command::Forget(ids, reply) => plan.forget(ids, reply),
                Command::Settle(reply) => plan.settled.push(reply),
                Command::Close(reply) => close = Some(reply),
                other => later.push(other),
            }
        }
        self.add_touches(&mut plan, close.is_some());
        self.commit(plan);
        for command in later {
            match command {
                Command::Read(ids, reply) => {
                    let _ = reply.send(self.read(&ids));
                }
                Command::NotBefore(moment, reply) => {
                    let _ = reply.send(self.store.set_not_before(moment).map_err(|error| self.fail(&error)));
                }
                Command::Export(now, reply) => {
                    let _ = reply.send(self.export(now));
                }
                Command::Exchange(sessions, now, reply) => {
                    let _ = reply.send(self.exchange(&sessions, now));
                }
                _ => {}
            }
        }
        close
    }

    /// Adds the touches that wait: a bounded number, or all of them when the writer is about to end.
    fn add_touches(&mut self, plan: &mut Plan, all: bool) {
        let limit = if all || !plan.settled.is_empty() { usize::MAX } else { MAX_TOUCHES };
        for session in self.touches.try_iter().take(limit) {
            // One that a request found past a limit: its record goes now and not with the next clean-up, so that a kill and a
            // start with the clock set back do not make it live again (S19). A shared store forgets by itself.
            if matches!(session.ended(), Some(EndReason::Idle | EndReason::Absolute))
                && self.shared.coherence.is_none()
            {
                plan.changes.push(Change::Delete(session.stored_id()));
            } else if session.ended().is_none() {
                plan.changes.push(Change::Touch(session.stored_id(), session.last_seen_at()));
                plan.touches += 1;
                if self.shared.trail.is_some() {
                    plan.touched.push((plan.changes.len() - 1, session));
                }
            }
        }
    }

    fn commit(&mut self, plan: Plan) {
        // What others do to a session after this moment is reported to the epoch, so this one vouches for what we create.
        let epoch = self.shared.coherence.as_ref().map(|coherence| coherence.epoch());
        self.announce(&plan);
        let outcome = match (self.failing.is_some(), plan.changes.is_empty()) {
            (true, _) => Err(SessionError::StoreUnavailable),
            (false, true) => Ok(Vec::new()),
            (false, false) => self.store.commit(&plan.changes).map_err(|error| self.fail(&error)),
        };
        match outcome {
            Ok(outcomes) => self.acknowledge(plan, &outcomes, epoch),
            Err(_) => self.refuse(plan),
        }
        if let Some(coherence) = &self.shared.coherence {
            coherence.all_answered();
        }
    }

    fn announce(&self, plan: &Plan) {
        let Some(coherence) = &self.shared.coherence else { return };
        for Create { order, makes_room, .. } in &plan.creates {
            makes_room.iter().for_each(|id| coherence.announce(*id, EndReason::Cap));
            order.ended.iter().for_each(|id| coherence.announce(*id, EndReason::Replaced));
        }
    }

    fn acknowledge(&mut self, plan: Plan, outcomes: &[Outcome], epoch: Option<u16>) {
        if !plan.changes.is_empty() {
            add_one(&self.shared.counters.commits);
            self.shared.counters.touches.fetch_add(plan.touches, Ordering::Relaxed);
        }
        if let Some(trail) = &self.shared.trail {
            let written = |at: &usize| outcomes.get(*at) == Some(&Outcome::Done);
            plan.touched
                .iter()
                .filter(|(at, _)| written(at))
                .for_each(|(_, session)| trail.extended(session));
        }
        for Create { at, order, makes_room } in plan.creates {
            // What the commit has deleted ends first, so that nobody ever sees one session too many.
            for session in makes_room.iter().filter_map(|id| self.shared.table.find(id)) {
                self.shared.end(&session, EndReason::Cap);
            }
            for session in order.ended.iter().filter_map(|id| self.shared.table.find(id)) {
                self.shared.end(&session, EndReason::Replaced);
            }
            let answer = match outcomes.get(at) {
                Some(Outcome::Done) => Ok(self.enter(&order, epoch)),
                _ => Err(SessionError::IdTaken),
            };
            let _ = order.reply.send(answer);
        }
        self.acknowledge_endings(&plan.changes);
        for reply in plan.refused {
            add_one(&self.shared.counters.refused_at_cap);
            let _ = reply.send(Err(SessionError::AtCap));
        }
        for reply in plan.forgotten.into_iter().chain(plan.settled) {
            let _ = reply.send(Ok(()));
        }
    }

    fn enter(&self, order: &Order, epoch: Option<u16>) -> Arc<LiveSession> {
        let session = self.shared.enter(order.id, &order.record, &order.subject);
        if let (Some(epoch), Some(coherence)) = (epoch, &self.shared.coherence) {
            session.set_verified(epoch);
            // Somebody else may have ended it already: whoever comes second sees the other.
            if coherence.is_absent(&order.id, order.record.created_at) {
                self.shared.end_here(&session, EndReason::Revoked);
            }
        }
        session
    }

    fn acknowledge_endings(&self, changes: &[Change]) {
        let Some(coherence) = &self.shared.coherence else { return };
        for change in changes {
            if let Change::Delete(id) = change {
                coherence.acknowledge(id);
            }
        }
    }

    /// The commit failed or was not tried: nobody logs in, and what has ended in memory is owed to the store.
    fn refuse(&mut self, plan: Plan) {
        for change in &plan.changes {
            match change {
                // A failed commit may have created it after all.
                Change::Create(id, _) => drop(self.owed.insert(*id)),
                Change::Delete(id) if self.has_ended(id) => drop(self.owed.insert(*id)),
                Change::Delete(_) | Change::Touch(..) => {}
            }
        }
        self.shared.owed.store(self.owed.len(), Ordering::Relaxed);
        let refused = plan.creates.into_iter().map(|create| create.order.reply).chain(plan.refused);
        for reply in refused {
            let _ = reply.send(Err(SessionError::StoreUnavailable));
        }
        for reply in plan.forgotten.into_iter().chain(plan.settled) {
            let _ = reply.send(Err(SessionError::NotDurable));
        }
    }

    /// A login that failed must not end the session it was made with.
    fn has_ended(&self, id: &StoredId) -> bool {
        match &self.shared.coherence {
            None => self.shared.table.find(id).is_none(),
            Some(coherence) => coherence.is_buried(id),
        }
    }

    fn fail(&mut self, error: &StoreError) -> SessionError {
        self.failing.get_or_insert_with(Instant::now);
        add_one(&self.shared.counters.store_errors);
        tracing::error!(%error, "the session store failed; no new logins until it can be opened again");
        self.shared.fault.store(Some(Arc::new(error.to_string())));
        SessionError::StoreUnavailable
    }

    /// Opens the store again and deletes failed creates and endings that are owed: whatever the table does not hold, or in
    /// a store that is not ours alone, what we know of.
    fn try_to_recover(&mut self) {
        let mut stray = Vec::new();
        let shared = &self.shared;
        let recovered = self.store.reopen().and_then(|()| {
            if self.store.is_shared() {
                stray.extend(self.owed.iter().map(|id| Change::Delete(*id)));
                return Ok(Loaded::default());
            }
            self.store.load(&mut |id, _| {
                if shared.table.find(&id).is_none() {
                    stray.push(Change::Delete(id));
                }
            })
        });
        if let Ok(Loaded { dropped: Some(reason), .. }) = &recovered {
            // Nothing ends now: the table has always known who lives. Their records cannot be had back.
            tracing::error!(%reason, "the session store is not trusted any more and was begun anew: sessions of before end with this process");
            stray.clear();
        }
        let recovered =
            recovered.and_then(|_| if stray.is_empty() { Ok(Vec::new()) } else { self.store.commit(&stray) });
        let recovered = recovered.and_then(|_| match shared.not_before() {
            moment if moment > self.store.not_before() => self.store.set_not_before(moment),
            _ => Ok(()),
        });
        match recovered {
            Ok(()) => {
                self.failing = None;
                self.owed.clear();
                self.acknowledge_endings(&stray);
                self.shared.owed.store(0, Ordering::Relaxed);
                self.shared.fault.store(None);
                tracing::warn!(deleted = stray.len(), "the session store works again");
            }
            Err(error) => {
                self.failing = Some(Instant::now());
                self.shared.fault.store(Some(Arc::new(error.to_string())));
            }
        }
    }

    fn read(&mut self, ids: &[StoredId]) -> Result<Vec<(StoredId, Record)>, SessionError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            add_one(&self.shared.counters.store_reads);
            match self.store.read(id) {
                Ok(Some(record)) => found.push((*id, record)),
                Ok(None) => {}
                Err(error) => return Err(self.fail(&error)),
            }
        }
        Ok(found)
    }

    /// Sessions enter the table on this thread only, so that nothing begins between the first record read and the last.
    fn export(&mut self, now: Timestamp) -> Result<Vec<(StoredId, Record)>, SessionError> {
        let mut live: Vec<_> = self.shared.table.all_sessions();
        live.retain(|session| self.shared.over(session, now).is_none());
        live.sort_by_key(|session| session.stored_id());
        let ids: Vec<_> = live.iter().map(|session| session.stored_id()).collect();
        let mut records = self.read(&ids)?;
        let mut live = live.into_iter();
        for (id, record) in &mut records {
            // Both are in the same order; memory knows of activity that has not been written yet.
            if let Some(session) = live.find(|session| session.stored_id() == *id) {
                record.last_seen_at = record.last_seen_at.max(session.last_seen_at());
            }
        }
        let leaving: Vec<_> = records.iter().map(|(id, record)| (*id, record.absolute_at)).collect();
        self.exchange(&leaving, now)?;
        Ok(records)
    }

    fn exchange(
        &mut self,
        sessions: &[(StoredId, Timestamp)],
        now: Timestamp,
    ) -> Result<Option<HashSet<StoredId>>, SessionError> {
        self.store.exchange(sessions, now).map_err(|error| SessionError::Ledger(error.to_string()))
    }
}
