//! Layer 5: builds everything from a `Config`, runs it, shuts it down in order.
//!
//! Threads: workers (one per core) answer requests; one control thread does what is slow or rare (sweeper, management listener,
//! admin socket, signals, reload, drain, the watch for lost log lines); the session store's writer, the hash pool and both logs have
//! threads of their own because they block.

mod ending;
mod logs;
mod management;
mod metrics;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use self::ending::EndSignals;
use self::logs::{Losses, say_not_waited_for, wait_for_end, worker_log};
use self::management::ManagementListener;
use self::metrics::ProcessNumbers;
use self::reload::{Certificates, FileMark, Reloader};
use crate::base::clock::Clock;
use crate::base::secret::{Random, RandomError, Secret};
use crate::config::Config;
use crate::gateway::admin::{Admin, AdminSocket, AdminSocketError};
use crate::gateway::management::Management;
use crate::gateway::request_id::RequestIdSeed;
use crate::gateway::worker::{GatewayService, Worker};
use crate::gateway::{Gateway, GatewayError, Parts};
use crate::login::{Login, LoginError};
use crate::observe::LogNumbers;
use crate::observe::access_log::{AccessLog, LogThread};
use crate::observe::audit::{AuditLog, AuditThread};
use crate::observe::metrics::{RequestCounts, Source};
use crate::proxy::{self, UpstreamNumbers, UpstreamPool, Upstreams};
use crate::server::tls::TlsError;
use crate::server::{self, BindError, ListenAddress, Workers};
use crate::session::store::SessionStore;
use crate::session::{self, OpenError, OpenReport, SessionManager};

