//! Export and import at the manager (S9).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rig::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::identity::Subject;
use crate::base::secret::SystemRandom;
use crate::session::record::Record;
use crate::session::*;

fn on_disk(folder: &Path, clock: &ManualClock) -> Arc<SessionManager> {
    let settings = settings(StoreSettings::Sled { path: folder.join("sessions") });
    SessionManager::open(&settings, Arc::new(clock.clone()), Arc::new(SystemRandom), everybody).unwrap().0
}

fn record(user: &str, created_at: Timestamp) -> Record {
    Record {
        user: user.into(),
        method: subject(user).method,
        credential: [1; 16],
        created_at,
        last_seen_at: created_at,
        absolute_at: created_at + Duration::from_secs(24 * 3600),
        origin: Origin::default(),
    }
}

fn id(n: u8) -> StoredId {
    StoredId::from_bytes([n; 32])
}

/// Eve is gone, bob has a new password.
fn some(user: &str) -> Option<Subject> {
    match user {
        "eve" => None,
        "bob" => Some(Subject { credential: [9; 16], ..subject(user) }),
        _ => Some(subject(user)),
    }
}

#[tokio::test]
async fn every_session_of_an_import_is_judged_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let manager = on_disk(folder.path(), &clock);
    let brought = vec![
        (id(1), record("ada", START)),
        (id(1), record("ada", START)),
        (id(2), record("ada", START.before(Duration::from_secs(7200)))),
        (id(3), record("eve", START)),
        (id(4), record("bob", START)),
        (id(5), record("ada", START + Duration::from_millis(1))),
    ];
    let report = manager.import(brought, &some, START).await.unwrap();
    let expected = ImportReport {
        imported: 1,
        present: 1,
        expired: 1,
        disowned: 2,
        future: 1,
        ..ImportReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(manager.live(), 1);
}

#[tokio::test]
async fn an_import_at_the_cap_ends_nobody_brings_the_newest_and_goes_on() {
    for at_limit in [AtLimit::EndOldest, AtLimit::Refuse] {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreSettings::Sled { path: folder.path().join("sessions") };
        let settings = Settings { cap: Some(Cap { max_per_user: 2, at_limit }), ..settings(store) };
        let clock = Arc::new(ManualClock::new(START));
        let (manager, _) = SessionManager::open(&settings, clock, Arc::new(SystemRandom), everybody).unwrap();
        let here =
            manager.create(&subject("ada"), None, Origin::default(), true, START).await.unwrap().session;
        let at = |n: u64| START.before(Duration::from_secs(100 - n));
        let mut brought: Vec<_> = (1..=4).map(|n| (id(n), record("ada", at(n.into())))).collect();
        brought.push((id(9), record("zoe", at(0))));
        let report = manager.import(brought, &some, START).await.unwrap();
        assert_eq!(report, ImportReport { imported: 2, at_cap: 3, ..ImportReport::default() });
        assert!(here.is_live(START), "{at_limit:?}");
        let present: Vec<_> = [1, 2, 3, 4, 9].map(|n| manager.get(&id(n), START).is_some()).into();
        assert_eq!(present, [false, false, false, true, true], "{at_limit:?}");
        manager.close().await;
    }
}

#[tokio::test]
async fn activity_from_the_future_does_not_lengthen_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let manager = on_disk(folder.path(), &ManualClock::new(START));
    let record = Record { last_seen_at: START + Duration::from_secs(3600), ..record("ada", START) };
    manager.import(vec![(id(1), record)], &some, START).await.unwrap();
    assert_eq!(manager.get(&id(1), START).unwrap().last_seen_at(), START);
}

#[tokio::test]
async fn a_store_that_cannot_remember_takes_nothing_in() {
    let rig = Rig::new();
    let outcome = rig.manager.import(vec![(id(1), record("ada", START))], &some, START).await;
    assert!(matches!(outcome, Err(SessionError::NoImport)), "{outcome:?}");
    assert_eq!(rig.manager.live(), 0);
}

#[tokio::test]
async fn an_export_knows_activity_that_is_not_written_yet_and_leaves_out_what_is_over() {
    let rig = Rig::new();
    let (ada, bob) = (rig.log_in("ada").await, rig.log_in("bob").await);
    rig.manager.destroy(&bob.session, rig.now()).await.unwrap();
    rig.clock.advance(Duration::from_secs(5));
    assert!(rig.is_in(&ada));
    let exported = rig.manager.export(rig.now()).await.unwrap();
    let told: Vec<_> = exported.iter().map(|(id, record)| (*id, record.last_seen_at)).collect();
    assert_eq!(told, [(ada.session.stored_id(), rig.now())]);
}

#[tokio::test]
async fn a_damaged_ledger_refuses_export_and_import_but_no_login() {
    let folder = tempfile::tempdir().unwrap();
    let manager = on_disk(folder.path(), &ManualClock::new(START));
    std::fs::write(folder.path().join("sessions.ledger"), "rubbish").unwrap();
    assert!(matches!(manager.export(START).await, Err(SessionError::Ledger(_))));
    let brought = vec![(id(1), record("ada", START))];
    assert!(matches!(manager.import(brought, &some, START).await, Err(SessionError::Ledger(_))));
    assert!(manager.create(&subject("ada"), None, Origin::default(), true, START).await.is_ok());
    assert_eq!(manager.health().fault, None);
}

#[tokio::test]
async fn an_import_keeps_to_the_cap() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(StoreSettings::Sled { path: folder.path().join("sessions") });
    settings.cap = Some(Cap { max_per_user: 2, at_limit: AtLimit::Refuse });
    let clock = Arc::new(ManualClock::new(START));
    let (manager, _) = SessionManager::open(&settings, clock, Arc::new(SystemRandom), everybody).unwrap();
    let brought = (1..=3).map(|n| (id(n), record("ada", START))).collect();
    let report = manager.import(brought, &some, START).await.unwrap();
    assert_eq!((report.imported, report.at_cap), (2, 1));
    assert_eq!(manager.sessions_of("ada", START).len(), 2);
}

#[tokio::test]
async fn a_user_who_changes_while_their_sessions_are_brought_in_loses_them() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let manager = on_disk(folder.path(), &clock);
    let asked = std::cell::Cell::new(0);
    let changes = |user: &str| {
        asked.set(asked.get() + 1);
        // What the second look finds came into force after the first.
        let credential = if user == "bob" && asked.get() > 2 { [9; 16] } else { [1; 16] };
        Some(Subject { credential, ..subject(user) })
    };
    let brought = vec![(id(1), record("ada", START)), (id(2), record("bob", START))];
    assert_eq!(manager.import(brought, &changes, START).await.unwrap().imported, 2);
    let live: Vec<_> = manager.all_sessions(START).iter().map(|session| session.stored_id()).collect();
    assert_eq!(live, [id(1)]);
}
