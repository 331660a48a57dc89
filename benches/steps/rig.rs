//! A gateway of ten thousand routes and as many sessions, that serves nobody: the steps are called one by one.

use std::error::Error;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use fluidgate::base::clock::{Clock, SystemClock};
use fluidgate::base::identity::{Identity, LoginMethod, Subject};
use fluidgate::base::secret::SystemRandom;
use fluidgate::config::{self, Config};
use fluidgate::gateway::{Gateway, Parts};
use fluidgate::login::Login;
use fluidgate::session::{Activity, Origin, SessionManager};
use http::HeaderMap;
use http::header::COOKIE;

/// One host has the paths `/team0` and so on, and there are as many hosts of their own and wildcards.
pub const TEAMS: usize = 5_000;
pub const HOSTS: usize = 4_000;
pub const WILDCARDS: usize = 1_000;
const SESSIONS: usize = 10_000;
/// Logins that share a commit.
const TOGETHER: usize = 250;

pub struct Rig {
    pub config: Config,
    pub gateway: Gateway,
    pub sessions: Arc<SessionManager>,
    pub clock: Arc<SystemClock>,
    /// `name=value` of every session.
    pub cookies: Vec<String>,
}

impl Rig {
    pub fn build() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let config = configuration(folder.path())?;
        let (clock, random) = (Arc::new(SystemClock::default()), Arc::new(SystemRandom));
        let (sessions, _) = SessionManager::open(&config.session, clock.clone(), random.clone(), |_| None)?;
        let parts = Parts {
            sessions: sessions.clone(),
            login: Login::open(&config.login)?,
            upstreams: Arc::default(),
            clock: clock.clone(),
            random,
            requests: Arc::default(),
        };
        let secret = config.session.secrets.first().ok_or("no secret")?;
        let gateway = Gateway::build(&config.gateway, secret, parts)?;
        let cookies = sign_in(&sessions, &clock)?;
        Ok(Self { config, gateway, sessions, clock, cookies })
    }

    /// Whose sessions they all are.
    pub fn identity(&self) -> Result<Arc<Identity>, Box<dyn Error>> {
        let cookie = self.cookies.first().ok_or("no session")?;
        let headers = HeaderMap::from_iter([(COOKIE, cookie.parse()?)]);
        let managed = self.sessions.manage(&headers, false, Activity::Ignored, self.clock.now());
        Ok(managed.session.and_then(|session| session.identity()).ok_or("no identity")?)
    }
}

/// From TOML, as every gateway's is. Nothing is read from the folder later on.
fn configuration(folder: &Path) -> Result<Config, Box<dyn Error>> {
    let secret = folder.join("secret.key");
    fs::write(&secret, "q80wZ7mJx2V3kQpYt5nRb8cLd1fGh4jKs6uXwEaTyI0")?;
    fs::set_permissions(&secret, Permissions::from_mode(0o600))?;
    fs::write(folder.join("users.toml"), "")?;
    let mut text = String::from(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[session]\nsecrets = [\"file:secret.key\"]\n\
         store = { type = \"memory\" }\n[login.password]\nusers = \"users.toml\"\n[management]\nlisten = false\n",
    );
    let team = (0..TEAMS).map(|team| format!("host = \"apps.example.com\"\npath = \"/team{team}\""));
    let host = (0..HOSTS).map(|host| format!("host = \"app{host}.example.com\""));
    let wildcard = (0..WILDCARDS).map(|zone| format!("host = \"*.zone{zone}.example.net\""));
    for place in team.chain(host).chain(wildcard) {
        write!(text, "[[routes]]\n{place}\nupstream = [\"http://127.0.0.1:9000\"]\n")?;
    }
    Ok(config::parse(&text, "steps", folder).map_err(|problems| problems.to_string())?.config)
}

fn sign_in(sessions: &Arc<SessionManager>, clock: &SystemClock) -> Result<Vec<String>, Box<dyn Error>> {
    let identity =
        Identity::new("ada", Some("Ada Lovelace"), Some("ada@example.com"), &["staff", "wiki", "everybody"]);
    let ada = Arc::new(Subject {
        identity: Arc::new(identity),
        method: LoginMethod::Password,
        credential: [1; 16],
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut cookies = Vec::with_capacity(SESSIONS);
    while cookies.len() < SESSIONS {
        let logins = runtime.block_on(async {
            let logins = (0..TOGETHER).map(|_| {
                let (sessions, ada, now) = (sessions.clone(), ada.clone(), clock.now());
                async move { sessions.create(&ada, None, Origin::default(), false, now).await }
            });
            logins.collect::<tokio::task::JoinSet<_>>().join_all().await
        });
        for login in logins {
            let set = login.map_err(|error| error.to_string())?.set_cookie;
            cookies.push(set.to_str()?.split(';').next().unwrap_or_default().to_owned());
        }
    }
    Ok(cookies)
}
