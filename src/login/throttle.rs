//! Limits on attempts, checked before anything is hashed (X13). A pure state machine: time comes in as an argument.
//!
//! Every attempt that goes on counts as a failure from its first moment, so parallel guesses cannot exceed a limit, and an
//! attempt that is abandoned halfway stays counted. Three budgets hold together, each over a sliding window:
//!
//! | budget | key | size |
//! | --- | --- | --- |
//! | pair | account and source | `per_account` |
//! | source | source | `per_source` |
//! | account | account, from all sources that never logged it in | [`WIDE`] × `per_account` |
//!
//! A stranger can use up the account budget, but not that of a source from which the user has logged in before: such a
//! source is held to its own pair and source budgets only. What is left: after a restart no source is known, and a
//! stranger behind the owner's own address shares the owner's pair budget until the window has passed.
//!
//! Without a source address (a Unix socket without a trusted header) all clients are one source. One client must not
//! close the door to all, so that one source has [`WIDE`] × `per_source`.
//!
//! Memory: keys are 16 byte keyed hashes, at most [`BUCKETS`] buckets and [`KNOWN`] known sources. When all buckets are
//! live, an attempt that would need another is refused: forgetting one would hand its guesser a fresh budget. Only hashed
//! attempts make buckets, so filling them takes some 80 000 hashes within one window, which is slower than they expire.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::ThrottleSettings;
use super::names;
use crate::base::clock::Timestamp;

/// How much larger a budget is that many clients share.
pub(super) const WIDE: u32 = 10;
/// Most buckets held at once.
pub(super) const BUCKETS: usize = 1 << 18;
/// Most known sources held at once; the one unused longest goes first.
pub(super) const KNOWN: usize = 1 << 14;

/// The counts of failures.
pub(super) struct Throttle {
    settings: ThrottleSettings,
    secret: [u8; 32],
    capacity: usize,
    buckets: HashMap<Key, VecDeque<Timestamp>>,
    known: HashMap<Key, Timestamp>,
    /// The size at which to look for expired buckets again: twice what was live the last time.
    sweep_at: usize,
    /// When full of live buckets: no new sweep before this moment.
    full_until: Timestamp,
}

/// An attempt under way. It counts as a failure unless it is settled otherwise.
#[derive(Debug)]
pub(super) struct Ticket {
    at: Timestamp,
    pair: Key,
    source: Key,
    /// `None` for a known source, which the account budget does not touch.
    account: Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key([u8; 16]);

impl Throttle {
    /// Counts for `settings`; `secret` keys the hashes, so that nobody can aim at another's bucket.
    pub(super) fn new(settings: ThrottleSettings, secret: [u8; 32]) -> Self {
        Self::with_capacity(settings, secret, BUCKETS)
    }

    fn with_capacity(settings: ThrottleSettings, secret: [u8; 32], capacity: usize) -> Self {
        let (buckets, known) = (HashMap::new(), HashMap::new());
        let sweep_at = 1024.min(capacity);
        Self { settings, secret, capacity, buckets, known, sweep_at, full_until: Timestamp::default() }
    }

