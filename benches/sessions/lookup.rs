//! What it costs to find the session of a cookie, alone: `cargo bench --bench lookup [-- SESSIONS…]`.
//!
//! `SessionManager::manage` in one thread, with cookies of random sessions. Two figures for each number of sessions: one call right
//! after the other, and with other work in between that reads two megabytes, as a proxied request does to the caches and to the
//! pages the processor remembers. The cookie itself is at hand in both, as it is when it has just come from a socket. It reports
//! and asserts nothing: times of a shared machine mean little alone, so look at the differences to the first line.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluidgate::base::clock::{Clock, SystemClock};
use fluidgate::base::identity::{Identity, LoginMethod, Subject};
use fluidgate::base::secret::{Secret, SystemRandom};
use fluidgate::session::{Activity, CookieSettings, Origin, SessionManager, Settings, StoreSettings};
use http::HeaderMap;
use http::header::COOKIE;

const USERS: usize = 1000;
/// Lookups whose requests are made before the first of them is timed.
const BATCH: usize = 256;
const BATCHES: usize = 400;
/// What the other work reads.
const OTHER: usize = 2 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000, 100_000, 1_000_000] } else { given };
    println!("{:>10} {:>14} {:>14}", "sessions", "back to back", "between work");
    for sessions in sizes {
        let (manager, cookies) = filled(sessions)?;
        let (close, apart) = (measure(&manager, &cookies, &[]), measure(&manager, &cookies, &vec![1; OTHER]));
        println!("{sessions:>10} {close:>11} ns {apart:>11} ns");
    }
    Ok(())
}

/// The median of the batches, in nanoseconds for one call. What the work took is not in it.
fn measure(manager: &SessionManager, cookies: &[String], work: &[u8]) -> u128 {
    let clock = SystemClock::default();
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    let mut medians = Vec::new();
    for _ in 0..if work.is_empty() { BATCHES } else { BATCHES / 10 } {
        let requests: Vec<HeaderMap> = (0..BATCH).filter_map(|_| request(cookies, &mut random)).collect();
        let now = clock.now();
        let mut took = Duration::ZERO;
        let began = Instant::now();
        for request in &requests {
            // One line of every page and more: sums, so that nothing can be left out.
            black_box(work.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>());
            let one = Instant::now();
            let managed = manager.manage(black_box(request), false, Activity::Ignored, now);
            black_box(managed.session.and_then(|session| session.identity()));
            took += one.elapsed();
        }
        let took = if work.is_empty() { began.elapsed() } else { took };
        medians.push(took.as_nanos() / BATCH as u128);
    }
    medians.sort_unstable();
    medians.get(medians.len() / 2).copied().unwrap_or_default()
}

fn request(cookies: &[String], random: &mut Xorshift) -> Option<HeaderMap> {
    let cookie = cookies.get(random.below(cookies.len()))?;
    Some(HeaderMap::from_iter([(COOKIE, cookie.parse().ok()?)]))
}

/// A manager in memory with that many sessions, and their cookies.
fn filled(sessions: usize) -> Result<(Arc<SessionManager>, Vec<String>), Box<dyn Error>> {
    let clock = Arc::new(SystemClock::default());
    let (manager, _) = SessionManager::open(&settings(), clock.clone(), Arc::new(SystemRandom), |_| None)?;
    let users: Vec<Arc<Subject>> = (0..USERS).map(|number| subject(number).into()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut cookies = Vec::with_capacity(sessions);
    while cookies.len() < sessions {
        // Together, so that they share their commits.
        let logins = (0..BATCH.min(sessions - cookies.len())).map(|at| {
            let (manager, now) = (manager.clone(), clock.now());
            let user = users.get((cookies.len() + at) % USERS).cloned();
            async move {
                let user = user.ok_or("no user")?;
                manager.create(&user, None, Origin::default(), false, now).await.map_err(|e| e.to_string())
            }
        });
        let logins: Vec<_> = runtime.block_on(async {
            let set: tokio::task::JoinSet<_> = logins.collect();
            set.join_all().await
        });
        for login in logins {
            let text = login?.set_cookie.to_str()?.to_owned();
            cookies.push(text.split(';').next().unwrap_or_default().to_owned());
        }
    }
    Ok((manager, cookies))
}

fn settings() -> Settings {
    Settings {
        secrets: vec![Secret::new((0..32).collect())],
        duration: Duration::from_secs(86_400),
        idle_timeout: Duration::from_secs(7_200),
        store: StoreSettings::Memory,
        cookie: CookieSettings::default(),
        cap: None,
        max_bad_cookies: 0,
    }
}

fn subject(number: usize) -> Subject {
    let identity = Arc::new(Identity::new(&format!("user{number}"), None, None, &["staff"]));
    Subject { identity, method: LoginMethod::Password, credential: [1; 16] }
}

/// Which session is asked for next: no more is needed of it.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % bound
    }
}
