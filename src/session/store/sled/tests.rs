use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::base::identity::LoginMethod;
use crate::base::secret::SystemRandom;
use crate::session::record::Origin;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("sessions")
    }

    fn open(&self) -> SledStore {
        SledStore::open(&self.path(), &SystemRandom).unwrap()
    }

    fn copy_to(&self, name: &str) -> PathBuf {
        let to = self.0.path().join(name);
        copy(&self.path(), &to);
        to
    }

    fn put_back(&self, from: &Path) {
        fs::remove_dir_all(self.path()).unwrap();
        copy(from, &self.path());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.metadata().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn id(n: u8) -> StoredId {
    StoredId::from_bytes([n; 32])
}

fn create(n: u8) -> Change {
    Change::Create(
        id(n),
        Record {
            user: "ada".into(),
            method: LoginMethod::Password,
            credential: [1; 16],
            created_at: Timestamp::from_secs(1_000),
            last_seen_at: Timestamp::from_secs(1_000),
            absolute_at: Timestamp::from_secs(90_000),
            origin: Origin::default(),
        },
    )
}

fn load(store: &mut SledStore) -> (Vec<StoredId>, Loaded) {
    let mut found = Vec::new();
    let loaded = store.load(&mut |id, _| found.push(id)).unwrap();
    if loaded.dropped.is_some() {
        found.clear();
    }
    found.sort();
    (found, loaded)
}

#[test]
fn acknowledged_changes_are_on_disk_without_a_close() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&[create(1), create(2)]).unwrap();
    store.commit(&[Change::Delete(id(2))]).unwrap();
    // The files as they are at this moment are what a kill would leave.
    let files = place.copy_to("killed");
    fs::copy(place.0.path().join("sessions.marker"), place.0.path().join("killed.marker")).unwrap();
    let mut after = SledStore::open(&files, &SystemRandom).unwrap();
    assert_eq!(load(&mut after), (vec![id(1)], Loaded { records: 1, ..Loaded::default() }));
}

#[test]
fn a_second_opening_of_the_same_store_is_refused_clearly_and_the_first_goes_on() {
    let place = Place::new();
    let mut first = place.open();
    let refused = SledStore::open(&place.path(), &SystemRandom).err().unwrap();
    assert!(matches!(refused, SledError::InUse { .. }), "{refused}");
    first.commit(&[create(1)]).unwrap();
}

#[test]
fn a_trailing_slash_is_the_same_store() {
    let place = Place::new();
    place.open().commit(&[create(1)]).unwrap();
    let slashed = PathBuf::from(format!("{}/", place.path().display()));
    assert_eq!(load(&mut SledStore::open(&slashed, &SystemRandom).unwrap()).0, [id(1)]);
    assert_eq!(SledStore::latest_moment(&slashed), Timestamp::from_secs(1_000));
}

#[test]
fn folder_and_files_are_for_their_owner_only() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&[create(1)]).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.path()), 0o700);
    assert_eq!(mode(place.path().join("db")), 0o600);
    assert_eq!(mode(place.0.path().join("sessions.marker")), 0o600);
}

#[test]
fn an_unreadable_record_is_set_aside_and_the_others_load() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&[create(1), create(2)]).unwrap();
    let mut newer = store.open.as_ref().unwrap().db.get([2; 32]).unwrap().unwrap().to_vec();
    newer[0] = 99;
    store.open.as_ref().unwrap().db.insert([2; 32], newer.clone()).unwrap();
    assert_eq!(load(&mut store), (vec![id(1)], Loaded { records: 1, quarantined: 1, dropped: None }));
    // Kept for whoever can read it, counted once.
    let kept = store.open.as_ref().unwrap().db.open_tree(QUARANTINE).unwrap().get([2; 32]).unwrap();
    assert_eq!(kept.unwrap(), newer);
    drop(store);
    assert_eq!(load(&mut place.open()), (vec![id(1)], Loaded { records: 1, ..Loaded::default() }));
}

#[test]
fn an_emptied_store_is_not_taken_for_a_fresh_one() {
    let place = Place::new();
    place.open().commit(&[create(1)]).unwrap();
    fs::remove_dir_all(place.path()).unwrap();
    let (found, loaded) = load(&mut place.open());
    assert_eq!((found, loaded.dropped), (vec![], Some(Distrust::StoreReplaced)));
    assert_eq!(load(&mut place.open()).1, Loaded::default(), "said once");
}

