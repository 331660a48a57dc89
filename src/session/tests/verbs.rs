//! `create`, `destroy`, `delete`, `get`, `clean`, and what ends sessions from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::rig::*;
use crate::base::identity::Subject;
use crate::session::{Activity, EndReason, Origin, SessionError};

const IDLE: Duration = Duration::from_secs(7200);

#[tokio::test]
async fn a_login_is_in_the_store_when_it_is_answered_and_a_logout_is_gone() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    assert_eq!(rig.probe.records().len(), 1);
    rig.manager.destroy(&ada.session, rig.now()).await.unwrap();
    assert_eq!(rig.probe.records(), []);
    assert!(!rig.is_in(&ada));
    assert_eq!(ada.session.ended(), Some(EndReason::Logout));
}

#[tokio::test]
async fn logout_can_be_repeated() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.manager.destroy(&ada.session, rig.now()).await.unwrap();
    rig.manager.destroy(&ada.session, rig.now()).await.unwrap();
    assert_eq!(rig.manager.counters().ended(EndReason::Logout), 1);
}

#[tokio::test]
async fn every_login_mints_a_token_and_ends_the_presented_session_in_the_same_write() {
    let rig = Rig::new();
    let first = rig.log_in("ada").await;
    let before = rig.probe.commits.load(Ordering::SeqCst);
    let created = rig
        .manager
        .create(&subject("ada"), Some(first.session.stored_id()), Origin::default(), true, rig.now())
        .await
        .unwrap();
    let second = Browser::from(created);
    assert_eq!(rig.probe.commits.load(Ordering::SeqCst) - before, 1);
    assert_ne!(first.token(), second.token());
    assert!(!rig.is_in(&first) && rig.is_in(&second));
    assert_eq!(first.session.ended(), Some(EndReason::Replaced));
    assert_eq!(rig.probe.records().len(), 1);
}

#[tokio::test]
async fn a_thousand_races_of_touch_and_logout_leave_no_live_record() {
    let rig = Arc::new(Rig::new());
    for round in 0..1000_u64 {
        let ada = rig.log_in("ada").await;
        let stop = Arc::new(AtomicBool::new(false));
        let slow = std::thread::spawn({
            let (rig, stop, headers) = (Arc::clone(&rig), Arc::clone(&stop), ada.headers());
            move || {
                let mut now = START + Duration::from_secs(60);
                // Every look is one touch period later: each of them is a write.
                while !stop.load(Ordering::Relaxed) {
                    rig.manager.manage(&headers, true, Activity::Counts, now);
                    now = now + Duration::from_secs(60 + round % 7);
                }
            }
        });
        for _ in 0..round % 5 {
            std::thread::yield_now();
        }
        rig.manager.destroy(&ada.session, rig.now()).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        slow.join().unwrap();
        rig.manager.settle().await.unwrap();
        assert_eq!(rig.probe.records(), [], "round {round}");
        assert!(!rig.is_in(&ada), "round {round}");
    }
}

#[tokio::test]
async fn a_login_and_a_logout_in_flight_together_leave_only_the_new_session() {
    let rig = Rig::new();
    for _ in 0..200 {
        let old = rig.log_in("ada").await;
        let origin = Origin::default;
        let ada = subject("ada");
        let (created, ended) = tokio::join!(
            rig.manager.create(&ada, Some(old.session.stored_id()), origin(), true, rig.now()),
            rig.manager.destroy(&old.session, rig.now()),
        );
        ended.unwrap();
        let new = Browser::from(created.unwrap());
        assert!(!rig.is_in(&old) && rig.is_in(&new));
        assert_eq!(rig.probe.records().len(), 1);
        rig.manager.destroy(&new.session, rig.now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_whose_caller_went_away_still_leaves_table_and_store_alike() {
    let rig = Rig::new();
    for _ in 0..50 {
        let ada = subject("ada");
        let login = rig.manager.create(&ada, None, Origin::default(), true, rig.now());
        // Polled once, so that it is on its way, then dropped.
        let _ = futures_poll_once(login).await;
    }
    rig.manager.settle().await.unwrap();
    let ids: Vec<_> = rig.probe.records().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), rig.manager.sessions_of("ada", rig.now()).len());
    assert!(ids.iter().all(|id| rig.manager.get(id, rig.now()).is_some()));
}

async fn futures_poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn get_never_gives_an_expired_session() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let id = ada.session.stored_id();
    assert!(rig.manager.get(&id, rig.now()).is_some());
    assert!(rig.manager.get(&id, START + IDLE).is_none());
}

#[tokio::test]
async fn delete_ends_one_session_by_its_id_and_says_whether_there_was_one() {
    let rig = Rig::new();
    let (one, other) = (rig.log_in("ada").await, rig.log_in("ada").await);
    let id = one.session.stored_id();
    assert!(rig.manager.delete(&id, EndReason::Revoked, rig.now()).await.unwrap());
    assert!(!rig.manager.delete(&id, EndReason::Revoked, rig.now()).await.unwrap());
    assert!(!rig.is_in(&one) && rig.is_in(&other));
    assert_eq!(rig.manager.counters().ended(EndReason::Revoked), 1);
}

