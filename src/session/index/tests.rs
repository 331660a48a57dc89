use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::identity::LoginMethod;
use crate::session::live::Account;
use crate::session::record::{Origin, Record};

fn session(id: StoredId) -> Arc<LiveSession> {
    let (created_at, absolute_at) = (Timestamp::from_secs(1), Timestamp::from_secs(100));
    let (user, method, credential, origin) =
        ("ada".into(), LoginMethod::Password, [1; 16], Origin::default());
    let record =
        Record { user, method, credential, created_at, last_seen_at: created_at, absolute_at, origin };
    LiveSession::new(id, &record, Arc::new(Account::new("ada", None, Duration::from_secs(10)))).into()
}

/// Ids that begin with `start` and differ behind it.
fn id(start: u64, rest: u8) -> StoredId {
    let mut bytes = [rest; 32];
    bytes[..8].copy_from_slice(&start.to_le_bytes());
    StoredId::from_bytes(bytes)
}

fn scattered(n: u64) -> StoredId {
    id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1)
}

#[test]
fn what_was_entered_is_found_and_what_has_left_is_not() {
    let index = Index::new();
    for n in 0..50_000 {
        index.insert(&session(scattered(n)));
    }
    for n in (0..50_000).step_by(2) {
        index.remove(&scattered(n));
    }
    assert_eq!((index.len(), index.all().len()), (25_000, 25_000));
    for n in 0..50_000 {
        assert_eq!(index.find(&scattered(n)).is_some(), n % 2 == 1, "{n}");
    }
    assert!(index.find(&scattered(50_001)).is_none());
}

#[test]
fn ids_that_begin_alike_are_different_sessions() {
    let index = Index::new();
    // Zero, one and two are the hard ones: two of them are marks of empty slots.
    for start in [0, 1, 2, 3, u64::MAX] {
        for rest in 1..9 {
            index.insert(&session(id(start, rest)));
        }
    }
    for start in [0, 1, 2, 3, u64::MAX] {
        assert_eq!(index.starting_with(start).len(), 8);
        assert!(index.find(&id(start, 9)).is_none());
        let found = index.find(&id(start, 5)).unwrap();
        assert_eq!(found.stored_id(), id(start, 5));
        index.remove(&id(start, 5));
        assert!(index.find(&id(start, 5)).is_none() && index.find(&id(start, 6)).is_some());
    }
}

#[test]
fn coming_and_going_does_not_make_it_grow() {
    let index = Index::new();
    for n in 0..200_000 {
        index.insert(&session(scattered(n)));
        if n >= 2_000 {
            index.remove(&scattered(n - 2_000));
        }
    }
    let slots: usize = index.shards.iter().map(|shard| shard.slots.load().len()).sum();
    assert_eq!(index.len(), 2_000);
    assert!(slots < 20_000, "{slots} slots");
}

#[test]
fn a_session_that_stays_is_found_at_every_moment_while_others_come_and_go() {
    let index = Index::new();
    let staying: Vec<_> = (0..500).map(|n| id(n * (u64::MAX / 500), 7)).collect();
    staying.iter().for_each(|id| index.insert(&session(*id)));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for id in &staying {
                        let found = index.find(id).expect("it never left");
                        assert_eq!(found.stored_id(), *id);
                    }
                }
            });
        }
        for n in 0..100_000_u64 {
            index.insert(&session(scattered(n)));
            if n >= 300 {
                index.remove(&scattered(n - 300));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_session_that_was_removed_by_another_thread_is_gone_when_that_returns() {
    let index = Index::new();
    std::thread::scope(|scope| {
        for part in 0..4_u64 {
            let index = &index;
            scope.spawn(move || {
                for n in 0..5_000 {
                    let id = scattered(part * 5_000 + n);
                    index.insert(&session(id));
                    assert!(index.find(&id).is_some());
                    if n % 3 > 0 {
                        index.remove(&id);
                        assert!(index.find(&id).is_none());
                    }
                }
            });
        }
    });
    assert_eq!(index.len(), 4 * 1667);
}

proptest! {
    #[test]
    fn it_is_a_map(changes in proptest::collection::vec((0_u64..6, 1_u8..4, any::<bool>()), 0..200)) {
        let (index, mut model) = (Index::new(), HashMap::new());
        for (start, rest, comes) in changes {
            // All in one shard, and in one run of slots.
            let id = id(start * SHARDS, rest);
            if comes {
                let session = session(id);
                index.insert(&session);
                model.insert(id, session);
            } else {
                index.remove(&id);
                model.remove(&id);
            }
            prop_assert_eq!(index.len(), model.len());
        }
        for start in 0..6 {
            for rest in 1..4 {
                let id = id(start * SHARDS, rest);
                let (found, wanted) = (index.find(&id), model.get(&id));
                prop_assert_eq!(found.as_ref().map(Arc::as_ptr), wanted.map(Arc::as_ptr));
            }
        }
    }
}
