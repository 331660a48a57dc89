//! Start, restart, and what is on the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rig::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::identity::Subject;
use crate::base::secret::{Secret, SystemRandom};
use crate::session::store::SledError;
use crate::session::{
    Activity, OpenError, OpenReport, Origin, SecureMode, SessionManager, Settings, StoreSettings,
};

const IDLE: Duration = Duration::from_secs(7200);

fn sled(folder: &Path) -> Settings {
    settings(StoreSettings::Sled { path: folder.join("sessions") })
}

fn open(settings: &Settings, clock: &ManualClock) -> (Arc<SessionManager>, OpenReport) {
    SessionManager::open(settings, Arc::new(clock.clone()), Arc::new(SystemRandom), everybody).unwrap()
}

async fn log_in(manager: &SessionManager, clock: &ManualClock) -> Browser {
    manager.create(&subject("ada"), None, Origin::default(), true, clock.now()).await.unwrap().into()
}

fn is_in(manager: &SessionManager, browser: &Browser, clock: &ManualClock) -> bool {
    manager.manage(&browser.headers(), true, Activity::Counts, clock.now()).session.is_some()
}

#[tokio::test]
async fn sessions_survive_a_restart_and_logouts_stay() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (manager, report) = open(&sled(folder.path()), &clock);
    assert_eq!(report, OpenReport::default());
    let (stays, goes) = (log_in(&manager, &clock).await, log_in(&manager, &clock).await);
    manager.destroy(&goes.session, clock.now()).await.unwrap();
    manager.close().await;
    let (manager, report) = open(&sled(folder.path()), &clock);
    assert_eq!(report, OpenReport { live: 1, ..OpenReport::default() });
    assert!(is_in(&manager, &stays, &clock) && !is_in(&manager, &goes, &clock));
    assert_eq!(manager.sessions_of("ada", clock.now()).len(), 1);
}

#[tokio::test]
async fn the_disk_after_an_answer_holds_the_login_and_not_the_logged_out_session() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (manager, _) = open(&sled(folder.path()), &clock);
    for round in 0..20 {
        let goes = log_in(&manager, &clock).await;
        let stays = log_in(&manager, &clock).await;
        manager.destroy(&goes.session, clock.now()).await.unwrap();
        // What a kill right after the answer would leave.
        let killed = tempfile::tempdir().unwrap();
        std::fs::create_dir(killed.path().join("sessions")).unwrap();
        for entry in std::fs::read_dir(folder.path().join("sessions")).unwrap().map(Result::unwrap) {
            // sled may replace a snapshot while we copy; a kill would not see that either.
            if entry.metadata().is_ok_and(|metadata| metadata.is_file()) {
                let _ = std::fs::copy(entry.path(), killed.path().join("sessions").join(entry.file_name()));
            }
        }
        std::fs::copy(folder.path().join("sessions.marker"), killed.path().join("sessions.marker")).unwrap();
        let (after, report) = open(&sled(killed.path()), &clock);
        assert_eq!((report.live, report.dropped), (round + 1, None));
        assert!(is_in(&after, &stays, &clock) && !is_in(&after, &goes, &clock), "round {round}");
        after.close().await;
    }
}

#[tokio::test]
async fn the_stores_files_never_hold_a_token() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (manager, _) = open(&sled(folder.path()), &clock);
    let mut needles = Vec::new();
    for _ in 0..50 {
        let text = log_in(&manager, &clock).await.token().to_owned();
        needles.push(data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap());
        needles.push(text.into_bytes());
    }
    manager.close().await;
    let mut files = 0;
    let mut folders = vec![folder.path().to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.metadata().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            for needle in &needles {
                assert!(memchr::memmem::find(&bytes, needle).is_none(), "{}", entry.path().display());
            }
        }
    }
    assert!(files >= 3, "the store was looked at");
}

#[tokio::test]
async fn a_second_manager_on_the_same_store_is_refused_and_the_first_goes_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (first, _) = open(&sled(folder.path()), &clock);
    let second = SessionManager::open(
        &sled(folder.path()),
        Arc::new(clock.clone()),
        Arc::new(SystemRandom),
        everybody,
    );
    let refused = second.err().unwrap();
    assert!(matches!(refused, OpenError::Sled(SledError::InUse { .. })), "{refused}");
    assert!(refused.to_string().contains("in use by another process"));
    let ada = log_in(&first, &clock).await;
    assert!(is_in(&first, &ada, &clock));
}

