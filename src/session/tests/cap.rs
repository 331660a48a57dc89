//! How many sessions one user may have (S34).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::rig::*;
use crate::session::{AtLimit, Cap, EndReason, Origin, SessionError, Settings, StoreSettings};

const IDLE: Duration = Duration::from_secs(7200);

fn capped(max_per_user: usize, at_limit: AtLimit) -> Rig {
    let cap = Some(Cap { max_per_user, at_limit });
    Rig::with(&Settings { cap, ..settings(StoreSettings::Memory) }, Probe::default(), &everybody)
}

/// Logs ada in `count` times at once, each from a thread of its own, while another thread looks on; the outcomes, and the most
/// sessions that were ever seen.
fn at_once(rig: &Arc<Rig>, count: usize) -> (Vec<Result<Browser, SessionError>>, usize) {
    let (start, done) = (Arc::new(Barrier::new(count)), Arc::new(AtomicBool::new(false)));
    let watcher = std::thread::spawn({
        let (rig, done) = (Arc::clone(rig), Arc::clone(&done));
        move || {
            let mut most = 0;
            while !done.load(Ordering::SeqCst) {
                most = most.max(rig.manager.sessions_of("ada", rig.now()).len());
            }
            most
        }
    });
    let logins: Vec<_> = (0..count)
        .map(|_| {
            let (rig, start) = (Arc::clone(rig), Arc::clone(&start));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                start.wait();
                runtime.block_on(rig.try_log_in("ada"))
            })
        })
        .collect();
    let outcomes = logins.into_iter().map(|login| login.join().unwrap()).collect();
    done.store(true, Ordering::SeqCst);
    (outcomes, watcher.join().unwrap())
}

#[test]
fn of_64_simultaneous_logins_exactly_the_cap_lives_on_when_the_oldest_end() {
    for cap in [1, 5] {
        let rig = Arc::new(capped(cap, AtLimit::EndOldest));
        let (outcomes, most) = at_once(&rig, 64);
        let browsers: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(browsers.iter().filter(|browser| rig.is_in(browser)).count(), cap);
        assert!(most <= cap, "{most} sessions were seen at a moment");
        assert_eq!(rig.manager.sessions_of("ada", rig.now()).len(), cap);
        assert_eq!(rig.probe.records().len(), cap, "the store agrees");
        assert_eq!(rig.manager.counters().ended(EndReason::Cap), 64 - cap as u64);
    }
}

#[test]
fn of_64_simultaneous_logins_exactly_the_cap_is_let_in_when_others_are_refused() {
    for cap in [1, 5] {
        let rig = Arc::new(capped(cap, AtLimit::Refuse));
        let (outcomes, most) = at_once(&rig, 64);
        assert!(most <= cap, "{most} sessions were seen at a moment");
        let refused = outcomes.iter().filter(|o| matches!(o, Err(SessionError::AtCap))).count();
        let live = outcomes.iter().flatten().filter(|browser| rig.is_in(browser)).count();
        assert_eq!((refused, live, rig.probe.records().len()), (64 - cap, cap, cap));
        assert_eq!(rig.manager.counters().refused_at_cap.load(Ordering::SeqCst), refused as u64);
        assert_eq!(rig.manager.counters().ended(EndReason::Cap), 0);
    }
}

#[tokio::test]
async fn logins_that_share_one_commit_count_each_other() {
    let rig = Arc::new(capped(3, AtLimit::EndOldest));
    let local = tokio::task::LocalSet::new();
    let browsers = local
        .run_until(async {
            // All of them are in the writer's queue before it can have answered one.
            let logins: Vec<_> = (0..64)
                .map(|_| {
                    let rig = Arc::clone(&rig);
                    tokio::task::spawn_local(async move { rig.log_in("ada").await })
                })
                .collect();
            let mut browsers = Vec::new();
            for login in logins {
                browsers.push(login.await.unwrap());
            }
            browsers
        })
        .await;
    let living: Vec<_> =
        browsers.iter().enumerate().filter(|(_, browser)| rig.is_in(browser)).map(|(n, _)| n).collect();
    assert_eq!(living, [61, 62, 63], "the newest three");
    assert_eq!(rig.probe.records().len(), 3);
}

#[tokio::test]
async fn the_oldest_session_makes_room_in_the_same_commit() {
    let rig = capped(2, AtLimit::EndOldest);
    let first = rig.log_in("ada").await;
    rig.clock.advance(Duration::from_secs(1));
    let second = rig.log_in("ada").await;
    let eve = rig.log_in("eve").await;
    let before = rig.probe.commits.load(Ordering::SeqCst);
    let third = rig.log_in("ada").await;
    assert_eq!(rig.probe.commits.load(Ordering::SeqCst) - before, 1);
    assert!(!rig.is_in(&first) && rig.is_in(&second) && rig.is_in(&third) && rig.is_in(&eve));
    assert_eq!(first.session.ended(), Some(EndReason::Cap));
}

#[tokio::test]
async fn a_session_that_is_replaced_or_over_does_not_count() {
    let rig = capped(1, AtLimit::Refuse);
    let first = rig.log_in("ada").await;
    let (ada, old) = (subject("ada"), Some(first.session.stored_id()));
    let created = rig.manager.create(&ada, old, Origin::default(), true, rig.now()).await;
    let again = Browser::from(created.unwrap());
    assert_eq!(first.session.ended(), Some(EndReason::Replaced));
    assert!(matches!(rig.try_log_in("ada").await, Err(SessionError::AtCap)));
    assert!(rig.is_in(&again), "a refused login ends nothing");
    rig.clock.advance(IDLE);
    let later = rig.log_in("ada").await;
    rig.manager.destroy(&later.session, rig.now()).await.unwrap();
    rig.log_in("ada").await;
}

#[tokio::test]
async fn a_lowered_cap_trims_at_the_next_login() {
    let probe = Probe::default();
    let wide = Rig::with(&settings(StoreSettings::Memory), probe.clone(), &everybody);
    for _ in 0..6 {
        wide.log_in("ada").await;
        wide.clock.advance(Duration::from_secs(1));
    }
    wide.manager.close().await;
    let cap = Some(Cap { max_per_user: 2, at_limit: AtLimit::EndOldest });
    let narrow = Rig::with(&Settings { cap, ..settings(StoreSettings::Memory) }, probe, &everybody);
    assert_eq!(narrow.manager.sessions_of("ada", narrow.now()).len(), 6, "a start ends nobody");
    narrow.log_in("ada").await;
    assert_eq!(narrow.manager.sessions_of("ada", narrow.now()).len(), 2);
    assert_eq!(narrow.probe.records().len(), 2);
}

#[tokio::test]
async fn a_login_that_could_not_be_written_ends_nobody() {
    let rig = capped(1, AtLimit::EndOldest);
    let ada = rig.log_in("ada").await;
    rig.probe.fail(true);
    assert!(matches!(rig.try_log_in("ada").await, Err(SessionError::StoreUnavailable)));
    assert!(rig.is_in(&ada));
}
