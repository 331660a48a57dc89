//! Several gateways over one Redis server: what one does holds on the others, and what happens when the server is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rig::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::identity::Subject;
use crate::base::secret::SystemRandom;
use crate::session::store::RedisAddress;
use crate::session::test_redis::{TestRedis, until};
use crate::session::{
    Activity, EndReason, LiveSession, Managed, Origin, Rejection, SessionError, SessionManager, Settings,
    StoreSettings, StoredId,
};

const GRACE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(7200);

fn shared(url: &str, grace: Duration) -> Settings {
    settings(StoreSettings::Redis { address: RedisAddress::parse(url).unwrap(), grace })
}

/// One gateway's sessions.
struct Node {
    manager: Arc<SessionManager>,
    clock: ManualClock,
}

impl Node {
    fn on(server: &TestRedis) -> Self {
        Self::with(server, GRACE, everybody)
    }

    fn with(server: &TestRedis, grace: Duration, directory: fn(&str) -> Option<Subject>) -> Self {
        let clock = ManualClock::new(START);
        let settings = shared(&server.url(), grace);
        let opened =
            SessionManager::open(&settings, Arc::new(clock.clone()), Arc::new(SystemRandom), directory);
        Self { manager: opened.unwrap().0, clock }
    }

    /// Signs in, and waits until the report of that has come back and the session has been read once.
    async fn log_in(&self, user: &str) -> Browser {
        let before = self.reads();
        let browser = self.try_log_in(user, None).await.unwrap();
        until("the login is reported", || self.reads() > before && self.look(&browser).session.is_some());
        browser
    }

    async fn try_log_in(
        &self,
        user: &str,
        ended: Option<&Arc<LiveSession>>,
    ) -> Result<Browser, SessionError> {
        let now = self.clock.now();
        let ended = ended.map(|session| session.stored_id());
        self.manager.create(&subject(user), ended, Origin::default(), true, now).await.map(Browser::from)
    }

    /// The first step alone: what the table says.
    fn look(&self, browser: &Browser) -> Managed {
        self.manager.manage(&browser.headers(), true, Activity::Counts, self.clock.now())
    }

    /// Both steps, as a request takes them.
    async fn ask(&self, browser: &Browser) -> Managed {
        let (headers, now) = (browser.headers(), self.clock.now());
        self.manager.resolve(self.look(browser), &headers, true, Activity::Counts, now).await
    }

    async fn is_in(&self, browser: &Browser) -> bool {
        self.ask(browser).await.session.is_some()
    }

    fn epoch(&self) -> u16 {
        self.manager.shared.coherence.as_ref().map_or(0, |coherence| coherence.epoch())
    }

    fn reads(&self) -> u64 {
        self.manager.counters().store_reads.load(Ordering::Relaxed)
    }

    fn is_healthy(&self) -> bool {
        let health = self.manager.health();
        health.fault.is_none() && health.owed == 0
    }

    fn get(&self, id: &StoredId) -> Option<Arc<LiveSession>> {
        self.manager.get(id, self.clock.now())
    }
}

/// A genuine cookie for a session that no store has.
async fn stray() -> Browser {
    Rig::new().log_in("ada").await
}

fn key(browser: &Browser) -> String {
    format!("fluidgate:session:{}", browser.session.stored_id())
}

#[tokio::test]
async fn a_login_on_one_gateway_is_a_session_on_the_other_from_its_first_request() {
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::on(&server));
    let ada = here.log_in("ada").await;
    assert!(there.is_in(&ada).await);
    until("the report of the login has come", || there.reads() > 0 && there.look(&ada).session.is_some());
    let reads = there.reads();
    assert!(there.look(&ada).session.is_some(), "and from then on the table answers");
    assert_eq!(there.reads(), reads);
}