#[tokio::test]
async fn activity_that_was_written_counts_after_a_restart_and_the_limits_go_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (manager, _) = open(&sled(folder.path()), &clock);
    let ada = log_in(&manager, &clock).await;
    clock.advance(IDLE / 2);
    assert!(is_in(&manager, &ada, &clock));
    manager.close().await;
    clock.advance(IDLE / 2 + Duration::from_secs(5));
    let (manager, report) = open(&sled(folder.path()), &clock);
    assert_eq!(report.live, 1);
    assert!(is_in(&manager, &ada, &clock));
    manager.close().await;
    clock.advance(IDLE);
    let (manager, report) = open(&sled(folder.path()), &clock);
    assert_eq!((report.live, report.expired), (0, 1));
    assert!(!is_in(&manager, &ada, &clock));
}

#[tokio::test]
async fn a_clock_set_back_over_a_restart_can_be_noticed_before_the_store_opens() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let settings = sled(folder.path());
    assert_eq!(settings.latest_moment().as_millis(), 0);
    let (manager, _) = open(&settings, &clock);
    log_in(&manager, &clock).await;
    assert_eq!(settings.latest_moment(), START);
}

#[tokio::test]
async fn sessions_of_users_who_are_gone_or_rekeyed_do_not_come_back_with_a_restart() {
    let rig = Rig::new();
    for user in ["ada", "eve", "gone"] {
        rig.log_in(user).await;
    }
    let directory = |user: &str| match user {
        "ada" => Some(subject("ada")),
        "eve" => Some(Subject { credential: [9; 16], ..subject("eve") }),
        _ => None,
    };
    let after = Rig::with(&settings(StoreSettings::Memory), rig.probe.clone(), &directory);
    assert_eq!(after.report, OpenReport { live: 1, disowned: 2, ..OpenReport::default() });
    assert_eq!(after.probe.records().len(), 1);
}

#[tokio::test]
async fn a_shorter_duration_holds_for_old_sessions_and_a_longer_one_promises_them_nothing() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let hour = Duration::from_secs(3600);
    let with = |duration| Settings { duration, idle_timeout: hour, ..settings(StoreSettings::Memory) };
    let shorter = Rig::with(&with(hour), rig.probe.clone(), &everybody);
    let longer = Rig::with(&with(hour * 240), rig.probe.clone(), &everybody);
    assert_eq!(shorter.ask(&ada).session.unwrap().absolute_at(), START + hour);
    assert_eq!(longer.ask(&ada).session.unwrap().absolute_at(), START + hour * 24);
}

#[test]
fn bad_secrets_cookies_and_limits_refuse_to_start() {
    let good = settings(StoreSettings::Memory);
    let mut cookie = good.cookie.clone();
    cookie.name = Some("__Host-x".into());
    cookie.secure = SecureMode::Never;
    let cases = [
        Settings { secrets: vec![Secret::new(vec![1; 31])], ..good.clone() },
        Settings { secrets: vec![], ..good.clone() },
        Settings { cookie, ..good.clone() },
        Settings { idle_timeout: Duration::from_secs(90_000), ..good.clone() },
        Settings { idle_timeout: Duration::ZERO, ..good.clone() },
    ];
    for settings in cases {
        let clock = Arc::new(ManualClock::new(START));
        let refused =
            SessionManager::open(&settings, clock, Arc::new(SystemRandom), everybody).err().unwrap();
        assert!(refused.to_string().contains("session."), "{refused}");
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test --lib session::tests::start -- --ignored --nocapture"]
async fn two_thousand_logins_a_second_are_made_durable() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let (manager, _) = open(&sled(folder.path()), &clock);
    let local = tokio::task::LocalSet::new();
    let started = std::time::Instant::now();
    local
        .run_until(async {
            let clients: Vec<_> = (0..64)
                .map(|_| {
                    let (manager, clock) = (Arc::clone(&manager), clock.clone());
                    tokio::task::spawn_local(async move {
                        for _ in 0..200 {
                            log_in(&manager, &clock).await;
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.unwrap();
            }
        })
        .await;
    let each_second = 12_800.0 / started.elapsed().as_secs_f64();
    println!("{each_second:.0} durable logins per second");
    assert!(each_second > 2_000.0);
}
