//! Finishing up: workers stop accepting, idle connections close, busy ones get the grace period, then all are cut.

use std::time::Duration;

/// How a drain went, in connections that were busy when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Ended by themselves within the grace period.
    pub finished: usize,
    /// Cut at its end.
    pub cut: usize,
}

impl DrainReport {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { finished: self.finished + other.finished, cut: self.cut + other.cut }
    }
}

/// What workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accept and serve.
    Serve,
    /// Stop accepting; finish within this time.
    Drain(Duration),
}
