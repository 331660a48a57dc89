//! Whatever fails below the gateway, it denies (X5): no combination of faults lets a request through that should not pass, none
//! takes a header of an identity along that its session does not have, all are answered, and later requests live on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fluidgate::base::secret::{Random, RandomError, Secret};
use fluidgate::session::cookie::CookieCodec;
use fluidgate::session::id::Token;
use fluidgate::session::keys::KeyRing;
use fluidgate::session::{CookieSettings, SecureMode};
use proptest::prelude::*;

use crate::support::faults::{CHANCES, Chance, Faults, STORES, Store, TIMES, Time};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::redis::{TestRedis, until};
use crate::support::upstream::{Received, TestUpstream};
use crate::support::wire::WireResponse;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The paths asked for: whether the route needs a session, and whose.
const PATHS: [(&str, Needs); 5] = [
    ("/", Needs::Anybody),
    ("/staff/x", Needs::Ada),
    ("/public/x", Needs::Nothing),
    ("/_auth/account", Needs::Own),
    ("/_auth/whoami", Needs::Own),
];

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Anybody,
    Ada,
    /// An own page: no upstream ever sees it.
    Own,
}

/// Cookies that look like sessions and are none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forged {
    /// A good MAC, for a token that nobody was given.
    UnknownToken,
    /// A token and a MAC by another key.
    WrongKey,
    /// The cookie of a live session whose last character is another.
    Altered,
    Malformed,
    None,
}
const FORGED: [Forged; 5] =
    [Forged::UnknownToken, Forged::WrongKey, Forged::Altered, Forged::Malformed, Forged::None];

/// The gateway, and what is known of every cookie it has handed out.
struct Trial {
    gateway: Option<TestGateway>,
    upstream: TestUpstream,
    faults: Faults,
    /// Whose sessions may be live: an upper bound.
    live: HashMap<String, &'static str>,
    latest: HashMap<&'static str, String>,
    /// Sessions that began while the clock was far ahead: only there they are young.
    made_far_ahead: HashSet<String>,
    time: Time,
}

impl Trial {
    fn new() -> Self {
        let (upstream, faults) = (TestUpstream::start(), Faults::default());
        let gateway = Some(setup(&upstream, &faults).start());
        let (live, latest, made_far_ahead) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { gateway, upstream, faults, live, latest, made_far_ahead, time: Time::Well }
    }

    fn gateway(&self) -> &TestGateway {
        self.gateway.as_ref().unwrap()
    }

    fn set(&mut self, store: Store, time: Time, chance: Chance) {
        self.time = time;
        self.faults.set(store, time, chance);
    }

    fn mend(&mut self) {
        self.set(Store::Well, Time::Well, Chance::Well);
    }

    /// Signs in with the right password, and notes the session if there is one. What is no success hands no session out.
    fn log_in(&mut self, user: &'static str) -> WireResponse {
        let mut browser = self.gateway().browser();
        let response = browser.log_in_with(user, crate::support::gateway::PASSWORD, "/");
        let cookie = session_of(&response);
        assert_eq!(cookie.is_some(), response.status == 303, "{user}: {response:?}");
        assert!(response.status == 303 || response.status >= 400, "{response:?}");
        if let Some(cookie) = cookie {
            self.live.insert(cookie.clone(), user);
            if matches!(self.time, Time::FarAhead | Time::LastMoment) {
                self.made_far_ahead.insert(cookie.clone());
            }
            self.latest.insert(user, cookie);
        }
        assert!(self.upstream.so_far().is_empty(), "an own page");
        response
    }

    /// Guesses a password: no session, whatever fails meanwhile.
    fn guess(&self, user: &str) {
        let response = self.gateway().browser().log_in_with(user, "incorrect horse", "/");
        assert!(session_of(&response).is_none() && response.status >= 400, "{response:?}");
    }

