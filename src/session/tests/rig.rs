use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::identity::{Identity, LoginMethod, Subject};
use crate::base::secret::{Secret, SystemRandom};
use crate::session::record::Record;
use crate::session::store::{Change, Loaded, MemoryStore, Outcome, SessionStore, StoreError};
use crate::session::{
    Activity, CookieSettings, Created, LiveSession, Managed, OpenReport, Origin, SessionError,
    SessionManager, Settings, StoreSettings, StoredId,
};

pub(super) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn settings(store: StoreSettings) -> Settings {
    Settings {
        secrets: vec![secret(1)],
        duration: Duration::from_secs(24 * 3600),
        idle_timeout: Duration::from_secs(2 * 3600),
        store,
        cookie: CookieSettings::default(),
        cap: None,
        max_bad_cookies: 0,
    }
}

pub(super) fn secret(seed: u8) -> Secret {
    Secret::new((0..40).map(|n| n ^ seed).collect())
}

pub(super) fn subject(user: &str) -> Subject {
    Subject {
        identity: Arc::new(Identity::new(user, None, None, &["staff"])),
        method: LoginMethod::Password,
        credential: [1; 16],
    }
}

/// A directory that knows everybody.
pub(super) fn everybody(user: &str) -> Option<Subject> {
    Some(subject(user))
}

/// A manager over a store that can be looked into and made to fail.
pub(super) struct Rig {
    pub(super) manager: Arc<SessionManager>,
    pub(super) clock: ManualClock,
    pub(super) probe: Probe,
    pub(super) report: OpenReport,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(&settings(StoreSettings::Memory), Probe::default(), &everybody)
    }

    pub(super) fn with(
        settings: &Settings,
        probe: Probe,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
    ) -> Self {
        Self::at(ManualClock::new(START), settings, probe, subject_of)
    }

    pub(super) fn at(
        clock: ManualClock,
        settings: &Settings,
        probe: Probe,
        subject_of: &dyn Fn(&str) -> Option<Subject>,
    ) -> Self {
        let store = probe.clone();
        let (manager, report) = SessionManager::open_with(
            settings,
            Arc::new(clock.clone()),
            Arc::new(SystemRandom),
            subject_of,
            || Ok(Box::new(store)),
        )
        .unwrap();
        Self { manager, clock, probe, report }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) async fn log_in(&self, user: &str) -> Browser {
        self.try_log_in(user).await.unwrap()
    }

    pub(super) async fn try_log_in(&self, user: &str) -> Result<Browser, SessionError> {
        self.manager
            .create(&subject(user), None, Origin::default(), true, self.now())
            .await
            .map(Browser::from)
    }

    pub(super) fn ask(&self, browser: &Browser) -> Managed {
        self.manager.manage(&browser.headers(), true, Activity::Counts, self.now())
    }

    pub(super) fn is_in(&self, browser: &Browser) -> bool {
        self.ask(browser).session.is_some()
    }
}

/// One cookie as a browser keeps it.
pub(super) struct Browser {
    pub(super) cookie: String,
    pub(super) session: Arc<LiveSession>,
}

impl From<Created> for Browser {
    fn from(created: Created) -> Self {
        Self { cookie: pair(&created.set_cookie), session: created.session }
    }
}

impl Browser {
    pub(super) fn headers(&self) -> HeaderMap {
        headers(&[&self.cookie])
    }

    pub(super) fn token(&self) -> &str {
        self.cookie.split('.').nth(2).unwrap()
    }
}

/// The `name=value` of a Set-Cookie.
pub(super) fn pair(set_cookie: &HeaderValue) -> String {
    set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
}

pub(super) fn headers(fields: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_str(field).unwrap());
    }
    headers
}

/// A memory store that outlives its manager, counts, and fails when told to.
#[derive(Clone, Default)]
pub(super) struct Probe {
    store: Arc<Mutex<MemoryStore>>,
    pub(super) failing: Arc<AtomicBool>,
    pub(super) commits: Arc<AtomicUsize>,
    pub(super) reads: Arc<AtomicUsize>,
}

impl Probe {
    pub(super) fn records(&self) -> Vec<(StoredId, Record)> {
        let mut found = Vec::new();
        self.store.lock().unwrap().load(&mut |id, record| found.push((id, record))).unwrap();
        found
    }

    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::SeqCst) { Err(StoreError::Failed("disk full".into())) } else { Ok(()) }
    }
}

impl SessionStore for Probe {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        self.check()?;
        self.store.lock().unwrap().load(each)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.check()?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.lock().unwrap().commit(changes)
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.lock().unwrap().read(id)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.check()
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        self.check()?;
        self.store.lock().unwrap().set_not_before(moment)
    }

    fn not_before(&self) -> Timestamp {
        self.store.lock().unwrap().not_before()
    }
}
