//! What must hold over every store alike: expiry and races, through the manager (S5, S10, S14).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::rig::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::secret::SystemRandom;
use crate::session::store::RedisAddress;
use crate::session::test_redis::TestRedis;
use crate::session::writer::Command;
use crate::session::{Activity, EndReason, Managed, Origin, Rejection, SessionManager, StoreSettings};

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(7200);
const HOUR: Duration = Duration::from_secs(3600);

fn open(store: StoreSettings) -> (Arc<SessionManager>, ManualClock) {
    let (clock, random) = (ManualClock::new(START), Arc::new(SystemRandom));
    let opened = SessionManager::open(&settings(store), Arc::new(clock.clone()), random, everybody);
    (opened.unwrap().0, clock)
}

/// Runs `case` over every store.
async fn on_every_store(case: impl AsyncFn(Arc<SessionManager>, ManualClock)) {
    let folder = tempfile::tempdir().unwrap();
    let server = TestRedis::start();
    let address = RedisAddress::parse(&server.url()).unwrap();
    for store in [
        StoreSettings::Memory,
        StoreSettings::Sled { path: folder.path().join("sessions") },
        StoreSettings::Redis { address, grace: Duration::from_secs(30) },
    ] {
        let (manager, clock) = open(store);
        case(Arc::clone(&manager), clock).await;
        manager.close().await;
    }
}

async fn log_in(manager: &SessionManager, clock: &ManualClock) -> Browser {
    manager.create(&subject("ada"), None, Origin::default(), true, clock.now()).await.unwrap().into()
}

/// Both steps, as a request takes them.
async fn ask(
    manager: &SessionManager,
    browser: &Browser,
    activity: Activity,
    clock: &ManualClock,
) -> Managed {
    let (headers, now) = (browser.headers(), clock.now());
    let first = manager.manage(&headers, true, activity, now);
    manager.resolve(first, &headers, true, activity, now).await
}

#[tokio::test]
async fn over_every_store_the_idle_limit_holds_to_the_second_and_nothing_revives() {
    on_every_store(async |manager, clock| {
        let ada = log_in(&manager, &clock).await;
        clock.advance(IDLE - SECOND);
        assert!(ask(&manager, &ada, Activity::Ignored, &clock).await.session.is_some());
        clock.advance(SECOND);
        assert_eq!(ask(&manager, &ada, Activity::Ignored, &clock).await.rejected, Some(Rejection::Expired));
        ada.session.mark_activity(clock.now(), SECOND);
        assert!(ask(&manager, &ada, Activity::Counts, &clock).await.session.is_none());
    })
    .await;
}

#[tokio::test]
async fn over_every_store_the_absolute_limit_holds_however_active_the_session_is() {
    on_every_store(async |manager, clock| {
        let ada = log_in(&manager, &clock).await;
        for _ in 0..23 {
            clock.advance(HOUR);
            assert!(ask(&manager, &ada, Activity::Counts, &clock).await.session.is_some());
            manager.settle().await.unwrap();
        }
        clock.advance(HOUR - SECOND);
        assert!(ask(&manager, &ada, Activity::Counts, &clock).await.session.is_some());
        clock.advance(SECOND);
        assert_eq!(ask(&manager, &ada, Activity::Counts, &clock).await.rejected, Some(Rejection::Expired));
    })
    .await;
}

#[tokio::test]
async fn over_every_store_a_login_ends_the_session_it_was_made_with() {
    on_every_store(async |manager, clock| {
        let first = log_in(&manager, &clock).await;
        let ended = Some(first.session.stored_id());
        let second =
            manager.create(&subject("ada"), ended, Origin::default(), true, clock.now()).await.unwrap();
        assert_eq!(first.session.ended(), Some(EndReason::Replaced));
        let ids = vec![first.session.stored_id(), second.session.stored_id()];
        let kept = manager.ask(|reply| Command::Read(ids, reply)).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].0, second.session.stored_id());
    })
    .await;
}

#[tokio::test]
async fn over_every_store_races_of_touch_and_logout_leave_no_live_record() {
    on_every_store(async |manager, clock| races(&manager, &clock, 60).await).await;
}

#[tokio::test]
async fn over_redis_a_thousand_races_of_touch_and_logout_leave_no_live_record() {
    let server = TestRedis::start();
    let address = RedisAddress::parse(&server.url()).unwrap();
    let (manager, clock) = open(StoreSettings::Redis { address, grace: Duration::from_secs(30) });
    races(&manager, &clock, 1000).await;
    manager.close().await;
}

async fn races(manager: &Arc<SessionManager>, clock: &ManualClock, rounds: u64) {
    for round in 0..rounds {
        let ada = log_in(manager, clock).await;
        let stop = Arc::new(AtomicBool::new(false));
        let slow = std::thread::spawn({
            let (manager, stop, headers) = (Arc::clone(manager), Arc::clone(&stop), ada.headers());
            move || {
                let mut now = START + Duration::from_secs(60);
                // Every look is one touch period later: each of them is a write.
                while !stop.load(Ordering::Relaxed) {
                    manager.manage(&headers, true, Activity::Counts, now);
                    now = now + Duration::from_secs(60 + round % 7);
                }
            }
        });
        for _ in 0..round % 5 {
            std::thread::yield_now();
        }
        manager.destroy(&ada.session, clock.now()).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        slow.join().unwrap();
        manager.settle().await.unwrap();
        let id = ada.session.stored_id();
        let kept = manager.ask(|reply| Command::Read(vec![id], reply)).await.unwrap();
        assert_eq!(kept, [], "round {round}");
        assert!(manager.get(&id, clock.now()).is_none(), "round {round}");
    }
}
