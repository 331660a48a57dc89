//! One suite for every store: each case runs on a fresh one of each kind.

use super::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::clock::ManualClock;
use crate::base::identity::LoginMethod;
use crate::base::secret::SystemRandom;
use crate::session::lifetime::Limits;
use crate::session::record::Origin;
use crate::session::test_redis::TestRedis;

fn id(n: u8) -> StoredId {
    StoredId::from_bytes([n; 32])
}

fn record(user: &str) -> Record {
    Record {
        user: user.into(),
        method: LoginMethod::Password,
        credential: [1; 16],
        created_at: Timestamp::from_secs(1_000),
        last_seen_at: Timestamp::from_secs(1_000),
        absolute_at: Timestamp::from_secs(90_000),
        origin: Origin::new(Some([192, 0, 2, 7].into()), Some("Browser/1")),
    }
}

fn create(n: u8) -> Change {
    Change::Create(id(n), record("ada"))
}

fn contents(store: &mut dyn SessionStore) -> Vec<(StoredId, Record)> {
    let mut found = Vec::new();
    let loaded = store.load(&mut |id, record| found.push((id, record))).unwrap();
    assert_eq!(loaded, Loaded { records: found.len(), ..Loaded::default() });
    found.sort_by_key(|(id, _)| *id);
    found
}

/// Runs `case` on every store.
fn on_every_store(case: impl Fn(&mut dyn SessionStore)) {
    case(&mut MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    case(&mut SledStore::open(&folder.path().join("sessions"), &SystemRandom).unwrap());
    let server = TestRedis::start();
    case(&mut redis(&server));
}

fn redis(server: &TestRedis) -> RedisStore {
    let limits = Limits { duration: Duration::from_secs(89_000), idle_timeout: Duration::from_secs(7_200) };
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
    RedisStore::open(&RedisAddress::parse(&server.url()).unwrap(), limits, clock).unwrap()
}

#[test]
fn a_fresh_store_is_empty() {
    on_every_store(|store| assert_eq!(contents(store), []));
}

#[test]
fn what_is_created_is_read_and_loaded_as_it_was() {
    on_every_store(|store| {
        assert_eq!(store.commit(&[create(1), create(2)]).unwrap(), [Outcome::Done; 2]);
        assert_eq!(store.read(&id(1)).unwrap(), Some(record("ada")));
        assert_eq!(store.read(&id(9)).unwrap(), None);
        assert_eq!(contents(store), [(id(1), record("ada")), (id(2), record("ada"))]);
    });
}

#[test]
fn create_never_overwrites() {
    on_every_store(|store| {
        let other = Change::Create(id(1), record("eve"));
        assert_eq!(store.commit(&[create(1), other.clone()]).unwrap(), [Outcome::Done, Outcome::Unchanged]);
        assert_eq!(store.commit(&[other]).unwrap(), [Outcome::Unchanged]);
        assert_eq!(store.read(&id(1)).unwrap(), Some(record("ada")));
    });
}

#[test]
fn a_touch_moves_the_last_activity_forward_only() {
    on_every_store(|store| {
        store.commit(&[create(1)]).unwrap();
        let touch = |secs| Change::Touch(id(1), Timestamp::from_secs(secs));
        assert_eq!(store.commit(&[touch(2_000), touch(1_500)]).unwrap(), [Outcome::Done; 2]);
        let touched = Record { last_seen_at: Timestamp::from_secs(2_000), ..record("ada") };
        assert_eq!(store.read(&id(1)).unwrap(), Some(touched));
    });
}

#[test]
fn a_touch_never_brings_back_what_was_deleted() {
    on_every_store(|store| {
        let touch = Change::Touch(id(1), Timestamp::from_secs(2_000));
        store.commit(&[create(1)]).unwrap();
        let together = store.commit(&[Change::Delete(id(1)), touch.clone()]).unwrap();
        assert_eq!(together, [Outcome::Done, Outcome::Unchanged]);
        assert_eq!(store.commit(&[touch]).unwrap(), [Outcome::Unchanged]);
        assert_eq!(contents(store), []);
    });
}

#[test]
fn deleting_twice_is_fine() {
    on_every_store(|store| {
        store.commit(&[create(1)]).unwrap();
        assert_eq!(store.commit(&[Change::Delete(id(1))]).unwrap(), [Outcome::Done]);
        assert_eq!(store.commit(&[Change::Delete(id(1))]).unwrap(), [Outcome::Unchanged]);
    });
}

#[test]
fn an_end_and_a_beginning_are_one_commit() {
    on_every_store(|store| {
        store.commit(&[create(1)]).unwrap();
        assert_eq!(store.commit(&[Change::Delete(id(1)), create(2)]).unwrap(), [Outcome::Done; 2]);
        assert_eq!(contents(store), [(id(2), record("ada"))]);
    });
}

#[test]
fn a_commit_of_nothing_is_fine() {
    on_every_store(|store| assert_eq!(store.commit(&[]).unwrap(), []));
}

#[test]
fn opening_anew_keeps_what_was_acknowledged() {
    on_every_store(|store| {
        store.commit(&[create(1), create(2)]).unwrap();
        store.commit(&[Change::Delete(id(2))]).unwrap();
        store.reopen().unwrap();
        assert_eq!(contents(store), [(id(1), record("ada"))]);
    });
}

#[test]
fn the_moment_before_which_all_is_over_is_kept() {
    on_every_store(|store| {
        assert_eq!(store.not_before(), Timestamp::default());
        store.set_not_before(Timestamp::from_secs(5)).unwrap();
        store.reopen().unwrap();
        assert_eq!(store.not_before(), Timestamp::from_secs(5));
    });
}

#[test]
fn ten_thousand_changes_in_one_commit_hold_together() {
    on_every_store(|store| {
        let name = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            StoredId::from_bytes(bytes)
        };
        let creates: Vec<_> = (0..10_000).map(|n| Change::Create(name(n), record("ada"))).collect();
        store.commit(&creates).unwrap();
        let deletes: Vec<_> = (0..9_999).map(|n| Change::Delete(name(n))).collect();
        store.commit(&deletes).unwrap();
        assert_eq!(contents(store), [(name(9_999), record("ada"))]);
    });
}

#[test]
fn touches_and_deletes_from_several_threads_leave_no_record() {
    on_every_store(|store| {
        const SESSIONS: u8 = 100;
        store.commit(&(0..SESSIONS).map(create).collect::<Vec<_>>()).unwrap();
        let store = Mutex::new(store);
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for changes in [touch as fn(u8) -> Change, |n| Change::Delete(id(n)), touch] {
                let (store, barrier) = (&store, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (0..SESSIONS).for_each(|n| drop(store.lock().unwrap().commit(&[changes(n)]).unwrap()));
                });
            }
        });
        assert_eq!(contents(&mut **store.lock().unwrap()), []);
    });
}

#[test]
fn of_two_who_create_the_same_id_one_wins() {
    on_every_store(|store| {
        let store = Mutex::new(store);
        let made = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for user in ["ada", "eve"] {
                let (store, made) = (&store, &made);
                scope.spawn(move || {
                    let outcomes =
                        store.lock().unwrap().commit(&[Change::Create(id(1), record(user))]).unwrap();
                    if outcomes == [Outcome::Done] {
                        made.lock().unwrap().push(user);
                    }
                });
            }
        });
        let made = made.into_inner().unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(contents(&mut **store.lock().unwrap()), [(id(1), record(made[0]))]);
    });
}

fn touch(n: u8) -> Change {
    Change::Touch(id(n), Timestamp::from_secs(2_000))
}
