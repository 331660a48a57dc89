//! `manage`: what a request's cookies come to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rig::*;
use crate::base::clock::Timestamp;
use crate::session::{Activity, Rejection, Settings, StoreSettings};

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(7200);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn the_cookie_of_a_login_opens_its_session() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let managed = rig.ask(&ada);
    let session = managed.session.unwrap();
    assert_eq!(session.identity().unwrap().user(), "ada");
    assert_eq!((managed.set_cookie, managed.rejected), (None, None));
    assert_eq!(session.expires_at(), START + IDLE);
    assert_eq!(session.absolute_at(), START + DAY);
}

#[tokio::test]
async fn no_cookie_is_anonymous_without_a_removal() {
    let rig = Rig::new();
    let managed = rig.manager.manage(&headers(&["a=1; b=2"]), true, Activity::Counts, START);
    assert!(managed.session.is_none() && managed.set_cookie.is_none() && managed.rejected.is_none());
}

#[tokio::test]
async fn a_bad_mac_is_rejected_without_a_store_read() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let forged = ada.cookie.strip_suffix(|_| true).unwrap().to_owned() + "!";
    let swapped = ada.cookie.replace(ada.token(), &"A".repeat(43));
    for (cookie, why) in [(forged, Rejection::Malformed), (swapped, Rejection::BadMac)] {
        let managed = rig.manager.manage(&headers(&[&cookie]), true, Activity::Counts, START);
        assert_eq!((managed.session.is_some(), managed.rejected), (false, Some(why)));
        assert!(managed.set_cookie.is_some(), "the browser is told to drop it");
        assert_eq!(rig.manager.counters().rejected(why), 1);
    }
    assert_eq!(rig.probe.reads.load(Ordering::SeqCst), 0);
    assert_eq!(rig.manager.counters().store_reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stored_hash_presented_as_a_cookie_is_refused() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let hash = data_encoding::BASE64URL_NOPAD.encode(ada.session.stored_id().as_bytes());
    let cookie = ada.cookie.replace(ada.token(), &hash);
    let managed = rig.manager.manage(&headers(&[&cookie]), true, Activity::Counts, START);
    assert_eq!(managed.rejected, Some(Rejection::BadMac));
}

#[tokio::test]
async fn a_well_formed_stale_cookie_is_anonymous_with_a_removal() {
    let elsewhere = Rig::new().log_in("ada").await;
    let rig = Rig::new();
    let managed = rig.ask(&elsewhere);
    assert_eq!(managed.rejected, Some(Rejection::Unknown));
    assert_eq!(managed.set_cookie, Some(rig.manager.removal_cookie(true)));
}

#[tokio::test]
async fn the_idle_limit_holds_to_the_second_and_a_late_request_does_not_revive() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(IDLE - SECOND);
    assert!(rig.is_in(&ada));
    rig.clock.advance(IDLE);
    let managed = rig.ask(&ada);
    assert_eq!(managed.rejected, Some(Rejection::Expired));
    assert!(!ada.session.is_live(rig.now()));
    // Even for a request that was stamped before: what was found over stays over.
    let earlier = Timestamp::from_millis(rig.now().as_millis() - 2000);
    assert!(rig.manager.manage(&ada.headers(), true, Activity::Counts, earlier).session.is_none());
}

#[tokio::test]
async fn no_activity_extends_past_the_absolute_limit() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    while rig.now() < START + (DAY - SECOND) {
        rig.clock.advance((IDLE / 2).min((START + (DAY - SECOND)).since(rig.now())));
        assert!(rig.is_in(&ada));
        assert!(ada.session.expires_at() <= START + DAY);
    }
    rig.clock.advance(SECOND);
    assert!(!rig.is_in(&ada));
}

#[tokio::test]
async fn ignored_requests_do_not_keep_a_session_awake() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(IDLE - SECOND);
    let polled = rig.manager.manage(&ada.headers(), true, Activity::Ignored, rig.now());
    assert!(polled.session.is_some());
    rig.clock.advance(SECOND);
    assert!(!rig.is_in(&ada));
}

#[tokio::test]
async fn a_clock_behind_the_session_neither_extends_nor_panics() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let managed = rig.manager.manage(&ada.headers(), true, Activity::Counts, Timestamp::from_secs(5));
    assert_eq!(managed.session.unwrap().expires_at(), START + IDLE);
    assert!(
        rig.manager
            .manage(&ada.headers(), true, Activity::Counts, Timestamp::from_millis(u64::MAX))
            .session
            .is_none()
    );
}

#[tokio::test]
async fn ten_thousand_requests_in_a_window_are_one_write() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(Duration::from_secs(60));
    let before = rig.probe.commits.load(Ordering::SeqCst);
    for n in 0..10_000 {
        let now = rig.now() + Duration::from_millis(n * 5);
        assert!(rig.manager.manage(&ada.headers(), true, Activity::Counts, now).session.is_some());
    }
    rig.manager.settle().await.unwrap();
    assert_eq!(rig.manager.counters().touches.load(Ordering::SeqCst), 1);
    assert_eq!(rig.probe.commits.load(Ordering::SeqCst) - before, 1);
}

