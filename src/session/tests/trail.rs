//! What the audit log says of sessions (S39).

use std::sync::Arc;
use std::time::Duration;

use super::rig::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::identity::Subject;
use crate::base::secret::SystemRandom;
use crate::observe::access_log::Target;
use crate::observe::audit::{self, AuditLog, AuditThread};
use crate::session::{
    Activity, AtLimit, Caller, Cap, EndReason, Origin, SessionManager, Settings, StoreSettings,
};

const IDLE: Duration = Duration::from_secs(7200);

/// A manager whose events can be read at the end.
struct Told {
    manager: Arc<SessionManager>,
    clock: ManualClock,
    thread: AuditThread,
    folder: tempfile::TempDir,
    /// Everything secret that was handed out.
    cookies: Vec<String>,
}

impl Told {
    fn new(settings: &Settings, probe: &Probe) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
        let target = Some(Target::File(folder.path().join("audit.log")));
        let (log, thread) =
            AuditLog::open(&audit::Settings { target }, Arc::new(clock.clone())).unwrap().unwrap();
        let store = probe.clone();
        let (shared, random) = (Arc::new(clock.clone()), Arc::new(SystemRandom));
        let make = || Ok(Box::new(store) as Box<_>);
        let (manager, _) =
            SessionManager::assemble(settings, shared, random, &everybody, Some(log), make).unwrap();
        Self { manager, clock, thread, folder, cookies: Vec::new() }
    }

    async fn log_in(&mut self, user: &str) -> Browser {
        self.log_in_from(user, None).await
    }

    async fn log_in_from(&mut self, user: &str, old: Option<&Browser>) -> Browser {
        let origin = Origin::new(Some([192, 0, 2, 7].into()), Some("Browser/1"));
        let (subject, old) = (subject(user), old.map(|browser| browser.session.stored_id()));
        let created = self.manager.create(&subject, old, origin, true, self.clock.now()).await.unwrap();
        let browser = Browser::from(created);
        self.cookies.push(browser.cookie.clone());
        browser
    }

    fn ask(&self, cookie: &str) {
        let caller = Caller { secure: true, address: Some([192, 0, 2, 9].into()) };
        self.manager.manage(&headers(&[cookie]), caller, Activity::Counts, self.clock.now());
    }

    /// Ends everything and gives the events, each as its name and reason, and the lines.
    async fn end(self) -> (Vec<String>, Vec<serde_json::Value>) {
        self.manager.close().await;
        assert!(self.thread.finish(Duration::from_secs(60)));
        let text = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        for cookie in &self.cookies {
            let parts = cookie.split(['=', '.']).filter(|part| part.len() > 20);
            assert!(parts.clone().count() >= 2 && parts.clone().all(|part| !text.contains(part)), "{text}");
        }
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let event = |line: &serde_json::Value| {
            let name = line["event"].as_str().unwrap().trim_start_matches("session_").to_owned();
            line["reason"].as_str().map_or_else(|| name.clone(), |reason| format!("{name} {reason}"))
        };
        (lines.iter().map(event).collect(), lines)
    }
}

#[tokio::test]
async fn a_session_can_be_followed_from_its_login_to_its_end_by_a_short_digest() {
    let mut told = Told::new(&settings(StoreSettings::Memory), &Probe::default());
    let ada = told.log_in("ada").await;
    told.clock.advance(Duration::from_secs(61));
    told.ask(&ada.cookie);
    told.manager.settle().await.unwrap();
    told.manager.destroy(&ada.session, told.clock.now()).await.unwrap();
    told.ask(&ada.cookie);
    let id = ada.session.stored_id().to_string();
    let (events, lines) = told.end().await;
    assert_eq!(events, ["created", "extended", "ended logout", "rejected unknown"]);
    let digest = lines[0]["session"].as_str().unwrap();
    assert_eq!(digest.len(), 12);
    assert!(lines.iter().all(|line| line["session"] == digest && !line.to_string().contains(&id[..12])));
    assert_eq!((&lines[0]["user"], &lines[0]["client_ip"]), (&"ada".into(), &"192.0.2.7".into()));
    assert_eq!(lines[3]["client_ip"], "192.0.2.9");
    assert_eq!(lines[1]["ts"], (START + Duration::from_secs(61)).to_string());
}

