//! What the sessions tell Prometheus.

use std::sync::atomic::Ordering;

use crate::observe::metrics::{Scrape, Source};
use crate::session::{EndReason, Rejection, SessionManager};

impl Source for SessionManager {
    fn report(&self, scrape: &mut Scrape) {
        let counters = self.counters();
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let health = self.health();
        scrape.gauge("sessions_live", "Sessions in the table", self.live() as u64);
        scrape.counter("sessions_created", "Sessions created", of(&counters.created));
        let ended = EndReason::ALL.map(|reason| ([reason.code()], counters.ended(reason)));
        scrape.counters("sessions_ended", "Sessions ended, by reason", ["reason"], ended);
        let rejected = Rejection::ALL.map(|rejection| ([rejection.code()], counters.rejected(rejection)));
        let help = "Presented cookies that opened no session, by reason; bad_mac: forged, or made with a key that is gone";
        scrape.counters("session_cookies_rejected", help, ["reason"], rejected);
        let help = "Requests answered 429 because their source had sent too many bad cookies";
        scrape.counter("session_cookies_throttled", help, of(&counters.throttled));
        let help = "Cookies of our name that upstreams tried to set, and that were dropped";
        scrape.counter("session_cookies_forged_by_upstream", help, of(&counters.forged_set_cookies));
        let help = "Session cookies issued again under the newest key";
        scrape.counter("session_cookies_reissued", help, of(&counters.reissued));
        let help = "Logins refused because the user had as many sessions as the cap allows";
        scrape.counter("sessions_refused_at_cap", help, of(&counters.refused_at_cap));
        scrape.gauge(
            "session_store_up",
            "Whether the session store takes writes",
            health.fault.is_none().into(),
        );
        let help = "Endings that hold in memory and are not in the store yet";
        scrape.gauge("session_store_writes_owed", help, health.owed as u64);
        scrape.counter("session_store_commits", "Commits made durable", of(&counters.commits));
        scrape.counter(
            "session_store_errors",
            "Writes that the store refused or failed",
            of(&counters.store_errors),
        );
        let help = "Records read from the store after the start";
        scrape.counter("session_store_reads", help, of(&counters.store_reads));
        let help = "Last activities written to the store";
        scrape.counter("session_store_touches", help, of(&counters.touches));
        let help = "Records that could not be decoded and were set aside";
        scrape.counter("session_store_quarantined", help, of(&counters.quarantined));
    }
}