#[test]
fn what_is_written_after_a_distrusted_start_survives_a_kill() {
    // A bit in the header of sled's first segment, each in turn: the log behind it is not found again.
    for at in 0..20 {
        let place = Place::new();
        place.open().commit(&[create(1)]).unwrap();
        for entry in fs::read_dir(place.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let db = fs::OpenOptions::new().read(true).write(true).open(place.path().join("db")).unwrap();
        let mut byte = [0];
        db.read_exact_at(&mut byte, at).unwrap();
        db.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let mut store = place.open();
        assert!(load(&mut store).1.dropped.is_some(), "byte {at}");
        store.commit(&[create(2)]).unwrap();
        let files = place.copy_to("killed");
        fs::copy(place.0.path().join("sessions.marker"), place.0.path().join("killed.marker")).unwrap();
        let mut after = SledStore::open(&files, &SystemRandom).unwrap();
        assert_eq!(load(&mut after), (vec![id(2)], Loaded { records: 1, ..Loaded::default() }), "byte {at}");
        assert!(files.join("damaged/db").exists(), "the damaged files stay for whoever wants to look");
    }
}

#[test]
fn a_flip_at_offset_zero_is_not_taken_for_a_fresh_store() {
    let place = Place::new();
    place.open().commit(&[create(1)]).unwrap();
    let file = fs::OpenOptions::new().write(true).read(true).open(place.path().join("db")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 0).unwrap();
    match SledStore::open(&place.path(), &SystemRandom) {
        Ok(mut store) => assert_ne!(load(&mut store).1.dropped, None),
        Err(error) => assert!(matches!(error, SledError::Damaged { .. }), "{error}"),
    }
}

#[test]
fn a_lost_marker_ends_all_sessions() {
    let place = Place::new();
    place.open().commit(&[create(1)]).unwrap();
    fs::remove_file(place.0.path().join("sessions.marker")).unwrap();
    let (found, loaded) = load(&mut place.open());
    assert_eq!((found, loaded.dropped), (vec![], Some(Distrust::MarkerGone)));
}

#[test]
fn yesterdays_copy_put_back_never_revives_a_logged_out_session() {
    let place = Place::new();
    place.open().commit(&[create(1), create(2)]).unwrap();
    let yesterday = place.copy_to("yesterday");
    let mut store = place.open();
    store.commit(&[Change::Delete(id(1))]).unwrap();
    drop(store);
    place.put_back(&yesterday);
    let (found, loaded) = load(&mut place.open());
    assert_eq!((found, loaded.dropped), (vec![], Some(Distrust::RolledBack)));
}

#[test]
fn another_store_in_its_place_is_not_trusted() {
    let (place, other) = (Place::new(), Place::new());
    place.open().commit(&[create(1)]).unwrap();
    other.open().commit(&[create(2)]).unwrap();
    place.put_back(&other.path());
    let (found, loaded) = load(&mut place.open());
    assert_eq!((found, loaded.dropped), (vec![], Some(Distrust::StoreReplaced)));
}

#[test]
fn a_record_that_came_back_by_itself_ends_all_sessions() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&[create(1), create(2)]).unwrap();
    let bytes = store.open.as_ref().unwrap().db.get([2; 32]).unwrap().unwrap();
    store.commit(&[Change::Delete(id(2))]).unwrap();
    store.open.as_ref().unwrap().db.insert([2; 32], bytes).unwrap();
    drop(store);
    let (found, loaded) = load(&mut place.open());
    assert_eq!((found, loaded.dropped), (vec![], Some(Distrust::RecordsLost)));
}