#[tokio::test]
async fn every_way_a_session_can_end_has_its_reason() {
    let cap = Some(Cap { max_per_user: 2, at_limit: AtLimit::EndOldest });
    let mut told = Told::new(&Settings { cap, ..settings(StoreSettings::Memory) }, &Probe::default());
    let first = told.log_in("ada").await;
    let second = told.log_in_from("ada", Some(&first)).await;
    told.clock.advance(Duration::from_secs(1));
    told.log_in("ada").await;
    told.log_in("ada").await;
    assert_eq!(second.session.ended(), Some(EndReason::Cap));
    let eve = told.log_in("eve").await;
    let now = told.clock.now();
    told.manager.delete(&eve.session.stored_id(), EndReason::Revoked, now).await.unwrap();
    told.log_in("gone").await;
    told.log_in("rekeyed").await;
    let directory = |user: &str| match user {
        "gone" => None,
        "rekeyed" => Some(Subject { credential: [9; 16], ..subject(user) }),
        _ => Some(subject(user)),
    };
    told.manager.refresh_subjects(&directory).await.unwrap();
    told.manager.end_all(now).await.unwrap();
    let idle = told.log_in("ida").await;
    told.clock.advance(IDLE + Duration::from_secs(1));
    told.ask(&idle.cookie);
    let busy = told.log_in("bea").await;
    while busy.session.is_live(told.clock.now()) {
        told.ask(&busy.cookie);
        told.clock.advance(IDLE / 2);
    }
    told.manager.clean(told.clock.now() + Duration::from_secs(120)).await.unwrap();
    let counted: Vec<_> =
        EndReason::ALL.into_iter().map(|reason| (reason, told.manager.counters().ended(reason))).collect();
    let (events, _) = told.end().await;
    for (reason, count) in counted {
        let lines = events.iter().filter(|e| **e == format!("ended {}", reason.code())).count();
        // Logout has a test of its own; everything is counted as often as it is told.
        assert_eq!(lines as u64, count, "{reason:?} in {events:?}");
        assert!(count > 0 || reason == EndReason::Logout, "{reason:?}");
    }
}

#[tokio::test]
async fn every_rejection_has_its_reason_and_a_flood_of_them_is_cut_and_counted() {
    let mut told = Told::new(&settings(StoreSettings::Memory), &Probe::default());
    let (ada, eve) = (told.log_in("ada").await, told.log_in("eve").await);
    let unknown = Rig::new().log_in("ada").await.cookie;
    told.ask(&ada.cookie.replace(ada.token(), &"A".repeat(43)));
    told.ask("__Host-fluidgate=junk\"}{");
    told.ask(&unknown);
    told.ask(&format!("{}; {}", ada.cookie, eve.cookie));
    told.clock.advance(IDLE);
    told.ask(&ada.cookie);
    told.clock.advance(Duration::from_secs(1));
    for _ in 0..audit::LIMIT + 1000 {
        told.ask("__Host-fluidgate=junk");
    }
    let (events, lines) = told.end().await;
    let rejected: Vec<_> = events.iter().filter(|event| event.starts_with("rejected")).collect();
    let first = ["bad_mac", "malformed", "unknown", "duplicate", "expired"];
    assert_eq!(rejected[..5], first.map(|reason| format!("rejected {reason}")).each_ref());
    assert_eq!(rejected.len() as u64, 5 + audit::LIMIT);
    assert_eq!(lines.last().unwrap()["count"], 1000);
}

#[tokio::test]
async fn a_cookie_that_moves_to_a_newer_key_is_told_as_renewed() {
    let probe = Probe::default();
    let with = |secrets: &[u8]| Settings {
        secrets: secrets.iter().copied().map(secret).collect(),
        ..settings(StoreSettings::Memory)
    };
    let old = Rig::with(&with(&[1]), probe.clone(), &everybody);
    let ada = old.log_in("ada").await;
    old.manager.close().await;
    let told = Told::new(&with(&[2, 1]), &probe);
    told.ask(&ada.cookie);
    assert_eq!(told.manager.counters().reissued.load(std::sync::atomic::Ordering::SeqCst), 1);
    let (events, _) = told.end().await;
    assert_eq!(events, ["renewed"]);
}

#[tokio::test]
async fn what_a_login_ends_is_over_before_the_new_session_is_there() {
    let cap = Some(Cap { max_per_user: 1, at_limit: AtLimit::EndOldest });
    let mut told = Told::new(&Settings { cap, ..settings(StoreSettings::Memory) }, &Probe::default());
    let first = told.log_in("ada").await;
    told.log_in_from("ada", Some(&first)).await;
    told.log_in("ada").await;
    let (events, _) = told.end().await;
    assert_eq!(events, ["created", "ended replaced", "created", "ended cap", "created"]);
}