#[tokio::test]
async fn a_gateway_that_starts_later_knows_every_session_before_its_first_request() {
    let server = TestRedis::start();
    let here = Node::on(&server);
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(here.log_in("ada").await);
    }
    let there = Node::on(&server);
    assert_eq!(there.manager.live(), 50);
    assert!(all.iter().all(|browser| there.look(browser).session.is_some()));
}

#[tokio::test]
async fn a_logout_on_one_gateway_acts_on_the_next_request_at_the_other_and_on_open_streams() {
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::on(&server));
    let ada = here.log_in("ada").await;
    let stream = there.ask(&ada).await.session.unwrap();
    here.manager.destroy(&ada.session, here.clock.now()).await.unwrap();
    until("the message arrives", || there.look(&ada).session.is_none());
    assert_eq!(there.ask(&ada).await.rejected, Some(Rejection::Unknown));
    until("the stream learns of it", || !stream.is_live(there.clock.now()));
    assert_eq!(stream.ended(), Some(EndReason::Revoked));
}

#[tokio::test]
async fn a_key_deleted_by_another_client_ends_the_session() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let ada = node.log_in("ada").await;
    assert_eq!(server.say(&format!("DEL {}", key(&ada))), ":1");
    until("the message arrives", || node.look(&ada).session.is_none());
    assert!(!node.is_in(&ada).await);
}

#[tokio::test]
async fn a_server_that_is_emptied_ends_every_session() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let (ada, bob) = (node.log_in("ada").await, node.log_in("bob").await);
    server.say("FLUSHALL");
    until("the message arrives", || node.look(&ada).session.is_none());
    assert!(!node.is_in(&ada).await && !node.is_in(&bob).await);
    until("the table is empty", || node.manager.live() == 0);
}

#[tokio::test]
async fn a_users_list_holds_their_sessions_on_every_gateway_and_each_can_be_ended_from_any() {
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::on(&server));
    let (ada, other) = (here.log_in("ada").await, there.log_in("ada").await);
    here.log_in("bob").await;
    until("both know both", || {
        [&here, &there].iter().all(|node| node.manager.sessions_of("ada", node.clock.now()).len() == 2)
    });
    let details = there.manager.describe(there.manager.sessions_of("ada", there.clock.now())).await;
    assert_eq!(details.len(), 2);
    let id = ada.session.stored_id();
    assert!(there.manager.delete(&id, EndReason::Revoked, there.clock.now()).await.unwrap());
    until("the message arrives", || here.look(&ada).session.is_none());
    assert!(!here.is_in(&ada).await && here.is_in(&other).await);
}

#[tokio::test]
async fn ending_everything_on_one_gateway_ends_everything_on_the_other() {
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::on(&server));
    let ada = here.log_in("ada").await;
    assert!(there.is_in(&ada).await);
    here.manager.end_all(here.clock.now()).await.unwrap();
    until("the message arrives", || there.look(&ada).session.is_none());
    assert!(!there.is_in(&ada).await && !Node::on(&server).is_in(&ada).await);
    assert!(there.is_in(&there.log_in("ada").await).await, "and a new login is good");
}

#[tokio::test]
async fn activity_on_one_gateway_keeps_the_session_alive_on_the_other() {
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::on(&server));
    let ada = here.log_in("ada").await;
    let id = ada.session.stored_id();
    assert!(there.is_in(&ada).await);
    for clock in [&here.clock, &there.clock] {
        clock.advance(IDLE - Duration::from_secs(1));
    }
    assert!(here.is_in(&ada).await);
    here.manager.settle().await.unwrap();
    let seen = here.clock.now();
    until("the message arrives", || there.get(&id).is_some_and(|session| session.last_seen_at() == seen));
    there.clock.advance(IDLE - Duration::from_secs(1));
    assert!(there.is_in(&ada).await);
}