    /// Lets one attempt on `name` from `source` go on, and counts it.
    ///
    /// # Errors
    /// When a budget is used up: the time, at least one second, after which it is worth trying again. Nothing is counted.
    pub(super) fn begin(
        &mut self,
        name: &str,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Ticket, Duration> {
        let (name, prefix) = (names::fold(name), prefix(source));
        let pair = self.key(b"pair", &prefix, &name);
        let source_key = self.key(b"source", &prefix, "");
        let account = (!self.known.contains_key(&pair)).then(|| self.key(b"account", &[], &name));
        let shared = if source.is_none() { WIDE } else { 1 };

        let mut wait = self.wait(pair, self.settings.per_account, now);
        wait = wait.max(self.wait(source_key, self.settings.per_source.saturating_mul(shared), now));
        if let Some(account) = account {
            wait = wait.max(self.wait(account, self.settings.per_account.saturating_mul(WIDE), now));
        }
        if let Some(wait) = wait {
            return Err(wait.max(Duration::from_secs(1)));
        }
        let ticket = Ticket { at: now, pair, source: source_key, account };
        let new = ticket.keys().filter(|key| !self.buckets.contains_key(key)).count();
        self.make_room(new, now)?;
        for key in ticket.keys() {
            self.buckets.entry(key).or_default().push_back(now);
        }
        Ok(ticket)
    }

    /// The password was right: the pair starts afresh, and its source is known from now on. The other budgets only get
    /// this one attempt back, or else a guesser could refill them with logins to an account of their own, or by waiting
    /// for the owner's.
    pub(super) fn succeed(&mut self, ticket: &Ticket, now: Timestamp) {
        self.buckets.remove(&ticket.pair);
        self.cancel(ticket);
        if self.known.len() >= KNOWN
            && !self.known.contains_key(&ticket.pair)
            && let Some(oldest) = self.known.iter().min_by_key(|(_, last)| **last).map(|(key, _)| *key)
        {
            self.known.remove(&oldest);
        }
        self.known.insert(ticket.pair, now);
    }

    /// Nothing was checked (the pool was full): the attempt does not count.
    pub(super) fn cancel(&mut self, ticket: &Ticket) {
        for key in ticket.keys() {
            let Some(bucket) = self.buckets.get_mut(&key) else { continue };
            if let Some(place) = bucket.iter().rposition(|at| *at == ticket.at) {
                bucket.remove(place);
            }
            if bucket.is_empty() {
                self.buckets.remove(&key);
            }
        }
    }

    /// How long until `key` has budget again; `None` when it has some now. Drops what has left the window.
    fn wait(&mut self, key: Key, limit: u32, now: Timestamp) -> Option<Duration> {
        let window = self.settings.window;
        let bucket = self.buckets.get_mut(&key)?;
        // Of a clock that came back: what it dated later than now would count until then.
        for at in bucket.iter_mut().rev().take_while(|at| **at > now) {
            *at = now;
        }
        while bucket.front().is_some_and(|at| now.since(*at) >= window) {
            bucket.pop_front();
        }
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        // A limit may have been lowered: enough must leave that one fits.
        let over = bucket.len().checked_sub(limit)?;
        bucket.get(over).map(|at| window.saturating_sub(now.since(*at)))
    }

    /// Makes sure `new` more buckets fit.
    fn make_room(&mut self, new: usize, now: Timestamp) -> Result<(), Duration> {
        let wanted = self.buckets.len().saturating_add(new);
        if wanted > self.sweep_at && now >= self.full_until {
            let window = self.settings.window;
            self.buckets.retain(|_, bucket| bucket.back().is_some_and(|at| now.since(*at) < window));
            self.sweep_at = self.buckets.len().saturating_mul(2).max(1024).min(self.capacity);
            if self.buckets.len().saturating_add(new) > self.capacity {
                self.full_until = now + Duration::from_secs(1);
            }
        }
        let fits = self.buckets.len().saturating_add(new) <= self.capacity;
        if fits { Ok(()) } else { Err(Duration::from_secs(1)) }
    }

    fn key(&self, kind: &[u8], prefix: &[u8], name: &str) -> Key {
        let whole = Sha256::new()
            .chain_update(self.secret)
            .chain_update(kind)
            .chain_update([0])
            .chain_update(prefix.len().to_be_bytes())
            .chain_update(prefix)
            .chain_update(name)
            .finalize();
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(whole) {
            *to = from;
        }
        Key(key)
    }
}

impl Ticket {
    fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        [Some(self.pair), Some(self.source), self.account].into_iter().flatten()
    }
}

/// What one client holds: an IPv4 address, or the /64 of an IPv6 one. Mapped IPv4 (RFC 4291 section 2.5.5.2) is IPv4.
fn prefix(source: Option<IpAddr>) -> Vec<u8> {
    match source.map(|ip| ip.to_canonical()) {
        None => Vec::new(),
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().into_iter().take(8).collect(),
    }
}

#[cfg(test)]
mod tests;
