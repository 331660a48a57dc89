//! What the process as a whole tells Prometheus: the build, the start, the last reload.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::clock::Timestamp;
use crate::observe::metrics::{Scrape, Source};

/// The process, and what became of the files that it reads again.
#[derive(Debug)]
pub(super) struct ProcessNumbers {
    started: Timestamp,
    pub(super) config: LastRead,
    pub(super) users: LastRead,
}

impl ProcessNumbers {
    /// A process that started at `now` with good files.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { started: now, config: LastRead::new(now), users: LastRead::new(now) }
    }
}

/// What became of the last reading of a file. The start counts as the first.
#[derive(Debug)]
pub(super) struct LastRead {
    good: AtomicBool,
    good_at: AtomicU64,
    failures: AtomicU64,
}

impl LastRead {
    fn new(now: Timestamp) -> Self {
        Self {
            good: AtomicBool::new(true),
            good_at: AtomicU64::new(now.as_secs()),
            failures: AtomicU64::new(0),
        }
    }

    /// Notes a reading that ended at `now`.
    pub(super) fn read(&self, good: bool, now: Timestamp) {
        self.good.store(good, Ordering::Relaxed);
        if good {
            self.good_at.store(now.as_secs(), Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Source for ProcessNumbers {
    fn report(&self, scrape: &mut Scrape) {
        let help = "The version that runs; always 1";
        scrape.gauges("build_info", help, ["version"], [([env!("CARGO_PKG_VERSION")], 1)]);
        scrape.gauge(
            "start_time_seconds",
            "When the process started, since the epoch",
            self.started.as_secs(),
        );
        let Self { config, users, .. } = self;
        let good = |last: &LastRead| last.good.load(Ordering::Relaxed).into();
        let good_at = |last: &LastRead| last.good_at.load(Ordering::Relaxed);
        let failures = |last: &LastRead| last.failures.load(Ordering::Relaxed);
        let help = "Whether the configuration could be used when it was read last";
        scrape.gauge("config_last_reload_successful", help, good(config));
        let help = "When the configuration in force was read, since the epoch";
        scrape.gauge("config_last_reload_success_timestamp_seconds", help, good_at(config));
        let help = "Configurations that a reload refused";
        scrape.counter("config_reload_failures", help, failures(config));
        let help = "Whether the user file could be used when it was read last";
        scrape.gauge("users_last_reload_successful", help, good(users));
        let help = "When the user file in force was read, since the epoch";
        scrape.gauge("users_last_reload_success_timestamp_seconds", help, good_at(users));
        let help = "User files that a reload refused";
        scrape.counter("users_reload_failures", help, failures(users));
    }
}
