//! The summary that every commit renews together with the records: enough to notice that a record is missing or has come back.

use crate::session::id::StoredId;

const VERSION: u8 = 1;

/// What the records must add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Random id of the store, the same as in its marker.
    pub(super) creation_id: [u8; 16],
    /// Commits so far.
    pub(super) commits: u64,
    /// Number of records.
    pub(super) count: u64,
    /// All ids, folded into one by exclusive or.
    pub(super) fingerprint: [u8; 16],
}

impl Summary {
    /// Counts a record in.
    pub(super) fn add(&mut self, id: &StoredId) {
        self.count = self.count.saturating_add(1);
        self.fold(id);
    }

    /// Counts a record out.
    pub(super) fn remove(&mut self, id: &StoredId) {
        self.count = self.count.saturating_sub(1);
        self.fold(id);
    }

    /// Whether both speak of the same records.
    pub(super) fn same_records(&self, other: &Self) -> bool {
        self.count == other.count && self.fingerprint == other.fingerprint
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.creation_id);
        out.extend_from_slice(&self.commits.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.fingerprint);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (creation_id, rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let (commits, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        Some(Self {
            creation_id: *creation_id,
            commits: u64::from_le_bytes(*commits),
            count: u64::from_le_bytes(*count),
            fingerprint: rest.try_into().ok()?,
        })
    }

    fn fold(&mut self, id: &StoredId) {
        for (sum, byte) in self.fingerprint.iter_mut().zip(id.as_bytes()) {
            *sum ^= byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_out_and_another_in_is_noticed() {
        let (a, b) = (StoredId::from_bytes([1; 32]), StoredId::from_bytes([2; 32]));
        let mut first = Summary::default();
        first.add(&a);
        let mut second = Summary::default();
        second.add(&b);
        assert!(!first.same_records(&second));
        second.add(&a);
        second.remove(&b);
        assert!(first.same_records(&second));
    }

    #[test]
    fn survives_encoding_and_refuses_other_lengths() {
        let summary = Summary { creation_id: [1; 16], commits: 2, count: 3, fingerprint: [4; 16] };
        let bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes), Some(summary));
        assert_eq!(Summary::decode(&bytes[1..]), None);
        assert_eq!(Summary::decode(&[bytes, vec![0]].concat()), None);
    }
}