#[test]
fn unfinished_and_junk_snapshots_do_not_stop_the_start() {
    let place = Place::new();
    place.open().commit(&[create(1)]).unwrap();
    fs::write(place.path().join("snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    assert_eq!(load(&mut place.open()).0, [id(1)]);
    fs::write(place.path().join("snap.00000000FFFFFFFF"), b"junk").unwrap();
    assert_eq!(load(&mut place.open()).0, [id(1)]);
}

#[test]
fn flipped_bits_and_cut_ends_never_panic_and_never_revive() {
    let place = Place::new();
    let mut store = place.open();
    for n in 1..40 {
        store.commit(&[create(n)]).unwrap();
    }
    store.commit(&[Change::Delete(id(7))]).unwrap();
    drop(store);
    let whole = place.copy_to("whole");
    let marker = fs::read(place.0.path().join("sessions.marker")).unwrap();
    place.put_back(&whole);
    assert_eq!(
        load(&mut place.open()).1,
        Loaded { records: 38, ..Loaded::default() },
        "whole without damage"
    );
    let length = fs::metadata(whole.join("db")).unwrap().len();
    let mut at: u64 = 12_345;
    for round in 0..40_u64 {
        place.put_back(&whole);
        fs::write(place.0.path().join("sessions.marker"), &marker).unwrap();
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (at >> 20) % length;
        let file = fs::OpenOptions::new().write(true).read(true).open(place.path().join("db")).unwrap();
        if round % 4 == 0 {
            file.set_len(length - offset).unwrap();
        } else {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << (round % 8))], offset).unwrap();
        }
        drop(file);
        if let Ok(mut store) = SledStore::open(&place.path(), &SystemRandom) {
            let mut found = Vec::new();
            // Damage that shows only while reading is an error, too.
            if !store.load(&mut |id, _| found.push(id)).is_ok_and(|loaded| loaded.dropped.is_none()) {
                found.clear();
            }
            assert!(!found.contains(&id(7)), "round {round}: logged out before the damage, and back");
        }
    }
}

#[test]
fn the_marker_tells_the_latest_moment_without_opening_the_store() {
    let place = Place::new();
    assert_eq!(SledStore::latest_moment(&place.path()), Timestamp::default());
    place.open().commit(&[create(1)]).unwrap();
    assert_eq!(SledStore::latest_moment(&place.path()), Timestamp::from_secs(1_000));
}

#[test]
fn a_folder_that_everyone_may_change_is_refused_and_keeps_its_mode() {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let (shared, store) = (place.path().join("shared"), place.path().join("shared/store"));
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("other"), "").unwrap();
    set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    for path in [&shared, &store] {
        let refused = SledStore::open(path, &SystemRandom).err().expect("refused");
        assert!(refused.to_string().contains("chmod go-w"), "{refused}");
    }
    assert_eq!(metadata(&shared).unwrap().permissions().mode() & 0o7777, 0o777);
    set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    assert!(SledStore::open(&store, &SystemRandom).is_ok());
}

/// A login answered on damage that the start did not meet must not be lost at the next start.
#[test]
fn what_is_written_after_a_start_is_found_by_the_next_one_wherever_the_log_is_damaged() {
    let place = Place::new();
    let mut store = place.open();
    for round in 0..40 {
        let passing = 100 + round % 20;
        store.commit(&[create(1 + round % 5), create(passing)]).unwrap();
        store.commit(&[Change::Delete(id(passing))]).unwrap();
    }
    drop(store);
    // Once more, so that a snapshot stands for the log.
    drop(place.open());
    let whole = place.copy_to("whole");
    let marker = fs::read(place.path().with_extension("marker")).unwrap();
    let used = fs::read(place.path().join("db")).unwrap();
    let used = used.len() - used.iter().rev().take_while(|byte| **byte == 0).count();
    let mut noticed = 0;
    for trial in 0..32 {
        place.put_back(&whole);
        fs::write(place.path().with_extension("marker"), &marker).unwrap();
        let mut bytes = fs::read(place.path().join("db")).unwrap();
        // The head of the segment that is written on, then places all over the log.
        bytes[if trial < 20 { trial } else { trial * used / 32 }] ^= 4;
        fs::write(place.path().join("db"), bytes).unwrap();
        let Ok(mut store) = SledStore::open(&place.path(), &SystemRandom) else { continue };
        let Ok(loaded) = store.load(&mut |_, _| {}) else { continue };
        noticed += usize::from(loaded.dropped.is_some());
        store.commit(&[create(200)]).unwrap();
        // As a kill would leave it: closing in order would write more.
        let killed = place.copy_to(&format!("killed{trial}"));
        fs::copy(place.path().with_extension("marker"), killed.with_extension("marker")).unwrap();
        drop(store);
        let (found, loaded) = load(&mut SledStore::open(&killed, &SystemRandom).unwrap());
        assert_eq!((found.contains(&id(200)), loaded.dropped), (true, None), "trial {trial}");
    }
    assert!(noticed > 0);
}
