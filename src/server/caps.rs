//! How many client connections there may be: in all, and from one source; and how many requests of one source over HTTP/2, where a
//! connection carries many at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limits. A connection beyond them is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections in all. Default 10 000.
    pub connections: usize,
    /// Connections of one address (IPv6: of its /64), unless it is a proxy that we trust. Default 1000.
    pub per_source: usize,
    /// Streams of HTTP/2 of all connections of one address together, beside the first of each connection. Default 1000.
    pub streams_per_source: usize,
}

/// The connections that there are, of all workers. Looked at when one begins and when it ends, never by a request.
#[derive(Debug)]
pub(super) struct Count {
    caps: Caps,
    open: Mutex<Open>,
    /// Streams that were beyond the cap, since somebody asked.
    refused_streams: AtomicU32,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, Source>,
}

/// What there is of one source.
#[derive(Debug, Default)]
struct Source {
    connections: usize,
    streams: Arc<AtomicUsize>,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "dropped, the place is free again"]
pub(super) struct Place {
    count: Arc<Count>,
    /// Absent where no cap applies; its network and its streams.
    source: Option<(IpAddr, Arc<AtomicUsize>)>,
}

/// The streams of a connection's source. No stream waits for another: they count without a lock.
#[derive(Debug, Default)]
pub(super) struct SourceStreams(Option<(Arc<Count>, Arc<AtomicUsize>)>);

impl Count {
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, open: Mutex::default(), refused_streams: AtomicU32::new(0) })
    }

    /// How many streams were refused since this was asked last.
    pub(super) fn take_refused_streams(&self) -> u32 {
        self.refused_streams.swap(0, Ordering::Relaxed)
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
    /// Counts it for `source`, and for no other any more. False when that has all the connections that it may have.
    pub(super) fn is_of(&mut self, source: IpAddr) -> bool {
        self.leave_source();
        let source = network(source);
        let mut open = self.count.lock();
        let of_source = open.by_source.entry(source).or_default();
        if of_source.connections >= self.count.caps.per_source {
            return false;
        }
        of_source.connections += 1;
        self.source = Some((source, Arc::clone(&of_source.streams)));
        true
    }

    fn leave_source(&mut self) {
        let Some((source, _)) = self.source.take() else { return };
        if let Entry::Occupied(mut of_source) = self.count.lock().by_source.entry(source) {
            match &mut of_source.get_mut().connections {
                1 => drop(of_source.remove()),
                more => *more -= 1,
            }
        }
    }

    /// The streams of its source; without bound where no cap applies to that.
    pub(super) fn streams(&self) -> SourceStreams {
        SourceStreams(self.source.as_ref().map(|(_, streams)| (Arc::clone(&self.count), Arc::clone(streams))))
    }
}

impl SourceStreams {
    /// Counts one more. False when the source has all that it may have; the `first` of a connection is always taken, so that nobody
    /// is shut out by a neighbour behind the same address.
    #[must_use]
    pub(super) fn begin(&self, first: bool) -> bool {
        let Some((count, streams)) = &self.0 else { return true };
        let has_place = streams.fetch_add(1, Ordering::Relaxed) < count.caps.streams_per_source || first;
        if !has_place {
            self.end();
            count.refused_streams.fetch_add(1, Ordering::Relaxed);
        }
        has_place
    }

    /// One that was counted has ended.
    pub(super) fn end(&self) {
        if let Some((_, streams)) = &self.0 {
            streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_source();
        let mut open = self.count.lock();
        open.all = open.all.saturating_sub(1);
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
        let count = Count::new(Caps { connections: 4, per_source: 2, streams_per_source: 2 });
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
    fn the_streams_of_all_connections_of_a_source_have_their_cap_and_get_their_places_back() {
        let count = Count::new(Caps { connections: 10, per_source: 5, streams_per_source: 2 });
        let places = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|source| count.take(ip(source)).unwrap());
        let [one, same, other] = places.each_ref().map(Place::streams);
        let more = |streams: &SourceStreams| streams.begin(false);
        assert!(more(&one) && more(&same) && !more(&one) && !more(&same) && more(&other));
        one.end();
        assert!(more(&same) && !more(&one));
        assert_eq!((count.take_refused_streams(), count.take_refused_streams()), (3, 0));
        assert!(one.begin(true) && !more(&same), "the first of a connection is taken, and counts");
        let exempt = count.take(None).unwrap().streams();
        assert!((0..10).all(|_| more(&exempt)));
    }

    #[test]
    fn a_connection_that_turns_out_to_be_of_another_source_is_no_longer_one_of_the_first() {
        let count = Count::new(Caps { connections: 4, per_source: 1, streams_per_source: 1 });
        let mut place = count.take(ip("192.0.2.1")).unwrap();
        assert!(place.is_of(ip("192.0.2.2").unwrap()));
        assert!(count.take(ip("192.0.2.1")).is_some() && count.take(ip("192.0.2.2")).is_none());
        drop(place);
        assert_eq!(count.lock().by_source.len(), 0);
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_source() {
        let count = Count::new(Caps { connections: 4, per_source: 1, streams_per_source: 1 });
        let place = count.take(ip("2001:db8::1"));
        assert!(place.is_some() && count.take(ip("2001:db8::ffff:1")).is_none());
        assert!(count.take(ip("2001:db8:0:1::1")).is_some());
        drop(place);
        assert!(count.take(ip("2001:db8::1")).is_some());
        assert_eq!(count.lock().by_source.len(), 0, "nothing is left of what has ended");
    }
}
