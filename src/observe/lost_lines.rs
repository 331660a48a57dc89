//! Lines that a log may have lost: its thread or its target could not keep up, or the target could not be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::metrics::{Scrape, Source};

/// How many lines one log may have lost.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    pub(super) fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }

    /// Those since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What each log that is on may have lost, by the log's name.
#[derive(Debug, Default)]
pub struct LogNumbers(pub Vec<(&'static str, LostLines)>);

impl Source for LogNumbers {
    fn report(&self, scrape: &mut Scrape) {
        let help = "Lines that may be lost: the log or its target could not keep up, or the target could not be written";
        let rows = self.0.iter().map(|(log, lost)| ([*log], lost.count()));
        scrape.counters("log_lines_lost", help, ["log"], rows);
    }
}
