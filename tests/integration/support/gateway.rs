//! A gateway started from TOML text through the real path, with a state folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use fluidgate::app::{self, AppError, Ended, Running};
use fluidgate::base::clock::{ManualClock, Timestamp};
use fluidgate::base::secret::{Random, SystemRandom};
use fluidgate::config;
use fluidgate::server::ListenAddress;
use tempfile::TempDir;

use super::browser::TestBrowser;
use super::faults::Faults;
use super::tls::Authority;
use super::upstream::TestUpstream;
use super::wire::Wire;

/// Every test user's password.
pub const PASSWORD: &str = "correct horse battery staple";

pub struct TestGateway {
    running: Option<Running>,
    clock: ManualClock,
    folder: Arc<TempDir>,
}

/// What a test wants different from the ordinary gateway.
pub struct Setup {
    pub routes: String,
    /// More of the file, after the routes; whole sections.
    pub sections: String,
    /// The value of `server.listen`.
    pub listen: String,
    pub workers: usize,
    /// Lines for `[server]`.
    pub server: String,
    /// Lines for `[session]`.
    pub session: String,
    pub store: &'static str,
    /// The value of `access_log.target`.
    pub access_log: &'static str,
    pub secrets: String,
    pub folder: Arc<TempDir>,
    pub clock: ManualClock,
    /// Where randomness comes from; the system by default.
    pub random: Arc<dyn Random>,
    /// What goes wrong below the gateway: the store, the clock and the randomness are then of these.
    pub faults: Option<Faults>,
}

impl Setup {
    /// Routes as TOML, such as `[[routes]]\nupstream = […]`.
    pub fn routes(routes: impl Into<String>) -> Self {
        Self {
            routes: routes.into(),
            sections: String::new(),
            listen: r#"["127.0.0.1:0"]"#.into(),
            workers: 2,
            server: String::new(),
            session: String::new(),
            store: r#"{ type = "sled", path = "sessions" }"#,
            access_log: r#""access.log""#,
            secrets: r#"["file:secret.key"]"#.into(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            clock: ManualClock::new(Timestamp::from_secs(1_800_000_000)),
            random: Arc::new(SystemRandom),
            faults: None,
        }
    }

    /// One protected route to `upstream` for any host.
    pub fn protecting(upstream: &TestUpstream) -> Self {
        Self::routes(format!("[[routes]]\nupstream = [\"{}\"]\n", upstream.url()))
    }

    pub fn sections(mut self, text: &str) -> Self {
        self.sections += text;
        self
    }

    pub fn server(mut self, lines: &str) -> Self {
        self.server += lines;
        self
    }

    pub fn session(mut self, lines: &str) -> Self {
        self.session += lines;
        self
    }

    /// A second listener, of TLS, with a certificate for `names`: `cert.pem` and `cert.key` in the state folder.
    pub fn tls(self, authority: &Authority, names: &[&str]) -> Self {
        authority.issue(names).write(self.folder.path(), "cert");
        self.tls_section("certificates = [{ certificate = \"cert.pem\", key = \"cert.key\" }]\n")
    }

    /// A second listener, of TLS, by these lines of `[tls]`.
    pub fn tls_section(mut self, lines: &str) -> Self {
        self.listen = r#"["127.0.0.1:0", { address = "127.0.0.1:0", tls = true }]"#.into();
        self.sections(&format!("[tls]\n{lines}"))
    }

    /// Other listeners than the plain one.
    pub fn listen(mut self, value: &str) -> Self {
        self.listen = value.into();
        self
    }

    pub fn start(self) -> TestGateway {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_start(self) -> Result<TestGateway, AppError> {
        let folder = self.folder.path();
        private_file(&folder.join("secret.key"), "q80wZ7mJx2V3kQpYt5nRb8cLd1fGh4jKs6uXwEaTyI0");
        private_file(&folder.join("users.toml"), &USERS);
        let text = format!(
            "[server]\nlisten = {}\nworkers = {}\n{}\n[session]\nsecrets = {}\nstore = {}\n{}\n\
             [login.password]\nusers = \"users.toml\"\n[login.password.hashing]\nmemory_kib = 1024\niterations = 1\n\
             [management]\nlisten = \"127.0.0.1:0\"\n[access_log]\ntarget = {}\n{}\n{}",
            self.listen,
            self.workers,
            self.server,
            self.secrets,
            self.store,
            self.session,
            self.access_log,
            self.sections,
            self.routes
        );
        let file = folder.join("gateway.toml");
        fs::write(&file, text).unwrap();
        let loaded = config::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let running = match &self.faults {
            None => app::start(&loaded.config, Arc::new(self.clock.clone()), self.random)?,
            Some(faults) => {
                let (clock, random) = (faults.clock(self.clock.clone()), faults.random());
                app::start_over(&loaded.config, Arc::new(clock), Arc::new(random), Box::new(faults.store()))?
            }
        };
        Ok(TestGateway { running: Some(running), clock: self.clock, folder: self.folder })
    }
}

impl TestGateway {
    /// One protected route to `upstream`, everything else as by default.
    pub fn protecting(upstream: &TestUpstream) -> Self {
        Setup::protecting(upstream).start()
    }