    /// Asks for `path` with these cookies, and judges the answer and what the upstream saw.
    fn ask(&mut self, path: &str, needs: Needs, cookie: Option<&str>) -> WireResponse {
        let mut browser = self.gateway().browser();
        let field = cookie.map(|cookie| ("Cookie", cookie));
        let mut headers =
            vec![("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html"), ("Remote-User", "root")];
        headers.extend(field);
        let response = browser.request("GET", path, &headers, b"");
        let may_be = cookie.and_then(|cookie| self.live.get(cookie)).copied();
        let seen = self.upstream.so_far();
        let context =
            format!("{path} as {may_be:?} with {cookie:?} at {:?}: {response:?}, {seen:?}", self.time);
        assert!(seen.len() <= 1, "{context}");
        assert!(session_of(&response).is_none(), "no session without a login: {context}");
        let permitted = response.status == 200;
        if let Some(request) = seen.first() {
            self.judge(request, needs, may_be, &context);
        }
        match needs {
            Needs::Nothing => assert_eq!(permitted, seen.len() == 1, "{context}"),
            Needs::Anybody | Needs::Ada => {
                assert_eq!(permitted, seen.len() == 1, "{context}");
                assert!(!permitted || may_be.is_some(), "{context}");
            }
            Needs::Own => {
                assert!(seen.is_empty(), "{context}");
                assert!(!permitted || may_be.is_some(), "{context}");
                assert!(!permitted || response.text().contains(may_be.unwrap()), "{context}");
            }
        }
        let login = response.status == 303 && response.location().starts_with("/_auth/login");
        assert!(permitted || login || (400..=599).contains(&response.status), "{context}");
        let of_panic = response.status == 500;
        // Found to be over at a later moment is over for good: no clock that is set back revives it.
        let is_far = matches!(self.time, Time::FarAhead | Time::LastMoment);
        let is_new = cookie.is_some_and(|cookie| self.made_far_ahead.contains(cookie));
        if is_far && !of_panic && may_be.is_some() && !is_new {
            assert!(!permitted || needs == Needs::Nothing, "{context}");
            assert!(seen.first().is_none_or(|request| request.all("remote-user").is_empty()), "{context}");
            self.live.remove(cookie.unwrap());
        }
        response
    }

    fn judge(&self, request: &Received, needs: Needs, may_be: Option<&str>, context: &str) {
        match request.all("remote-user").as_slice() {
            [] => assert!(needs == Needs::Nothing, "a protected route without a user: {context}"),
            [user] => assert_eq!(Some(*user), may_be, "{context}"),
            several => panic!("{several:?}: {context}"),
        }
        assert!(needs != Needs::Ada || may_be == Some("ada"), "{context}");
        let ada = may_be == Some("ada") && !request.all("remote-user").is_empty();
        assert_eq!(request.header("remote-email").is_some(), ada, "{context}");
        assert_eq!(request.header("remote-groups").is_some(), ada, "{context}");
    }

    /// Signs out. Unless that panicked, the session is over at once, whatever the store does.
    fn log_out(&mut self, user: &'static str) {
        let Some(cookie) = self.latest.get(user).cloned() else { return };
        let mut browser = self.gateway().browser();
        browser.extra.push(("Cookie".into(), cookie.clone()));
        let response = browser.log_out();
        if response.status != 500 {
            self.live.remove(&cookie);
        }
    }

    /// Stops, and starts over the same store. What could not be written before may come back; records that cannot be read do not.
    fn restart(&mut self, damaged: bool) {
        self.mend();
        self.gateway.take().unwrap().stop();
        if damaged {
            self.faults.damage_records();
            self.live.clear();
        }
        self.gateway = Some(setup(&self.upstream, &self.faults).start());
    }

    /// Nothing is left of the faults: people sign in and get what is theirs.
    fn lives_on(&mut self) {
        self.mend();
        // Guesses are forgotten then: within one window of the first attempt by the clock that came back.
        for user in ["ada", "bob"] {
            self.log_in(user);
        }
        self.gateway().advance(Duration::from_secs(301));
        for user in ["ada", "bob"] {
            self.log_in_once_it_works(user);
            let cookie = self.latest[user].clone();
            assert_eq!(self.ask("/", Needs::Anybody, Some(&cookie)).status, 200);
            let expected = if user == "ada" { 200 } else { 403 };
            assert_eq!(self.ask("/staff/x", Needs::Ada, Some(&cookie)).status, expected);
            assert_eq!(self.ask("/_auth/account", Needs::Own, Some(&cookie)).status, 200);
        }
        assert_eq!(self.ask("/public/x", Needs::Nothing, None).status, 200);
        assert_eq!(self.ask("/", Needs::Anybody, None).status, 303);
    }