#[tokio::test]
async fn clean_removes_what_has_expired_and_nothing_else() {
    let rig = Rig::new();
    for _ in 0..2500 {
        rig.log_in("ada").await;
    }
    rig.clock.advance(IDLE / 2);
    let awake = rig.log_in("eve").await;
    rig.clock.advance(IDLE / 2 + Duration::from_secs(120));
    let report = rig.manager.clean(rig.now()).await.unwrap();
    assert_eq!((report.examined, report.removed), (2500, 2500));
    assert_eq!(rig.manager.last_clean(), Some(report));
    assert!(rig.is_in(&awake));
    assert_eq!((rig.manager.live(), rig.probe.records().len()), (1, 1));
    assert_eq!(rig.manager.counters().ended(EndReason::Idle), 2500);
}

#[tokio::test]
async fn clean_files_a_session_that_was_active_anew() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(IDLE - Duration::from_secs(1));
    assert!(rig.is_in(&ada));
    rig.clock.advance(Duration::from_secs(120));
    let report = rig.manager.clean(rig.now()).await.unwrap();
    assert_eq!((report.examined, report.removed), (1, 0));
    rig.clock.advance(IDLE);
    assert_eq!(rig.manager.clean(rig.now()).await.unwrap().removed, 1);
}

#[tokio::test]
async fn clean_reports_a_failing_store_and_the_next_round_works_again() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(IDLE + Duration::from_secs(120));
    rig.probe.fail(true);
    assert!(rig.manager.clean(rig.now()).await.is_err());
    assert!(!rig.is_in(&ada));
    rig.probe.fail(false);
    recovered(&rig).await;
    assert_eq!(rig.probe.records(), []);
    rig.manager.clean(rig.now()).await.unwrap();
}