    pub fn address(&self) -> SocketAddr {
        self.listener(0)
    }

    /// Where the listener that [`Setup::tls`] added listens.
    pub fn tls_address(&self) -> SocketAddr {
        self.listener(1)
    }

    /// Where the listener at this place of `server.listen` listens.
    pub fn listener(&self, place: usize) -> SocketAddr {
        match self.running().addresses().get(place) {
            Some(ListenAddress::Tcp(address)) => *address,
            other => panic!("{other:?}"),
        }
    }

    pub fn management(&self) -> SocketAddr {
        self.running().management().expect("the management listener is on")
    }

    pub fn browser(&self) -> TestBrowser {
        TestBrowser::new(self.address())
    }

    /// The cookie of a user who has signed in, as it stands in a request.
    pub fn cookie_of(&self, user: &str) -> String {
        signed_in(self.browser(), user)
    }

    /// The same for one who has signed in at a host of that name.
    pub fn cookie_at(&self, host: &str, user: &str) -> String {
        let mut browser = self.browser();
        browser.base = url::Url::parse(&format!("http://{host}/")).unwrap();
        signed_in(browser, user)
    }

    pub fn wire(&self) -> Wire {
        Wire::connect(self.address())
    }

    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    pub fn folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads the files again; false when something new was refused.
    pub fn reload(&self) -> bool {
        self.running().reload()
    }

    /// Rewrites the user file as `change` has it.
    pub fn change_users(&self, change: impl FnOnce(&str) -> String) {
        self.change("users.toml", change);
    }

    /// Rewrites the configuration file as `change` has it.
    pub fn change_config(&self, change: impl FnOnce(&str) -> String) {
        self.change("gateway.toml", change);
    }

    /// By a rename, as careful editors and the `users` commands do: no reader sees half a file.
    fn change(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let (path, fresh) = (self.file(name), self.file("fresh"));
        let text = change(&fs::read_to_string(&path).unwrap_or_default());
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&fresh, &path).unwrap();
    }

    /// Stops as SIGTERM does.
    pub fn stop(mut self) -> Ended {
        self.running.take().map(Running::stop).unwrap()
    }

    /// Stops, and answers the text of a file of the state folder as it is then.
    pub fn stop_and_read(mut self, name: &str) -> String {
        assert_eq!(self.running.take().map(Running::stop), Some(Ended::Clean));
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Stops, and hands over the state folder and the clock for another gateway.
    pub fn stop_keeping_state(mut self) -> (Arc<TempDir>, ManualClock) {
        assert_eq!(self.running.take().map(Running::stop), Some(Ended::Clean));
        (self.folder.clone(), self.clock.clone())
    }

    /// Stops, and starts again in the same folder and at the same moment with the setup that `change` makes of the ordinary one.
    pub fn restart(mut self, setup: Setup) -> TestGateway {
        assert_eq!(self.running.take().map(Running::stop), Some(Ended::Clean));
        Setup { folder: self.folder.clone(), clock: self.clock.clone(), ..setup }.start()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn private_file(path: &Path, text: &str) {
    if !path.exists() {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// ada (staff), bob (nobody's member), and zoë, whose name and groups need encoding. The hashes are as cheap as they can be.
static USERS: LazyLock<String> = LazyLock::new(|| {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
    let hash = cheap.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    format!(
        "[users.ada]\npassword = \"{hash}\"\nname = \"Ada Lovelace\"\nemail = \"ada@example.com\"\ngroups = [\"staff\", \"wiki\"]\n\
         [users.bob]\npassword = \"{hash}\"\n\
         [users.zoe]\npassword = \"{hash}\"\nname = \"Zoë, 100%\"\ngroups = [\"a,b\"]\n\
         [users.eve]\npassword = \"{hash}\"\ndisabled = true\n"
    )
});

fn signed_in(mut browser: TestBrowser, user: &str) -> String {
    browser.log_in(user);
    let (name, value) = browser.session_cookie().unwrap();
    format!("{name}={value}")
}