/// Why the gateway did not start. Nothing was left running.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A public listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate, a key or an authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The management listener could not be bound.
    #[error("cannot listen on the management address {address}: {cause}")]
    Management {
        /// Where.
        address: ListenAddress,
        /// Why not.
        cause: io::Error,
    },
    /// The admin socket could not be made.
    #[error(transparent)]
    Admin(#[from] AdminSocketError),
    /// The access log could not be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(io::Error),
    /// The audit log could not be opened.
    #[error("cannot open the audit log: {0}")]
    AuditLog(io::Error),
    /// The user file could not be read.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The session store could not be opened.
    #[error(transparent)]
    Session(#[from] OpenError),
    /// The snapshot could not be built.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// No randomness, no gateway.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The workers could not be started.
    #[error(transparent)]
    Workers(#[from] server::StartError),
    /// The control thread could not be started.
    #[error("cannot start the control thread: {0}")]
    Control(io::Error),
    /// There is no session secret; the configuration refuses this too.
    #[error("there is no session secret")]
    NoSecret,
}

/// A running gateway.
pub struct Running {
    addresses: Vec<ListenAddress>,
    management: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    reloads: mpsc::UnboundedSender<oneshot::Sender<bool>>,
    control: JoinHandle<Ended>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything in flight was finished within the grace period and the store is flushed.
    Clean,
    /// Requests had to be cut.
    Cut,
}

impl Running {
    /// Where the public listeners listen, with the real ports.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Where the management listener listens, when it is on and on TCP.
    pub fn management(&self) -> Option<SocketAddr> {
        self.management
    }

    /// Reads the configuration and the user file again, as SIGHUP does; waits until that is done. False when something new was
    /// refused (the old one stays) or the gateway has ended. Not to be called from an asynchronous task.
    pub fn reload(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.reloads.send(done).is_ok() && answer.blocking_recv().unwrap_or(false)
    }

    /// Waits for SIGTERM or SIGINT and the drain that follows.
    pub fn wait(self) -> Ended {
        self.control.join().unwrap_or(Ended::Cut)
    }

    /// Drains and stops, as SIGTERM does.
    pub fn stop(mut self) -> Ended {
        if let Some(stop) = self.stop.take() {
            // The control thread may have ended already, by a signal.
            let _ = stop.send(());
        }
        self.wait()
    }
}

/// Starts the gateway of `config`. It listens when this returns. A SIGHUP is a reload from before it listens.
///
/// # Errors
/// See [`AppError`].
pub fn start(config: &Config, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Running, AppError> {
    start_with(config, clock, random, None)
}

/// The same over a session store of the caller's own, whatever store the configuration names.
///
/// # Errors
/// See [`AppError`].
pub fn start_over(
    config: &Config,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    store: Box<dyn SessionStore>,
) -> Result<Running, AppError> {
    start_with(config, clock, random, Some(store))
}

fn start_with(
    config: &Config,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    store: Option<Box<dyn SessionStore>>,
) -> Result<Running, AppError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Control)?;
    let hangups = reload::hangups(config, &runtime);
    let signals = EndSignals::catch(&runtime);
    let listeners = server::bind(&config.server.listen)?;
    let certificates =
        config.server.tls.as_ref().map(|tls| Certificates::load(tls, clock.now())).transpose()?;
    let management = config.management.as_ref().map(ManagementListener::bind).transpose()?;
    let log = AccessLog::open(&config.access_log).map_err(AppError::AccessLog)?;
    let users_seen = FileMark::of(&config.login.users);
    let audit = AuditLog::open(&config.audit_log, clock.clone()).map_err(AppError::AuditLog)?;
    let (audit, audit_thread) = audit.unzip();
    let mut logs = LogNumbers::default();
    logs.add("access", log.as_ref().map(|(log, _)| log.lost()));
    logs.add("audit", audit.as_ref().map(|log| log.lost()));
    let login = Login::open(&config.login)?;
    for warning in login.warnings() {
        tracing::warn!("{warning}");
    }
    let (sessions, report) = {
        let (directory, clock_for_login) = (login.clone(), clock.clone());
        let subject_of = move |user: &str| directory.subject_of(user, clock_for_login.now());
        let (settings, clock, random) = (&config.session, clock.clone(), random.clone());
        match store {
            None => SessionManager::open_audited(settings, clock, random, subject_of, audit)?,
            Some(store) => SessionManager::open_over(settings, clock, random, subject_of, audit, store)?,
        }
    };
    say_what_was_found(&report);
    // After the store: its lock says that no other gateway uses this folder.
    let admin_socket = config.admin_socket.as_deref().map(AdminSocket::bind).transpose()?;
    let admin = Admin::new(sessions.clone(), login.clone(), clock.clone());

    let secret: &Secret = config.session.secrets.first().ok_or(AppError::NoSecret)?;
    let requests = Arc::new(RequestCounts::default());
    let upstreams = Arc::new(Upstreams::default());
    let parts = Parts {
        sessions: sessions.clone(),
        login: login.clone(),
        upstreams: upstreams.clone(),
        clock: clock.clone(),
        random: random.clone(),
        requests: requests.clone(),
    };
    let snapshot = Arc::new(ArcSwap::from_pointee(Gateway::build(&config.gateway, secret, parts.clone())?));
    let process = Arc::new(ProcessNumbers::new(clock.now()));
    let tls = certificates.as_ref().map(|certificates| certificates.tls().clone());
    let reloader = Reloader::new(
        config.clone(),
        parts,
        snapshot.clone(),
        users_seen,
        certificates,
        process.clone(),
        hangups,
    );
    let mut sources: Vec<Arc<dyn Source>> = vec![
        process,
        Arc::new(logs.clone()),
        Arc::new(listeners.counts()),
        requests.clone(),
        sessions.clone(),
        login,
    ];
    sources.push(Arc::new(UpstreamNumbers::new(upstreams.clone(), clock.clone())));
    sources.extend(tls.clone().map(|tls| tls as Arc<dyn Source>));
    let seed = RequestIdSeed::new(&*random)?;
    let (access_log, log_thread) = log.unzip();
    let pool_clock = clock.clone();
    let workers = server::start(&config.server, &listeners, tls.as_ref(), move |index| {
        let log = access_log.clone().map(worker_log);
        let pool = UpstreamPool::start(pool_clock.clone());
        GatewayService::new(Rc::new(Worker::new(
            snapshot.clone(),
            pool,
            log,
            seed.worker(index),
            requests.worker(),
        )))
    })?;

    let addresses = listeners.local_addresses();
    let management_address = management.as_ref().and_then(ManagementListener::address);
    let (stop, stopped) = oneshot::channel();
    let (reloads, asked) = mpsc::unbounded_channel();
    let control = Control {
        sessions,
        upstreams,
        reloader,
        asked,
        clock,
        random,
        management,
        sources,
        admin: admin_socket.map(|socket| (socket, admin)),
        workers,
        logs,
        log_thread,
        audit_thread,
        grace: config.server.grace_period,
        signals,
    };
    let thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || control.run(&runtime, stopped))
        .map_err(AppError::Control)?;
    Ok(Running { addresses, management: management_address, stop: Some(stop), reloads, control: thread })
}

