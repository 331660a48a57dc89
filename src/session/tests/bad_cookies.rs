//! How many bad cookies a source may send (S40).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::rig::*;
use crate::session::{Activity, Caller, Managed, Rejection, Settings, StoreSettings};

const LIMIT: u32 = 5;

fn limited() -> Rig {
    let settings = Settings { max_bad_cookies: LIMIT, ..settings(StoreSettings::Memory) };
    Rig::with(&settings, Probe::default(), &everybody)
}

fn ask(rig: &Rig, cookie: &str, address: &str) -> Managed {
    let caller = Caller { secure: true, address: Some(address.parse::<IpAddr>().unwrap()) };
    rig.manager.manage(&headers(&[cookie]), caller, Activity::Counts, rig.now())
}

#[tokio::test]
async fn a_source_with_too_many_bad_cookies_is_told_to_wait_and_nobody_else_is() {
    let rig = limited();
    let ada = rig.log_in("ada").await;
    let forged = ada.cookie.replace(ada.token(), &"A".repeat(43));
    let unknown = Rig::new().log_in("ada").await.cookie;
    for n in 0..LIMIT {
        let (cookie, why) =
            if n % 2 == 0 { (&forged, Rejection::BadMac) } else { (&unknown, Rejection::Unknown) };
        let managed = ask(&rig, cookie, "192.0.2.1");
        assert_eq!((managed.rejected, managed.retry_after), (Some(why), None));
    }
    for cookie in [forged.as_str(), unknown.as_str(), "__Host-fluidgate=junk"] {
        let managed = ask(&rig, cookie, "192.0.2.1");
        assert_eq!(managed.retry_after, Some(Duration::from_secs(60)));
        assert!(managed.set_cookie.is_some(), "an honest browser comes back without it");
    }
    assert_eq!(rig.manager.counters().throttled.load(Ordering::SeqCst), 3);
    assert!(ask(&rig, &ada.cookie, "192.0.2.1").session.is_some(), "a good cookie is untouched");
    assert!(ask(&rig, &format!("{forged}; {}", ada.cookie), "192.0.2.1").session.is_some());
    assert_eq!(ask(&rig, "other=1", "192.0.2.1").retry_after, None, "none at all is, too");
    assert_eq!(ask(&rig, &forged, "192.0.2.2").retry_after, None, "and another source");
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(ask(&rig, &forged, "192.0.2.1").retry_after, None);
    assert_eq!(rig.probe.reads.load(Ordering::SeqCst), 0, "the store is never asked");
}

#[tokio::test]
async fn expired_cookies_of_honest_browsers_do_not_count() {
    let rig = limited();
    let ada = rig.log_in("ada").await;
    rig.clock.advance(Duration::from_secs(7200));
    for _ in 0..100 {
        let managed = ask(&rig, &ada.cookie, "192.0.2.1");
        assert_eq!((managed.rejected, managed.retry_after), (Some(Rejection::Expired), None));
    }
    let cover = format!("{}; __Host-fluidgate=junk", ada.cookie);
    let told: Vec<_> = (0..=LIMIT).map(|_| ask(&rig, &cover, "192.0.2.1").retry_after.is_some()).collect();
    assert_eq!(told.iter().filter(|throttled| **throttled).count(), 1, "and do not cover forged ones");
}

#[tokio::test]
async fn only_a_bad_cookie_needs_the_lock_around_the_counts() {
    let rig = Arc::new(limited());
    let good = rig.log_in("ada").await.cookie;
    let held = rig.manager.shared.sources.hold();
    let (done, waiting) = channel();
    let asking = std::thread::spawn({
        let rig = Arc::clone(&rig);
        move || {
            let found =
                [good.as_str(), "other=1"].map(|cookie| ask(&rig, cookie, "192.0.2.1").session.is_some());
            done.send(found).unwrap();
            ask(&rig, "__Host-fluidgate=junk", "192.0.2.1").rejected
        }
    });
    assert_eq!(waiting.recv_timeout(Duration::from_secs(20)), Ok([true, false]));
    drop(held);
    assert_eq!(asking.join().unwrap(), Some(Rejection::Malformed));
}
