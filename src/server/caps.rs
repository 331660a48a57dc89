//! How many client connections there may be: in all, and from one source.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limits. A connection beyond them is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections in all. Default 10 000.
    pub connections: usize,
    /// Connections of one address (IPv6: of its /64), unless it is a proxy that we trust. Default 1000.
    pub per_source: usize,
}

/// The connections that there are, of all workers. Looked at when one begins and when it ends, never by a request.
#[derive(Debug)]
pub(super) struct Count {
    caps: Caps,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "dropped, the place is free again"]
pub(super) struct Place {
    count: Arc<Count>,
    source: Option<IpAddr>,
}

impl Count {
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, open: Mutex::default() })
    }

    /// A place for one more connection; `source` is absent where no cap applies to it.
    pub(super) fn take(self: &Arc<Self>, source: Option<IpAddr>) -> Option<Place> {
        let mut open = self.lock();
        if open.all >= self.caps.connections {
            return None;
        }
        open.all += 1;
        drop(open);
        let mut place = Place { count: Arc::clone(self), source: None };
        source.is_none_or(|source| place.is_of(source)).then_some(place)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it for `source`. False when that has all the connections that it may have.
    pub(super) fn is_of(&mut self, source: IpAddr) -> bool {
        let source = network(source);
        let mut open = self.count.lock();
        let of_source = open.by_source.entry(source).or_insert(0);
        if *of_source >= self.count.caps.per_source {
            return false;
        }
        *of_source += 1;
        self.source = Some(source);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.count.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(Entry::Occupied(mut of_source)) = self.source.map(|source| open.by_source.entry(source)) {
            match of_source.get_mut() {
                1 => drop(of_source.remove()),
                more => *more -= 1,
            }
        }
    }
}

/// Whoever has one IPv6 address has the /64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_source_and_all_together_have_their_caps_and_get_their_places_back() {
        let count = Count::new(Caps { connections: 4, per_source: 2 });
        let first = count.take(ip("192.0.2.1")).unwrap();
        let _second = count.take(ip("::ffff:192.0.2.1")).unwrap();
        assert!(count.take(ip("192.0.2.1")).is_none());
        let _other = count.take(ip("192.0.2.2")).unwrap();
        drop(first);
        let _again = count.take(ip("192.0.2.1")).unwrap();
        // A trusted proxy, or a unix socket: only the cap of all.
        let _exempt = count.take(None).unwrap();
        assert!(count.take(None).is_none());
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_source() {
        let count = Count::new(Caps { connections: 4, per_source: 1 });
        let place = count.take(ip("2001:db8::1"));
        assert!(place.is_some() && count.take(ip("2001:db8::ffff:1")).is_none());
        assert!(count.take(ip("2001:db8:0:1::1")).is_some());
        drop(place);
        assert!(count.take(ip("2001:db8::1")).is_some());
        assert_eq!(count.lock().by_source.len(), 0, "nothing is left of what has ended");
    }
}
