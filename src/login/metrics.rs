//! What the login layer counts, and tells Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Login, Outcome};
use crate::observe::metrics::{Scrape, Source};

const RESULTS: [&str; 5] = ["granted", "refused", "throttled", "busy", "invalid"];

/// Attempts since the start, by what came of them.
#[derive(Debug, Default)]
pub(super) struct Attempts([AtomicU64; RESULTS.len()]);

impl Attempts {
    pub(super) fn count(&self, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Grant(_) => 0,
            Outcome::Refuse => 1,
            Outcome::Throttled { .. } => 2,
            Outcome::Busy { .. } => 3,
            Outcome::Invalid => 4,
        };
        self.0.get(result).map(|count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed));
    }
}

impl Source for Login {
    fn report(&self, scrape: &mut Scrape) {
        let attempts = RESULTS.iter().zip(&self.attempts.0);
        let rows = attempts.map(|(result, count)| (["password", result], count.load(Ordering::Relaxed)));
        scrape.counters("logins", "Attempts to log in, by method and result", ["method", "result"], rows);
        scrape.gauge("password_hashes_waiting", "Logins that wait for a hash thread", self.pool.waiting());
        scrape.counter("password_hashes", "Passwords hashed", self.hash_runs());
        scrape.gauge("users", "Users in the user file, disabled ones too", self.user_count() as u64);
    }
}