    /// A store that failed is opened again a moment later.
    fn log_in_once_it_works(&mut self, user: &'static str) {
        let until = std::time::Instant::now() + crate::support::PATIENCE;
        while self.log_in(user).status != 303 {
            assert!(std::time::Instant::now() < until, "nobody can sign in any more");
            std::thread::yield_now();
        }
    }

    /// Whether what is asked takes so many looks at the clock that this one is among them: it is then answered 500.
    fn panics_at(&mut self, looks: usize, ask: impl Fn(&mut Self) -> u16) -> bool {
        // A worker's sweeps look too, and may take the look that panics; the answer is then the usual one.
        for _ in 0..20 {
            self.faults.panic_at_look(looks);
            let status = ask(self);
            if status == 500 {
                return true;
            }
            if !self.faults.has_panicked() {
                return false;
            }
        }
        false
    }

    /// Asks for every path with the sessions there are, and with what looks like one.
    fn ask_with_everything(&mut self) {
        for (path, needs) in PATHS {
            let forged = FORGED.map(|forged| self.forge(forged));
            let genuine = ["ada", "bob"].map(|user| self.latest.get(user).cloned());
            for cookie in forged.into_iter().chain(genuine) {
                self.ask(path, needs, cookie.as_deref());
            }
        }
    }

    fn forge(&self, forged: Forged) -> Option<String> {
        let name = |value: String| Some(format!("fluidgate={value}"));
        match forged {
            Forged::UnknownToken => name(signed(b"q80wZ7mJx2V3kQpYt5nRb8cLd1fGh4jKs6uXwEaTyI0")),
            Forged::WrongKey => name(signed(b"A80wZ7mJx2V3kQpYt5nRb8cLd1fGh4jKs6uXwEaTyI0")),
            Forged::Altered => self.latest.get("ada").map(|cookie| {
                let (rest, last) = cookie.split_at(cookie.len() - 1);
                format!("{rest}{}", if last == "A" { "E" } else { "A" })
            }),
            Forged::Malformed => name("v1.short.x.y".into()),
            Forged::None => None,
        }
    }
}

fn setup(upstream: &TestUpstream, faults: &Faults) -> Setup {
    let url = upstream.url();
    let routes = format!(
        "[[routes]]\nupstream = [\"{url}\"]\n\
         [[routes]]\npath = \"/staff\"\nupstream = [\"{url}\"]\naccess = {{ groups = [\"staff\"] }}\n\
         [[routes]]\npath = \"/public\"\nupstream = [\"{url}\"]\naccess = \"public\"\n"
    );
    Setup { faults: Some(faults.clone()), store: "{ type = \"memory\" }", ..Setup::routes(routes) }
        .session("max_bad_cookies = 0\n")
        .sections("[login.throttle]\nper_account = 3\nper_source = 1000000\n")
}

/// The session cookie that an answer hands out.
fn session_of(response: &WireResponse) -> Option<String> {
    let pairs = response.all("set-cookie").into_iter().filter_map(|field| field.split(';').next());
    pairs.filter(|pair| pair.starts_with("fluidgate=v1.")).map(str::to_owned).next()
}

/// The value of a cookie for a token that nobody was given, signed by this secret as the file has it.
fn signed(secret: &[u8]) -> String {
    struct Sevens;
    impl Random for Sevens {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            bytes.fill(7);
            Ok(())
        }
    }
    let secret = data_encoding::BASE64URL_NOPAD.decode(secret).unwrap();
    let settings = CookieSettings { secure: SecureMode::Never, ..CookieSettings::default() };
    let codec = CookieCodec::new(KeyRing::new(&[Secret::new(secret)]).unwrap(), &settings);
    let issued = codec.issue(&Token::random(&Sevens).unwrap(), DAY, false);
    issued.to_str().unwrap().split(['=', ';']).nth(1).unwrap().to_owned()
}