/// What opening the store found is said once, and loudly where sessions were lost.
fn say_what_was_found(report: &OpenReport) {
    if let Some(distrust) = &report.dropped {
        tracing::error!(reason = %distrust, "the session store is not trusted: every session in it has ended");
    }
    if report.quarantined > 0 {
        tracing::warn!(records = report.quarantined, "session records that cannot be read were set aside");
    }
    tracing::info!(
        live = report.live,
        expired = report.expired,
        disowned = report.disowned,
        "the session store is open"
    );
}

/// What the control thread owns.
struct Control {
    sessions: Arc<SessionManager>,
    upstreams: Arc<Upstreams>,
    reloader: Reloader,
    asked: mpsc::UnboundedReceiver<oneshot::Sender<bool>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    management: Option<ManagementListener>,
    sources: Vec<Arc<dyn Source>>,
    admin: Option<(AdminSocket, Admin)>,
    workers: Workers,
    logs: LogNumbers,
    log_thread: Option<LogThread>,
    audit_thread: Option<AuditThread>,
    grace: Duration,
    signals: EndSignals,
}

impl Control {
    fn run(self, runtime: &Runtime, stopped: oneshot::Receiver<()>) -> Ended {
        tokio::task::LocalSet::new().block_on(runtime, self.control(stopped))
    }

    async fn control(mut self, stopped: oneshot::Receiver<()>) -> Ended {
        let draining = Arc::new(AtomicBool::new(false));
        if let Some(listener) = self.management {
            let management = Management::new(self.sessions.clone(), draining.clone(), self.sources);
            tokio::task::spawn_local(listener.serve(management));
        }
        let admin = self.admin.map(|(socket, admin)| tokio::task::spawn_local(socket.serve(admin)));
        let sweeper =
            session::sweep_forever(self.sessions.clone(), self.clock, self.random, std::future::pending());
        let sweeper = tokio::task::spawn_local(sweeper);
        let watching = tokio::task::spawn_local(proxy::watch(self.upstreams));
        let losses = Losses::watch(self.logs);

        // Between two awaits only, so that no reload is left half done.
        let reloading = tokio::task::spawn_local(self.reloader.run(self.asked));
        tokio::select! {
            // An error means that the handle was dropped without a word: the gateway then runs on until a signal.
            Ok(()) = stopped => {}
            () = self.signals.next() => {}
        }
        reloading.abort();
        draining.store(true, Ordering::Relaxed);
        tracing::info!(grace = ?self.grace, "draining: no new connections, requests in flight are finished");
        // A second signal does not wait any longer.
        let drained = tokio::select! {
            biased;
            report = self.workers.drain(self.grace) => Some(report),
            () = self.signals.next() => None,
        };
        let ended = if drained.is_some_and(|report| report.cut == 0) { Ended::Clean } else { Ended::Cut };
        sweeper.abort();
        watching.abort();
        if let Some(admin) = admin {
            admin.abort();
            // Its file is gone when the task is.
            let _ = admin.await;
        }
        self.sessions.close().await;
        if let Some(thread) = self.audit_thread {
            wait_for_end("audit", move |patience| thread.finish(patience)).await;
        }
        if let Some(thread) = self.log_thread {
            if drained.is_some() {
                wait_for_end("access", move |patience| thread.ended_within(patience)).await;
            } else {
                // It ends when the last worker has let go of it. Of workers that were left behind nobody knows when that is.
                say_not_waited_for("access");
            }
        }
        losses.say();
        tracing::info!(?ended, "stopped");
        ended
    }
}
