//! Lines that a log may have lost: its thread or its target could not keep up, or the target could not be written.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::metrics::{Scrape, Source};

/// How many lines one log may have lost.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    pub(crate) fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }

    /// Those since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What each log that is on may have lost.
#[derive(Clone, Debug, Default)]
pub struct LogNumbers(Vec<Log>);

#[derive(Clone, Debug)]
struct Log {
    name: &'static str,
    lost: LostLines,
    /// How many have been told.
    told: u64,
}

impl LogNumbers {
    /// Adds a log, when it is on.
    pub fn add(&mut self, name: &'static str, lost: Option<LostLines>) {
        self.0.extend(lost.map(|lost| Log { name, lost, told: 0 }));
    }

    /// Logs that have lost lines since this was asked last, and how many.
    pub fn news(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter_mut().filter_map(|Log { name, lost, told }| {
            let lost = lost.count();
            let more = lost.saturating_sub(mem::replace(told, lost));
            (more > 0).then_some((*name, more))
        })
    }
}

impl Source for LogNumbers {
    fn report(&self, scrape: &mut Scrape) {
        let help = "Lines that may be lost: the log or its target could not keep up, or the target could not be written";
        let rows = self.0.iter().map(|log| ([log.name], log.lost.count()));
        scrape.counters("log_lines_lost", help, ["log"], rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_news_once() {
        let (access, audit) = (LostLines::default(), LostLines::default());
        let mut logs = LogNumbers::default();
        logs.add("access", Some(access.clone()));
        logs.add("audit", Some(audit.clone()));
        logs.add("off", None);
        let mut news = || logs.news().collect::<Vec<_>>();
        assert_eq!(news(), []);
        access.add(400);
        assert_eq!(news(), [("access", 400)]);
        assert_eq!(news(), [], "told");
        audit.add(1);
        access.add(2);
        assert_eq!(news(), [("access", 2), ("audit", 1)]);
    }
}