#[test]
fn no_fault_of_store_clock_or_randomness_lets_a_request_through_that_should_not_pass() {
    let mut trial = Trial::new();
    for store in STORES {
        for time in TIMES {
            trial.mend();
            trial.log_in_once_it_works("ada");
            trial.log_in_once_it_works("bob");
            for chance in CHANCES {
                trial.set(store, time, chance);
                for (path, needs) in PATHS {
                    for user in ["ada", "bob"] {
                        let cookie = trial.latest[user].clone();
                        let status = trial.ask(path, needs, Some(&cookie)).status;
                        // Who is signed in needs neither the store nor luck.
                        let own = needs == Needs::Ada && user == "bob";
                        assert!(
                            time != Time::Well || (status == 200) != own,
                            "{path}: {status}, {store:?} {chance:?}"
                        );
                    }
                    for forged in FORGED {
                        let cookie = trial.forge(forged);
                        trial.ask(path, needs, cookie.as_deref());
                    }
                }
                let response = trial.log_in("zoe");
                let fine = (store, time, chance) == (Store::Well, Time::Well, Chance::Well);
                assert!(!fine || response.status == 303);
                assert!(
                    response.status != 303 || store == Store::Well || store == Store::Unreadable,
                    "a session that is not written: {store:?} {time:?} {chance:?}"
                );
            }
        }
    }
    trial.lives_on();
}

#[test]
fn a_panic_at_any_look_at_the_clock_is_a_500_and_later_requests_live_on() {
    let mut trial = Trial::new();
    trial.log_in_once_it_works("ada");
    for (path, needs) in PATHS {
        let cookie = trial.latest["ada"].clone();
        for looks in 0.. {
            if !trial.panics_at(looks, |trial| trial.ask(path, needs, Some(&cookie)).status) {
                break;
            }
        }
        trial.mend();
        assert_eq!(trial.ask("/", Needs::Anybody, Some(&cookie)).status, 200, "after {path}");
    }
    for looks in 0.. {
        if !trial.panics_at(looks, |trial| trial.log_in("bob").status) {
            break;
        }
    }
    trial.lives_on();
}

#[test]
fn a_store_that_cannot_be_read_at_start_is_no_start_and_unreadable_records_are_no_sessions() {
    let mut trial = Trial::new();
    trial.log_in_once_it_works("ada");
    let cookie = trial.latest["ada"].clone();
    trial.restart(false);
    assert_eq!(trial.ask("/", Needs::Anybody, Some(&cookie)).status, 200);
    trial.restart(true);
    assert_eq!(trial.ask("/", Needs::Anybody, Some(&cookie)).status, 303);
    trial.gateway.take().unwrap().stop();
    for store in [Store::Unreadable, Store::Panics] {
        trial.set(store, Time::Well, Chance::Well);
        assert!(setup(&trial.upstream, &trial.faults).try_start().is_err(), "{store:?}");
    }
    trial.mend();
    trial.gateway = Some(setup(&trial.upstream, &trial.faults).start());
    trial.lives_on();
}

#[test]
fn a_user_file_that_is_gone_or_damaged_at_a_reload_changes_nothing() {
    let mut trial = Trial::new();
    trial.log_in_once_it_works("ada");
    let users = trial.gateway().file("users.toml");
    let text = std::fs::read_to_string(&users).unwrap();
    for damage in [None, Some("[users.ada]\npassword = \"x\"\n"), Some("[users"), Some("")] {
        match damage {
            None => std::fs::remove_file(&users).unwrap(),
            Some(text) => trial.gateway().change_users(|_| text.to_owned()),
        }
        let taken = trial.gateway().reload();
        assert_eq!(taken, damage == Some(""), "{damage:?}");
        let cookie = trial.latest["ada"].clone();
        let status = trial.ask("/", Needs::Anybody, Some(&cookie)).status;
        // A file of nobody is a file: nobody is let in.
        assert_eq!(status, if taken { 303 } else { 200 }, "{damage:?}");
    }
    trial.live.clear();
    trial.gateway().change_users(|_| text.clone());
    assert!(trial.gateway().reload());
    trial.lives_on();
}

