//! Request ids: unique, cheap, and telling a client nothing but themselves.

use std::cell::Cell;
use std::fmt;

use crate::base::secret::{Random, RandomError};

/// The id of one request: 16 lower-case hexadecimal characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    /// As text.
    pub fn text(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One worker's ids: a random start, then an odd random stride, so that ids neither repeat within 2^64 nor count requests.
#[derive(Debug)]
pub struct RequestIds {
    next: Cell<u64>,
    stride: u64,
}

/// What the sequences of all workers are made from.
#[derive(Clone, Copy, Debug)]
pub struct RequestIdSeed {
    start: u64,
    stride: u64,
}

impl RequestIdSeed {
    /// A fresh seed.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn new(random: &dyn Random) -> Result<Self, RandomError> {
        let (mut start, mut stride) = ([0; 8], [0; 8]);
        random.fill(&mut start)?;
        random.fill(&mut stride)?;
        Ok(Self { start: u64::from_ne_bytes(start), stride: u64::from_ne_bytes(stride) | 1 })
    }

    /// The sequence of the worker of this index: each starts a long way from the others.
    pub fn worker(self, index: usize) -> RequestIds {
        let offset = (index as u64).wrapping_mul(self.stride) << 40;
        RequestIds { next: Cell::new(self.start.wrapping_add(offset)), stride: self.stride }
    }
}

impl RequestIds {
    /// The next id.
    pub fn next(&self) -> RequestId {
        let id = self.next.get();
        self.next.set(id.wrapping_add(self.stride));
        RequestId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::SystemRandom;

    #[test]
    fn ids_of_several_workers_do_not_repeat() {
        let seed = RequestIdSeed::new(&SystemRandom).unwrap();
        let of_worker = |index| {
            let ids = seed.worker(index);
            (0..10_000).map(move |_| ids.next().text()).collect::<Vec<_>>()
        };
        let seen: std::collections::HashSet<_> = (0..4).flat_map(of_worker).collect();
        assert_eq!(seen.len(), 40_000);
        assert!(seen.iter().all(|id| id.len() == 16));
    }
}
