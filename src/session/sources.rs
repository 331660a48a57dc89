//! How many bad session cookies each source sent within a minute, and when that is too many (S40).
//!
//! A request with a good cookie or none never comes here: the lock in this file is taken by requests with a bad cookie only,
//! for one map access, and they wait for nobody but each other. A source is an IPv4 address or the /64 of an IPv6 one; clients
//! without an address (a Unix socket without a trusted header) are one source with [`WIDE`] times the budget.
//!
//! At most [`SOURCES`] sources are remembered. When more are active within a minute, those that do not fit share one budget:
//! forgetting one instead would hand it a fresh one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;

/// Most sources remembered, about 40 bytes each.
const SOURCES: usize = 1 << 14;
/// How much larger a budget is that many clients share.
const WIDE: u32 = 10;
/// How long a source's count holds, from its first bad cookie.
const WINDOW: Duration = Duration::from_secs(60);

/// The counts of bad cookies by source.
pub(crate) struct Sources {
    /// Bad cookies per window and source; 0 for no limit.
    limit: u32,
    capacity: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    windows: HashMap<Source, Window>,
    /// When full: no new look for expired ones before this moment.
    full_until: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Nameless,
    V4([u8; 4]),
    /// The /64: what one customer holds.
    V6([u8; 8]),
    /// All that did not fit.
    Rest,
}

struct Window {
    began: Timestamp,
    count: u32,
}

impl Sources {
    /// Counts that allow `limit` bad cookies per minute and source; 0 switches the limit off.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, capacity: SOURCES, counts: Mutex::default() }
    }

    /// Counts a bad cookie from `address`. `Some` when the source has used its budget up: how long until it has one again.
    pub(crate) fn count(&self, address: Option<IpAddr>, now: Timestamp) -> Option<Duration> {
        if self.limit == 0 {
            return None;
        }
        // Nothing under the lock can leave the map half changed.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let source = counts.place(Source::of(address), self.capacity, now);
        let window = counts.windows.entry(source).or_insert(Window { began: now, count: 0 });
        if now.since(window.began) >= WINDOW {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        (window.count > source.budget(self.limit))
            .then(|| WINDOW.saturating_sub(now.since(window.began)).max(Duration::from_secs(1)))
    }

    /// Takes the lock, to show who needs it.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.counts.lock().unwrap()
    }
}

impl Counts {
    /// Where `source` is counted: under its own name while there is room.
    fn place(&mut self, source: Source, capacity: usize, now: Timestamp) -> Source {
        if self.windows.len() < capacity || self.windows.contains_key(&source) {
            return source;
        }
        if now >= self.full_until {
            self.windows.retain(|_, window| now.since(window.began) < WINDOW);
            self.full_until = now + Duration::from_secs(1);
        }
        if self.windows.len() < capacity { source } else { Source::Rest }
    }
}

impl Source {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|ip| ip.to_canonical()) {
            None => Self::Nameless,
            Some(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    fn budget(self, limit: u32) -> u32 {
        match self {
            Self::V4(_) | Self::V6(_) => limit,
            Self::Nameless | Self::Rest => limit.saturating_mul(WIDE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_budget_is_exact_and_comes_back_after_a_minute() {
        let sources = Sources::new(3);
        for _ in 0..3 {
            assert_eq!(sources.count(ip("192.0.2.1"), NOW), None);
        }
        assert_eq!(
            sources.count(ip("192.0.2.1"), NOW + Duration::from_secs(20)),
            Some(Duration::from_secs(40))
        );
        assert_eq!(sources.count(ip("192.0.2.2"), NOW), None, "another source is untouched");
        assert_eq!(sources.count(ip("192.0.2.1"), NOW + WINDOW), None);
    }

    #[test]
    fn an_ipv6_source_is_its_64_and_a_mapped_address_is_ipv4() {
        let sources = Sources::new(1);
        assert_eq!(sources.count(ip("2001:db8::1"), NOW), None);
        assert!(sources.count(ip("2001:db8::ffff:1"), NOW).is_some());
        assert_eq!(sources.count(ip("2001:db8:0:1::1"), NOW), None);
        assert_eq!(sources.count(ip("192.0.2.1"), NOW), None);
        assert!(sources.count(ip("::ffff:192.0.2.1"), NOW).is_some());
    }

    #[test]
    fn clients_without_an_address_share_a_wider_budget() {
        let sources = Sources::new(2);
        let refused = (0..30).filter(|_| sources.count(None, NOW).is_some()).count();
        assert_eq!(refused, 10);
    }

    #[test]
    fn zero_switches_the_limit_off() {
        let sources = Sources::new(0);
        assert!((0..1000).all(|_| sources.count(ip("192.0.2.1"), NOW).is_none()));
    }

    #[test]
    fn memory_is_bounded_and_crowding_out_wins_no_fresh_budget() {
        let sources = Sources { capacity: 4, ..Sources::new(1) };
        let crowd = |n: u8, now| sources.count(ip(&format!("192.0.2.{n}")), now);
        for n in 0..4 {
            assert_eq!(crowd(n, NOW), None);
        }
        let refused = (4..100).filter(|n| crowd(*n, NOW).is_some()).count();
        assert_eq!(refused, 96 - 10, "the rest shares one wider budget");
        assert!(crowd(0, NOW).is_some(), "who was known is still known");
        assert_eq!(sources.counts.lock().unwrap().windows.len(), 5);
        assert_eq!(crowd(200, NOW + WINDOW), None, "room again once the minute is over");
    }

    #[test]
    fn a_clock_that_stands_or_runs_back_neither_panics_nor_resets() {
        let sources = Sources::new(1);
        assert_eq!(sources.count(ip("192.0.2.1"), NOW), None);
        assert_eq!(sources.count(ip("192.0.2.1"), Timestamp::default()), Some(WINDOW));
    }
}
