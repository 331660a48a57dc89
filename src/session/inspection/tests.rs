use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::base::identity::{Identity, LoginMethod};
use crate::base::secret::SystemRandom;
use crate::session::record::Origin;
use crate::session::store::{Change, SessionStore};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const LIMITS: Limits =
    Limits { duration: Duration::from_secs(86_400), idle_timeout: Duration::from_secs(7_200) };

fn record(user: &str, created_at: Timestamp) -> Record {
    Record {
        user: user.into(),
        method: LoginMethod::Password,
        credential: [1; 16],
        created_at,
        last_seen_at: created_at,
        absolute_at: created_at + LIMITS.duration,
        origin: Origin::default(),
    }
}

/// Knows everybody but eve.
fn subject_of(record: &Record) -> Option<Subject> {
    let identity = Arc::new(Identity::new(&record.user, None, None, &[]));
    let subject = Subject { identity, method: LoginMethod::Password, credential: [1; 16] };
    (&*record.user != "eve").then_some(subject)
}

fn found_in(folder: &Path) -> Result<Inspection, InspectionError> {
    inspect(folder, LIMITS, &subject_of, &SystemRandom, START)
}

/// A store with a live session of ada and of eve, and one that has idled out.
fn store() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("sessions");
    let mut store = SledStore::open(&folder, &SystemRandom).unwrap();
    let old = START.before(LIMITS.idle_timeout);
    let sessions = [("ada", START), ("eve", START), ("ada", old)];
    let changes: Vec<_> = (1u8..)
        .zip(sessions)
        .map(|(n, (user, at))| Change::Create(StoredId::from_bytes([n; 32]), record(user, at)))
        .collect();
    store.commit(&changes).unwrap();
    (place, folder)
}

/// Every file of a folder with its bytes and the moment of its last change.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(contents(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            found.insert(entry.path(), (bytes, metadata.modified().unwrap()));
        }
    }
    found
}

#[test]
fn sessions_are_counted_and_nothing_is_changed() {
    let (place, folder) = store();
    let before = contents(place.path());
    let expected = Inspection { live: 1, expired: 1, disowned: 1, ..Inspection::default() };
    assert_eq!(found_in(&folder).unwrap(), expected);
    assert_eq!(contents(place.path()), before);
}

#[test]
fn what_everything_before_a_moment_ended_is_told_apart() {
    let (_place, folder) = store();
    SledStore::open(&folder, &SystemRandom).unwrap().set_not_before(START).unwrap();
    assert_eq!(found_in(&folder).unwrap(), Inspection { ended: 2, expired: 1, ..Inspection::default() });
}

#[test]
fn a_store_without_its_marker_is_not_trusted_and_still_counted() {
    let (_place, folder) = store();
    fs::remove_file(beside(&folder, ".marker")).unwrap();
    let found = found_in(&folder).unwrap();
    assert_eq!((found.live, found.distrust), (1, Some(Distrust::MarkerGone)));
    assert!(!beside(&folder, ".marker").exists(), "looking makes no marker");
}

#[test]
fn records_that_the_last_commit_counted_and_that_are_gone_are_counted_as_missing() {
    let (_place, folder) = store();
    let sled = sled::Config::new().path(&folder).mode(sled::Mode::LowSpace).open().unwrap();
    assert!(sled.remove([1; 32]).unwrap().is_some());
    sled.flush().unwrap();
    drop(sled);
    let found = found_in(&folder).unwrap();
    assert_eq!((found.missing, found.distrust), (1, Some(Distrust::RecordsLost)));
    assert_eq!(found.live + found.expired + found.disowned, 2);
}

#[test]
fn a_store_in_use_and_a_store_that_is_not_there_are_refused() {
    let (place, folder) = store();
    let open = SledStore::open(&folder, &SystemRandom).unwrap();
    assert!(matches!(found_in(&folder), Err(InspectionError::InUse(_))));
    drop(open);
    assert!(found_in(&folder).is_ok());
    let absent = place.path().join("absent");
    assert!(matches!(found_in(&absent), Err(InspectionError::Absent(_))));
    assert!(!absent.exists());
}

#[test]
fn a_damaged_store_is_not_trusted_or_an_error_that_names_it() {
    let (_place, folder) = store();
    let mut bytes = fs::read(folder.join("db")).unwrap();
    bytes[0] ^= 1;
    fs::write(folder.join("db"), bytes).unwrap();
    match found_in(&folder) {
        Err(error) => assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}"),
        Ok(found) => assert!(found.distrust.is_some(), "{found:?}"),
    }
}

#[test]
fn an_export_at_rest_holds_what_lives_and_the_store_remembers_that_it_left() {
    let (place, folder) = store();
    let before = contents(place.path());
    let exported = export_at_rest(&folder, LIMITS, &SystemRandom, START).unwrap();
    let ids: Vec<_> = exported.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [StoredId::from_bytes([1; 32]), StoredId::from_bytes([2; 32])]);
    let mut after = contents(place.path());
    assert!(after.remove(&beside(&folder, ".ledger")).is_some());
    assert_eq!(after, before);
    let asked = [(ids[0], START + LIMITS.duration), (StoredId::from_bytes([9; 32]), START)];
    let known = SledStore::open(&folder, &SystemRandom).unwrap().exchange(&asked, START).unwrap();
    assert_eq!(known.unwrap().into_iter().collect::<Vec<_>>(), [ids[0]]);
}

#[test]
fn a_copy_and_a_distrusted_store_are_not_exported() {
    let (_place, folder) = store();
    let export = || export_at_rest(&folder, LIMITS, &SystemRandom, START);
    fs::remove_file(beside(&folder, ".lock")).unwrap();
    assert!(matches!(export(), Err(InspectionError::NotTheStore(_))));
    fs::remove_file(beside(&folder, ".marker")).unwrap();
    assert!(matches!(export(), Err(InspectionError::Distrusted(Distrust::MarkerGone))));
    assert!(!beside(&folder, ".ledger").exists());
}