#[tokio::test]
async fn requests_for_the_same_unknown_session_share_one_read_and_its_answer_is_kept() {
    let server = TestRedis::start();
    let node = Arc::new(Node::on(&server));
    let stray = Arc::new(stray().await);
    let before = node.reads();
    server.pause();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (node, stray) = (Arc::clone(&node), Arc::clone(&stray));
            tokio::spawn(async move { node.ask(&stray).await })
        })
        .collect();
    // All of them have asked once each has had its turn.
    tokio::task::yield_now().await;
    server.resume();
    for asked in asking {
        assert_eq!(asked.await.unwrap().rejected, Some(Rejection::Unknown));
    }
    assert_eq!(node.reads() - before, 1);
    assert_eq!(node.look(&stray).rejected, Some(Rejection::Unknown));
    assert_eq!(node.reads() - before, 1);
}

#[tokio::test]
async fn a_store_of_our_own_never_sends_a_request_to_the_second_step() {
    let rig = Rig::new();
    let managed = rig.ask(&stray().await);
    assert_eq!((managed.unresolved, managed.rejected), (None, Some(Rejection::Unknown)));
}

#[tokio::test]
async fn without_the_server_verified_sessions_go_on_for_the_grace_and_unknown_ones_do_not() {
    let mut server = TestRedis::start();
    let node = Node::on(&server);
    let ada = node.log_in("ada").await;
    server.stop();
    until("the loss is noticed", || !node.is_healthy());
    node.clock.advance(GRACE - Duration::from_secs(5));
    assert!(node.is_in(&ada).await);
    let unknown = node.ask(&stray().await).await;
    assert!(unknown.session.is_none() && unknown.unresolved.is_some());
    assert!(unknown.set_cookie.is_none(), "a cookie that may be good is not removed");
    assert!(matches!(node.try_log_in("ada", None).await, Err(SessionError::StoreUnavailable)));
    node.clock.advance(Duration::from_secs(5));
    let late = node.ask(&ada).await;
    assert!(late.session.is_none() && late.unresolved.is_some() && late.set_cookie.is_none());
}

#[tokio::test]
async fn with_no_grace_the_lost_channel_drops_the_whole_table_at_once() {
    let mut server = TestRedis::start();
    let node = Node::with(&server, Duration::ZERO, everybody);
    let all = [node.log_in("ada").await, node.log_in("bob").await];
    server.stop();
    until("the loss is noticed", || !node.is_healthy());
    for browser in &all {
        let managed = node.ask(browser).await;
        assert!(managed.session.is_none() && managed.unresolved.is_some());
        // A connection that remembers the session from its last request asks this.
        assert!(!node.manager.revisit(&browser.session, Activity::Counts, node.clock.now()));
        assert!(browser.session.is_live(node.clock.now()), "it has not ended: nobody can say");
    }
}

#[tokio::test]
async fn a_restarted_server_is_used_again_without_a_restart_of_ours() {
    let mut server = TestRedis::start();
    let node = Node::on(&server);
    let ada = node.log_in("ada").await;
    server.stop();
    until("the loss is noticed", || !node.is_healthy());
    assert!(node.try_log_in("ada", None).await.is_err());
    server.start_again();
    until("the channel stands again", || node.is_healthy());
    assert!(!node.is_in(&ada).await, "the server came back empty");
    assert!(node.is_in(&node.log_in("ada").await).await);
}

#[tokio::test]
async fn a_logout_without_the_server_holds_at_once_and_is_written_when_it_is_back() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let (ada, bob) = (node.log_in("ada").await, node.log_in("bob").await);
    // Data and connections stay, only the answers do not come: the loss has to be noticed by silence.
    server.pause();
    until("the loss is noticed", || !node.is_healthy());
    let destroyed = node.manager.destroy(&ada.session, node.clock.now()).await;
    assert!(matches!(destroyed, Err(SessionError::NotDurable)));
    assert!(!node.is_in(&ada).await);
    let again = node.try_log_in("bob", Some(&bob.session)).await;
    assert!(matches!(again, Err(SessionError::StoreUnavailable)));
    server.resume();
    until("what is owed is written", || node.is_healthy());
    assert_eq!(server.say(&format!("EXISTS {}", key(&ada))), ":0");
    assert!(!node.is_in(&ada).await);
    assert!(node.is_in(&bob).await, "a login that failed does not end the session it was made with");
}