#[tokio::test]
async fn of_duplicate_cookies_the_one_that_opens_a_session_wins() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let stale = Rig::new().log_in("ada").await;
    for fields in [
        [format!("{}; {}", stale.cookie, ada.cookie), String::new()],
        [ada.cookie.clone(), stale.cookie.clone()],
        ["__Host-fluidgate=junk".into(), ada.cookie.clone()],
        [ada.cookie.clone(), ada.cookie.clone()],
    ] {
        let managed = rig.manager.manage(&headers(&[&fields[0], &fields[1]]), true, Activity::Counts, START);
        assert!(managed.session.is_some() && managed.set_cookie.is_none(), "{fields:?}");
    }
}

#[tokio::test]
async fn two_valid_cookies_that_differ_are_anonymous_with_a_removal() {
    let rig = Rig::new();
    let (ada, eve) = (rig.log_in("ada").await, rig.log_in("eve").await);
    let both = headers(&[&ada.cookie, &eve.cookie]);
    let managed = rig.manager.manage(&both, true, Activity::Counts, START);
    assert!(managed.session.is_none());
    assert_eq!(managed.rejected, Some(Rejection::Duplicate));
    assert_eq!(managed.set_cookie, Some(rig.manager.removal_cookie(true)));
}

#[tokio::test]
async fn only_a_bounded_number_of_duplicates_is_tried() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let flood = "__Host-fluidgate=x; ".repeat(8) + &ada.cookie;
    assert!(rig.manager.manage(&headers(&[&flood]), true, Activity::Counts, START).session.is_none());
}

#[tokio::test]
async fn the_plain_cookie_does_not_count_on_a_secure_request_nor_the_other_way_round() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    assert!(rig.manager.manage(&ada.headers(), false, Activity::Counts, START).session.is_none());
    let renamed = ada.cookie.replace("__Host-", "");
    assert!(rig.manager.manage(&headers(&[&renamed]), true, Activity::Counts, START).session.is_none());
    assert!(rig.manager.manage(&headers(&[&renamed]), false, Activity::Counts, START).session.is_some());
}

#[tokio::test]
async fn a_cookie_of_an_older_secret_is_issued_anew_and_survives_its_removal() {
    let probe = Probe::default();
    let with = |secrets: &[u8]| {
        let settings = Settings {
            secrets: secrets.iter().copied().map(secret).collect(),
            ..settings(StoreSettings::Memory)
        };
        Rig::with(&settings, probe.clone(), &everybody)
    };
    let old = with(&[1]);
    let (moved, stayed) = (old.log_in("ada").await, old.log_in("eve").await);
    old.manager.close().await;
    let both = with(&[2, 1]);
    let managed = both.ask(&moved);
    assert!(managed.session.is_some());
    let fresh = pair(&managed.set_cookie.unwrap());
    assert_ne!(fresh, moved.cookie);
    both.manager.close().await;
    let new = with(&[2]);
    assert!(new.manager.manage(&headers(&[&fresh]), true, Activity::Counts, START).session.is_some());
    assert_eq!(new.ask(&stayed).rejected, Some(Rejection::BadMac), "only what had not moved over ends");
    assert!(new.ask(&moved).session.is_none());
}

#[tokio::test]
async fn an_upstreams_cookie_of_our_name_is_known_in_any_case_of_the_prefix() {
    let manager = Rig::new().manager;
    let is_ours = |text: &str| manager.is_our_set_cookie(&text.parse().unwrap());
    for ours in [
        "__Host-fluidgate=1; Path=/",
        "__HOST-fluidgate=",
        "__host-fluidgate",
        "fluidgate=1",
        " =fluidgate=1",
    ] {
        assert!(is_ours(ours), "{ours}");
    }
    for other in
        ["Fluidgate=1", "__Secure-fluidgate=1", "fluidgate2=1", "a=fluidgate", "__Host-fluidgate2=1", ""]
    {
        assert!(!is_ours(other), "{other}");
    }
}

#[tokio::test]
async fn neither_spelling_of_our_cookie_reaches_the_upstream() {
    let rig = Rig::new();
    let ada = rig.log_in("ada").await;
    let mut headers = headers(&[&format!("a=1; {}; FLUIDGATE=2", ada.cookie), "fluidgate=3; b=\"4\""]);
    rig.manager.withhold_cookie(&mut headers);
    let fields: Vec<_> = headers.get_all(http::header::COOKIE).iter().collect();
    assert_eq!(fields, ["a=1; FLUIDGATE=2; b=\"4\""]);
}