#[test]
fn a_redis_server_that_holds_garbage_or_is_away_lets_nobody_in_that_it_has_not_vouched_for() {
    let mut server = TestRedis::start();
    let mut trial = Trial::new();
    let store = format!("{{ type = \"redis\", url = \"{}\", grace = \"30s\" }}", server.url());
    let setup = Setup { store: store.leak(), faults: None, ..setup(&trial.upstream, &trial.faults) };
    trial.gateway = Some(setup.start());
    for user in ["ada", "bob"] {
        trial.log_in_once_it_works(user);
    }
    let cookie = trial.latest["ada"].clone();
    assert_eq!(trial.ask("/", Needs::Anybody, Some(&cookie)).status, 200);
    trial.ask_with_everything();
    server.say(
        "EVAL \"for _, key in ipairs(redis.call('KEYS', 'fluidgate:session:*')) do redis.call('SET', key, 'garbage') end\" 0",
    );
    until("the gateway learns of it", || trial.ask("/", Needs::Anybody, Some(&cookie)).status == 303);
    trial.live.clear();
    trial.ask_with_everything();
    for user in ["ada", "bob"] {
        trial.log_in_once_it_works(user);
    }
    server.stop();
    trial.ask_with_everything();
    trial.gateway().advance(Duration::from_secs(31));
    trial.live.clear();
    trial.ask_with_everything();
    server.start_again();
    trial.lives_on();
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Faults(Store, Time, Chance),
    Mend,
    LogIn(&'static str),
    Guess(&'static str),
    LogOut(&'static str),
    Ask(usize, &'static str),
    Forge(usize, Forged),
    Advance(u64),
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop::sample::select(vec!["ada", "bob"]);
    let faults = (
        prop::sample::select(STORES.to_vec()),
        prop::sample::select(TIMES.to_vec()),
        prop::sample::select(CHANCES.to_vec()),
    );
    prop_oneof![
        4 => faults.prop_map(|(store, time, chance)| Step::Faults(store, time, chance)),
        2 => Just(Step::Mend),
        4 => user().prop_map(Step::LogIn),
        2 => user().prop_map(Step::Guess),
        2 => user().prop_map(Step::LogOut),
        12 => (0..PATHS.len(), user()).prop_map(|(path, user)| Step::Ask(path, user)),
        4 => (0..PATHS.len(), prop::sample::select(FORGED.to_vec())).prop_map(|(path, forged)| Step::Forge(path, forged)),
        2 => (0..100_000u64).prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_faults_lets_a_request_through_that_should_not_pass(steps in prop::collection::vec(step(), 1..60)) {
        let mut trial = Trial::new();
        trial.log_in("ada");
        // Sessions that were signed out while the store was failing come back with a restart: the record is there still.
        let mut owed: Vec<(String, &'static str)> = Vec::new();
        for step in steps {
            match step {
                Step::Faults(store, time, chance) => trial.set(store, time, chance),
                Step::Mend => trial.mend(),
                Step::LogIn(user) => drop(trial.log_in(user)),
                Step::Guess(user) => trial.guess(user),
                Step::LogOut(user) => {
                    let before = trial.live.clone();
                    trial.log_out(user);
                    owed.extend(before.into_iter().filter(|(cookie, _)| !trial.live.contains_key(cookie)));
                }
                Step::Ask(path, user) => {
                    let (path, needs) = PATHS[path];
                    let cookie = trial.latest.get(user).cloned();
                    let before = trial.live.clone();
                    trial.ask(path, needs, cookie.as_deref());
                    owed.extend(before.into_iter().filter(|(cookie, _)| !trial.live.contains_key(cookie)));
                }
                Step::Forge(path, forged) => {
                    let (path, needs) = PATHS[path];
                    let cookie = trial.forge(forged);
                    trial.ask(path, needs, cookie.as_deref());
                }
                Step::Advance(seconds) => trial.gateway().advance(Duration::from_secs(seconds)),
                Step::Restart(damaged) => {
                    trial.restart(damaged);
                    if damaged {
                        owed.clear();
                    }
                    trial.live.extend(owed.drain(..));
                }
            }
        }
        trial.lives_on();
    }
}