/// Waits for the writer to open the store again, which it tries before every group.
async fn recovered(rig: &Rig) {
    while rig.manager.settle().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failing_store_refuses_logins_revokes_in_memory_and_pays_its_debts_later() {
    let rig = Rig::new();
    let (ada, eve) = (rig.log_in("ada").await, rig.log_in("eve").await);
    rig.probe.fail(true);
    assert!(matches!(rig.try_log_in("ada").await, Err(SessionError::StoreUnavailable)));
    assert!(matches!(rig.manager.destroy(&ada.session, rig.now()).await, Err(SessionError::NotDurable)));
    assert!(!rig.is_in(&ada), "revoked in memory all the same");
    assert!(rig.is_in(&eve), "live sessions go on");
    let health = rig.manager.health();
    assert!(health.fault.unwrap().contains("disk full"));
    assert!(health.owed > 0);
    rig.probe.fail(false);
    recovered(&rig).await;
    assert_eq!(rig.manager.health().fault, None);
    assert_eq!(rig.probe.records().len(), 1, "the logout was written after all");
    rig.log_in("ada").await;
}

#[tokio::test]
async fn sessions_of_a_user_are_listed_oldest_first_with_their_origin() {
    let rig = Rig::new();
    let first = rig.log_in("ada").await;
    rig.log_in("eve").await;
    rig.clock.advance(Duration::from_secs(1));
    let origin = Origin::new(Some([192, 0, 2, 9].into()), Some("Browser/1"));
    let second = rig.manager.create(&subject("ada"), None, origin.clone(), true, rig.now()).await.unwrap();
    let listed = rig.manager.describe(rig.manager.sessions_of("ada", rig.now())).await;
    let found: Vec<_> = listed.iter().map(|d| (d.session.stored_id(), d.origin.clone())).collect();
    assert_eq!(found, [(first.session.stored_id(), Origin::default()), (second.session.stored_id(), origin)]);
    assert!(rig.manager.sessions_of("nobody", rig.now()).is_empty());
}

#[tokio::test]
async fn a_reload_swaps_identities_and_ends_sessions_of_removed_and_rekeyed_users() {
    let rig = Rig::new();
    let (kept, gone, rekeyed) = (rig.log_in("ada").await, rig.log_in("gone").await, rig.log_in("eve").await);
    let renamed = |user: &str| match user {
        "ada" => Some(Subject {
            identity: Arc::new(crate::base::identity::Identity::new("ada", Some("Ada L."), None, &[])),
            ..subject("ada")
        }),
        "eve" => Some(Subject { credential: [9; 16], ..subject("eve") }),
        _ => None,
    };
    let durable = rig.manager.refresh_subjects(&renamed);
    assert!(!rig.is_in(&gone) && !rig.is_in(&rekeyed), "at once");
    assert_eq!(durable.await.unwrap(), 2);
    assert_eq!(rig.ask(&kept).session.unwrap().identity().unwrap().name(), Some("Ada L."));
    assert_eq!(gone.session.ended(), Some(EndReason::UserGone));
    assert_eq!(rekeyed.session.ended(), Some(EndReason::CredentialChange));
    assert_eq!(rig.probe.records().len(), 1);
}

#[tokio::test]
async fn a_login_that_overtook_a_reload_can_be_checked_afterwards() {
    let rig = Rig::new();
    let stale = rig.log_in("ada").await;
    let now_known = Subject { credential: [9; 16], ..subject("ada") };
    let present = |_: &str| Some(now_known.clone());
    assert_eq!(rig.manager.refresh_subject("ada", &present).await.unwrap(), 1);
    assert!(!rig.is_in(&stale));
}

#[tokio::test]
async fn a_login_that_asked_before_a_reload_never_brings_back_who_the_user_was() {
    let rig = Rig::new();
    let browser = rig.log_in("ada").await;
    let (asked, go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    let named = |name: &str| {
        let identity = crate::base::identity::Identity::new("ada", Some(name), None, &[]);
        Some(Subject { identity: Arc::new(identity), ..subject("ada") })
    };
    std::thread::scope(|scope| {
        let login = scope.spawn(|| {
            let slow = |_: &str| {
                let before = named("Before");
                asked.wait();
                go_on.wait();
                before
            };
            resolved(rig.manager.refresh_subject("ada", &slow))
        });
        asked.wait();
        let (asks, reload_asks) = std::sync::mpsc::channel();
        let manager = &rig.manager;
        let reload = scope.spawn(move || {
            resolved(manager.refresh_subjects(&|_| {
                let _ = asks.send(());
                named("After")
            }))
        });
        // It would ask at once if it did not have to wait for the login.
        let overtook = reload_asks.recv_timeout(Duration::from_millis(200)).is_ok();
        go_on.wait();
        assert!(!overtook, "a reload got between asking and storing");
        assert_eq!((login.join().unwrap(), reload.join().unwrap()), (0, 0));
    });
    assert_eq!(rig.ask(&browser).session.unwrap().identity().unwrap().name(), Some("After"));
}

fn resolved(changed: impl Future<Output = Result<usize, SessionError>>) -> usize {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(changed).unwrap()
}

#[tokio::test]
async fn everything_before_a_moment_ends_at_once_and_later_logins_live() {
    let rig = Rig::new();
    let (ada, eve) = (rig.log_in("ada").await, rig.log_in("eve").await);
    assert_eq!(rig.manager.end_all(rig.now()).await.unwrap(), 2);
    assert!(!rig.is_in(&ada) && !rig.is_in(&eve));
    assert_eq!(ada.session.ended(), Some(EndReason::NotBefore));
    let later = rig.log_in("ada").await;
    assert!(rig.is_in(&later));
    let again = Rig::with(&settings(crate::session::StoreSettings::Memory), rig.probe.clone(), &everybody);
    assert!(!again.is_in(&eve) && again.is_in(&later), "after a restart, too");
}

#[tokio::test]
async fn everything_ended_while_the_store_failed_stays_ended_after_a_restart() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.probe.fail(true);
    assert!(rig.manager.end_all(rig.now()).await.is_err());
    assert!(!rig.is_in(&ada));
    rig.probe.fail(false);
    recovered(&rig).await;
    let again = Rig::with(&settings(crate::session::StoreSettings::Memory), rig.probe.clone(), &everybody);
    assert!(!again.is_in(&ada));
}

#[tokio::test]
async fn a_closed_manager_refuses_writes_and_goes_on_reading() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.manager.close().await;
    rig.manager.close().await;
    assert!(matches!(rig.try_log_in("ada").await, Err(SessionError::Closed)));
    assert!(rig.is_in(&ada));
}

#[tokio::test]
async fn many_logins_at_once_share_their_commits() {
    let rig = Arc::new(Rig::new());
    let local = tokio::task::LocalSet::new();
    let before = rig.probe.commits.load(Ordering::SeqCst);
    local
        .run_until(async {
            let logins: Vec<_> = (0..500)
                .map(|_| {
                    let rig = Arc::clone(&rig);
                    tokio::task::spawn_local(async move { rig.log_in("ada").await })
                })
                .collect();
            for login in logins {
                login.await.unwrap();
            }
        })
        .await;
    assert_eq!(rig.probe.records().len(), 500);
    assert!(rig.probe.commits.load(Ordering::SeqCst) - before <= 500);
}

#[tokio::test]
async fn ending_a_crowd_of_one_user_costs_as_much_as_the_crowd_and_spares_the_one_named() {
    const CROWD: u64 = 40_000;
    let rig = Rig::new();
    let here = rig.log_in("ada").await;
    let record = rig.probe.records().remove(0).1;
    for n in 0..CROWD {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        let id = crate::session::StoredId::from_bytes(id);
        rig.manager.shared.enter_quietly(id, &record, || Some(subject("ada")));
    }
    let (since, mine) = (std::time::Instant::now(), here.session.stored_id());
    let ended = rig.manager.end_of_user("ada", Some(&mine), EndReason::Revoked, rig.now()).await.unwrap();
    assert_eq!((ended as u64, rig.manager.live()), (CROWD, 1));
    assert!(rig.is_in(&here));
    // Far below a second; with a cost that grows with the square it takes a quarter of a minute.
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}
