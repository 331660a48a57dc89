//! Which sessions are being read, who waits for them, and whether an answer can still be believed.
//!
//! A change that is reported while a read of the same session is on its way makes the answer doubtful: it is read once more.

use std::collections::{HashMap, VecDeque};

use redis::Value;
use tokio::sync::oneshot;

use super::wire;
use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;

/// Most sessions in one read.
const BATCH: usize = 512;

/// What the server has under a session's key.
#[derive(Debug)]
pub(crate) enum Found {
    Record(Box<Record>),
    /// Bytes of another version, or damaged ones.
    Unreadable,
    Nothing,
}

#[derive(Default)]
struct Entry {
    sent: bool,
    doubtful: bool,
    /// Part of the fill after connecting.
    fill: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// The reads of one connection. When it ends, so does this, and everybody who waits learns it by their dropped sender.
#[derive(Default)]
pub(super) struct Readings {
    entries: HashMap<StoredId, Entry>,
    wanted: VecDeque<StoredId>,
    /// Reads of the fill that are not answered.
    pub(super) filling: usize,
}

impl Readings {
    /// A request waits for `id`: one read serves all who ask meanwhile.
    pub(super) fn fetch(&mut self, id: StoredId, waiting: oneshot::Sender<()>) {
        self.entry(id).waiting.push(waiting);
    }

    /// `id` has changed on the server.
    pub(super) fn changed(&mut self, id: StoredId) {
        let entry = self.entry(id);
        entry.doubtful = entry.sent;
    }

    /// Everything has changed.
    pub(super) fn all_changed(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.doubtful = entry.sent);
    }

    /// `id` is to be read as part of the fill.
    pub(super) fn fill(&mut self, id: StoredId) {
        let entry = self.entry(id);
        if !entry.fill {
            entry.fill = true;
            self.filling += 1;
        }
    }

    /// How many wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.wanted.len()
    }

    /// The next batch to send; empty when there is nothing to read.
    pub(super) fn next_batch(&mut self) -> Vec<StoredId> {
        let batch: Vec<_> = self.wanted.drain(..self.wanted.len().min(BATCH)).collect();
        for id in &batch {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.sent = true;
            }
        }
        batch
    }

    /// Whether the answer for `id` counts. When it does not, it is read again and everybody goes on waiting.
    pub(super) fn believe(&mut self, id: &StoredId) -> bool {
        match self.entries.get_mut(id) {
            Some(entry) if entry.doubtful => {
                entry.sent = false;
                entry.doubtful = false;
                self.wanted.push_back(*id);
                false
            }
            _ => true,
        }
    }

    /// The answer for `id` has been applied: whoever waits may look.
    pub(super) fn answered(&mut self, id: &StoredId) {
        if let Some(entry) = self.entries.remove(id) {
            self.filling -= usize::from(entry.fill);
            for waiting in entry.waiting {
                // The request may have gone away.
                let _ = waiting.send(());
            }
        }
    }

    fn entry(&mut self, id: StoredId) -> &mut Entry {
        self.entries.entry(id).or_insert_with(|| {
            self.wanted.push_back(id);
            Entry::default()
        })
    }
}

/// The answer to [`wire::read`] of `ids`; `None` for an answer that is none.
pub(super) fn found(answer: Value, ids: &[StoredId]) -> Option<Vec<(StoredId, Found)>> {
    let Value::Array(items) = answer else { return None };
    if items.len() != ids.len() {
        return None;
    }
    let read = |item| match item {
        Value::Nil => Some(Found::Nothing),
        Value::BulkString(bytes) => {
            Some(wire::record_of(&bytes).map_or(Found::Unreadable, |record| Found::Record(Box::new(record))))
        }
        _ => None,
    };
    ids.iter().zip(items).map(|(id, item)| Some((*id, read(item)?))).collect()
}

/// The answer to [`wire::page`]: the next cursor (0 at the end) and the sessions of this page.
pub(super) fn page(answer: Value) -> Option<(u64, Vec<StoredId>)> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(cursor), Value::Array(keys)] = parts.as_slice() else { return None };
    let cursor = std::str::from_utf8(cursor).ok()?.parse().ok()?;
    Some((cursor, keys.iter().filter_map(id_of).collect()))
}

/// The session that a key in an answer or a message belongs to.
pub(super) fn id_of(key: &Value) -> Option<StoredId> {
    match key {
        Value::BulkString(key) => wire::id_of(key),
        _ => None,
    }
}

/// The answer to [`wire::read_not_before`]; the epoch for none.
pub(super) fn moment(answer: &Value) -> Timestamp {
    let Value::BulkString(digits) = answer else { return Timestamp::default() };
    let millis = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    Timestamp::from_millis(millis.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> StoredId {
        StoredId::from_bytes([n; 32])
    }

    #[test]
    fn those_who_ask_for_the_same_session_share_one_read() {
        let mut readings = Readings::default();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let (sender, receiver) = oneshot::channel();
            readings.fetch(id(1), sender);
            waiting.push(receiver);
        }
        assert_eq!(readings.next_batch(), [id(1)]);
        assert!(readings.next_batch().is_empty());
        assert!(readings.believe(&id(1)));
        readings.answered(&id(1));
        assert!(waiting.iter_mut().all(|receiver| receiver.try_recv().is_ok()));
    }

    #[test]
    fn an_answer_that_a_change_overtook_is_read_again_before_anybody_sees_it() {
        let mut readings = Readings::default();
        let (sender, mut receiver) = oneshot::channel();
        readings.fetch(id(1), sender);
        readings.next_batch();
        readings.changed(id(1));
        assert!(!readings.believe(&id(1)));
        assert!(receiver.try_recv().is_err());
        assert_eq!(readings.next_batch(), [id(1)]);
        assert!(readings.believe(&id(1)));
    }

    #[test]
    fn answers_of_another_shape_are_none() {
        assert!(found(Value::Nil, &[id(1)]).is_none());
        assert!(found(Value::Array(vec![]), &[id(1)]).is_none());
        assert!(found(Value::Array(vec![Value::Int(1)]), &[id(1)]).is_none());
        assert!(page(Value::Array(vec![Value::Int(0)])).is_none());
        assert_eq!(moment(&Value::BulkString(b"x".to_vec())), Timestamp::default());
    }
}