#[tokio::test]
async fn a_session_ended_elsewhere_while_the_channel_was_lost_is_over_once_it_stands() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let (ada, bob) = (node.log_in("ada").await, node.log_in("bob").await);
    let epoch = node.epoch();
    let id = server.say("CLIENT LIST TYPE normal");
    let mine = id.split("id=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    // One transaction: the deletion is never reported on a channel that is cut in the same breath.
    server.say(&format!("MULTI\r\nCLIENT KILL ID {mine}\r\nDEL {}\r\nEXEC", key(&ada)));
    until("the channel was lost and stands again", || node.epoch() > epoch && node.is_healthy());
    assert!(!node.is_in(&ada).await && node.is_in(&bob).await);
}

#[tokio::test]
async fn sessions_of_users_the_directory_does_not_know_do_not_come_in() {
    let server = TestRedis::start();
    let here = Node::on(&server);
    let nobody = Node::with(&server, GRACE, |_| None);
    let rekeyed = Node::with(&server, GRACE, |user| Some(Subject { credential: [9; 16], ..subject(user) }));
    let ada = here.log_in("ada").await;
    assert!(!nobody.is_in(&ada).await && !rekeyed.is_in(&ada).await && here.is_in(&ada).await);
}

#[tokio::test]
async fn the_server_forgets_a_session_by_itself_soon_after_it_has_expired() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let ada = node.log_in("ada").await;
    let left: u128 = server.say(&format!("PTTL {}", key(&ada))).trim_start_matches(':').parse().unwrap();
    assert!(left > IDLE.as_millis() && left <= IDLE.as_millis() + 240_000, "{left}");
}

#[tokio::test]
async fn the_server_never_sees_a_token() {
    let server = TestRedis::start();
    let node = Node::on(&server);
    let ada = node.log_in("ada").await;
    let kept = server.say("KEYS *") + &server.say(&format!("GET {}", key(&ada)));
    assert!(kept.contains(&ada.session.stored_id().to_string()) && !kept.contains(ada.token()));
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let server = TestRedis::with_password("hunter2");
    let node = Node::on(&server);
    assert!(node.is_in(&node.log_in("ada").await).await);
    let wrong = server.url().replace("hunter2", "hunter3");
    let clock = Arc::new(ManualClock::new(START));
    let refused =
        SessionManager::open(&shared(&wrong, GRACE), clock, Arc::new(SystemRandom), everybody).err().unwrap();
    let told = format!("{refused} {refused:?}");
    assert!(told.contains("redis://127.0.0.1") && !told.contains("hunter"), "{told}");
}

#[tokio::test]
async fn a_server_that_is_not_there_at_start_is_one_clear_error() {
    let mut server = TestRedis::start();
    server.stop();
    let clock = Arc::new(ManualClock::new(START));
    let settings = shared(&server.url(), GRACE);
    let refused = SessionManager::open(&settings, clock, Arc::new(SystemRandom), everybody).err().unwrap();
    assert!(refused.to_string().contains("cannot be used"), "{refused}");
}

#[tokio::test]
async fn a_user_who_changes_while_a_session_of_theirs_is_read_loses_it() {
    /// Eve gets another password after the first look.
    fn changes(user: &str) -> Option<Subject> {
        static LOOKS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let changed = user == "eve" && LOOKS.fetch_add(1, Ordering::Relaxed) > 0;
        Some(if changed { Subject { credential: [9; 16], ..subject(user) } } else { subject(user) })
    }
    let server = TestRedis::start();
    let (here, there) = (Node::on(&server), Node::with(&server, GRACE, changes));
    let eve = here.log_in("eve").await;
    assert!(!there.is_in(&eve).await);
    assert!(there.get(&eve.session.stored_id()).is_none());
}
