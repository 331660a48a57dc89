//! The worker threads: each accepts, serves, sweeps and drains on its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, oneshot, watch};

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::recurring::one_turn;
use crate::server::accept::accept_all;
use crate::server::caps::Count;
use crate::server::client_stream::ClientStream;
use crate::server::drain::{DrainReport, Phase};
use crate::server::http1::Http1;
use crate::server::http2::Http2Limits;
use crate::server::listener::{Accepted, Listener, Role};
use crate::server::metrics::OpenConnection;
use crate::server::stall::{Activity, Limits, Order};
use crate::server::tls::Tls;
use crate::server::tunnel::Scratch;
use crate::server::watched_io::WatchedSocket;
use crate::server::{Listeners, Peer, Service, Settings, establish, http1};

/// How often all connections of a worker are looked at; time limits are this coarse.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// How long a drain listens to who has connected and asked for nothing yet: a request may be on its way.
const COURTESY: Duration = Duration::from_millis(500);

/// Threads that read files for a worker, at the most: more requests for files wait for one. The library would start 512.
const BLOCKING_THREADS: usize = 16;

/// Tasks that a worker runs before it looks at its sockets again. With the library's 61 a burst of connections keeps all others waiting
/// for several times as long; each look costs a system call.
const TASKS_BETWEEN_LOOKS: u32 = 32;

/// A worker could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start worker {worker}: {source}")]
pub struct StartError {
    /// Which one, from 0.
    pub worker: usize,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The running workers. Dropped without [`Workers::drain`], they stop at once and cut what is in flight.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<(JoinHandle<()>, oneshot::Receiver<DrainReport>)>,
    phase: watch::Sender<Phase>,
}

impl Workers {
    /// Stops accepting, closes idle connections, waits up to `grace` for requests in flight, then cuts the rest.
    pub async fn drain(self, grace: Duration) -> DrainReport {
        let _ = self.phase.send(Phase::Drain(grace));
        let mut total = DrainReport::default();
        for (thread, report) in self.threads {
            // A worker that died has nothing to report.
            total = total.plus(report.await.unwrap_or_default());
            // It has reported: only the teardown of its runtime is left.
            let _ = thread.join();
        }
        total
    }
}

/// Starts `settings.workers` threads (at least one) that serve `listeners`, those with TLS by `tls`. `make` runs on each worker's own thread, within its
/// runtime, so that what it makes need not be `Send` and may spawn local tasks.
///
/// # Errors
/// When a thread, a runtime or a handle of a listening socket cannot be had; workers started before are stopped.
pub fn start<S: Service>(
    settings: &Settings,
    listeners: &Listeners,
    tls: Option<&Arc<Tls>>,
    make: impl Fn(usize) -> S + Clone + Send + 'static,
) -> Result<Workers, StartError> {
    let pace = Pace { clock: Arc::new(SystemClock::default()), sweep_period: SWEEP_PERIOD };
    start_at_pace(settings, listeners, tls, &pace, make)
}

/// Where a worker's time comes from, and how often it looks.
#[derive(Clone)]
pub(super) struct Pace {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sweep_period: Duration,
}

pub(super) fn start_at_pace<S: Service>(
    settings: &Settings,
    listeners: &Listeners,
    tls: Option<&Arc<Tls>>,
    pace: &Pace,
    make: impl Fn(usize) -> S + Clone + Send + 'static,
) -> Result<Workers, StartError> {
    let count = settings.workers.max(1);
    let loads: Loads = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let count_of_all = Count::new(settings.caps);
    let (phase, _) = watch::channel(Phase::Serve);
    let mut workers = Workers { threads: Vec::with_capacity(count), phase };
    for worker in 0..count {
        let fail = |source| StartError { worker, source };
        let sockets = listeners.share().map_err(fail)?;
        let runtime = Builder::new_current_thread();
        let orders = workers.phase.subscribe();
        let (report, reported) = oneshot::channel();
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let (settings, tls, pace) = (settings.clone(), tls.cloned(), pace.clone());
        let (loads, places, make) = (Arc::clone(&loads), Arc::clone(&count_of_all), make.clone());
        let body = move || {
            let mut runtime = runtime;
            runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).event_interval(TASKS_BETWEEN_LOOKS);
            let built = runtime.build_local(LocalOptions::default());
            let runtime = match built {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let drained = runtime.block_on(async move {
                let worker = Worker::new(worker, &settings, tls, (loads, places), pace, make(worker));
                worker.run(sockets, orders).await
            });
            // Tasks that are left go with the runtime before the report is out.
            drop(runtime);
            let _ = report.send(drained);
        };
        let thread =
            std::thread::Builder::new().name(format!("fluidgate-{worker}")).spawn(body).map_err(fail)?;
        has_started.recv().map_err(io::Error::other).flatten().map_err(fail)?;
        workers.threads.push((thread, reported));
    }
    Ok(workers)
}

/// Open connections per worker: what accepting is balanced by.
pub(super) type Loads = Arc<[AtomicUsize]>;

/// One worker's state; it never leaves its thread.
pub(super) struct Worker<S: Service> {
    index: usize,
    loads: Loads,
    places: Arc<Count>,
    /// Connections that were beyond the caps since the last sweep.
    refused: Cell<u32>,
    pub(super) service: Rc<S>,
    pub(super) http1: Http1,
    pub(super) http2: Http2Limits,
    pub(super) scratch: Scratch,
    pub(super) tls: Option<Arc<Tls>>,
    limits: Limits,
    pace: Pace,
    now: Rc<Cell<Timestamp>>,
    connections: RefCell<HashMap<u64, Rc<Activity>>>,
    next_key: Cell<u64>,
    left: Notify,
}

impl<S: Service> Worker<S> {
    fn new(
        index: usize,
        settings: &Settings,
        tls: Option<Arc<Tls>>,
        (loads, places): (Loads, Arc<Count>),
        pace: Pace,
        service: S,
    ) -> Rc<Self> {
        let now = Rc::new(Cell::new(pace.clock.now()));
        Rc::new(Self {
            index,
            loads,
            places,
            refused: Cell::new(0),
            service: Rc::new(service),
            http1: Http1::new(settings.max_head, settings.max_headers),
            http2: settings.http2,
            scratch: Scratch::default(),
            tls,
            limits: settings.limits,
            pace,
            now,
            connections: RefCell::default(),
            next_key: Cell::new(0),
            left: Notify::new(),
        })
    }

    async fn run(self: Rc<Self>, sockets: Vec<Listener>, mut orders: watch::Receiver<Phase>) -> DrainReport {
        let accepting: Vec<_> =
            sockets.into_iter().map(|s| tokio::task::spawn_local(accept_all(Rc::clone(&self), s))).collect();
        let sweeping = tokio::task::spawn_local(Rc::clone(&self).sweep_regularly());
        // A sender that is gone asks for an end without grace.
        let grace = match orders.wait_for(|p| *p != Phase::Serve).await.map(|p| *p) {
            Ok(Phase::Drain(grace)) => grace,
            Ok(Phase::Serve) | Err(_) => Duration::ZERO,
        };
        for task in accepting {
            task.abort();
            let _ = task.await;
        }
        let report = self.drain(grace).await;
        sweeping.abort();
        report
    }

    async fn drain(&self, grace: Duration) -> DrainReport {
        let busy = self.connections.borrow().values().filter(|a| !a.is_idle()).count();
        self.tell_all(Order::Finish);
        {
            // Gone before anybody else waits for the same word.
            let mut emptied = pin!(async {
                while !self.connections.borrow().is_empty() {
                    self.left.notified().await;
                }
            });
            let courtesy = COURTESY.min(grace);
            if tokio::time::timeout(courtesy, emptied.as_mut()).await.is_err() {
                for activity in self.connections.borrow().values().filter(|a| a.is_fresh()) {
                    activity.tell(Order::Cut);
                }
                let _ = tokio::time::timeout(grace.saturating_sub(courtesy), emptied).await;
            }
        }
        // One that rests and only has not closed yet holds nothing that could be lost.
        let cut = self.connections.borrow().values().filter(|a| !a.is_idle()).count();
        self.tell_all(Order::Cut);
        while !self.connections.borrow().is_empty() {
            self.left.notified().await;
        }
        DrainReport { finished: busy.saturating_sub(cut), cut }
    }

    fn tell_all(&self, order: Order) {
        for activity in self.connections.borrow().values() {
            activity.tell(order);
        }
    }

    async fn sweep_regularly(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(self.pace.sweep_period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            one_turn(|| self.sweep());
        }
    }

    fn sweep(&self) {
        self.now.set(self.pace.clock.now());
        if let refused @ 1.. = self.refused.take() {
            tracing::warn!(
                refused,
                "connections beyond server.max_connections or max_connections_per_source were closed"
            );
        }
        if let refused @ 1.. = self.places.take_refused_streams() {
            tracing::warn!(
                refused,
                "requests over HTTP/2 beyond server.max_connections_per_source were refused"
            );
        }
        for activity in self.connections.borrow().values() {
            activity.tell(activity.judge(&self.limits));
            activity.rest_if_silent();
        }
    }

    /// The time, as coarse as the sweep.
    pub(super) fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Whether another worker has clearly fewer connections and should take the next one.
    pub(super) fn is_ahead(&self) -> bool {
        let load = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        let least = self.loads.iter().map(load).min().unwrap_or(0);
        self.loads.get(self.index).is_some_and(|own| load(own) > least + least / 16)
    }

    /// Serves a connection that a listener of `role` accepted, as a task of its own.
    pub(super) fn adopt(
        self: &Rc<Self>,
        accepted: Accepted,
        role: Role,
        counted: OpenConnection,
    ) -> io::Result<()> {
        match accepted {
            Accepted::Tcp(stream, peer) => {
                self.serve(tokio::net::TcpStream::from_std(stream)?, peer, role, counted)
            }
            Accepted::Unix(stream, peer) => {
                self.serve(tokio::net::UnixStream::from_std(stream)?, peer, role, counted)
            }
        }
        Ok(())
    }

    fn serve<T: ClientStream>(
        self: &Rc<Self>,
        stream: T,
        mut peer: Peer,
        role: Role,
        counted: OpenConnection,
    ) {
        peer.to_https = role.to_https;
        // Behind a proxy we trust there are many clients, and it names them only later, or in each request.
        let source = peer.address.filter(|_| !self.service.trusts(&peer));
        let Some(place) = self.places.take(source.map(|source| source.ip())) else {
            return self.refuse(&counted);
        };
        let activity = Rc::new(Activity::new(Rc::clone(&self.now)));
        let stream = WatchedSocket::new(stream, Rc::clone(&activity));
        let entry = Entry::new(Rc::clone(self), Rc::clone(&activity), counted);
        if role.is_plain() {
            tokio::task::spawn_local(async move {
                let worker = &entry.worker;
                let service = Rc::clone(&worker.service);
                http1::serve(&worker.http1, stream, &peer, None, service, activity, &worker.scratch).await;
                drop(place);
            });
        } else {
            tokio::task::spawn_local(async move {
                let worker = &entry.worker;
                establish::serve(worker, role, stream, peer, activity, place, &entry.counted).await;
            });
        }
    }

    /// A connection is beyond the caps: the sweep says how many there were.
    pub(super) fn refuse(&self, counted: &OpenConnection) {
        counted.is_refused();
        self.refused.set(self.refused.get().saturating_add(1));
    }
}

/// A connection's entry in its worker; it goes with the task, however that ends.
struct Entry<S: Service> {
    worker: Rc<Worker<S>>,
    key: u64,
    counted: OpenConnection,
}

impl<S: Service> Entry<S> {
    fn new(worker: Rc<Worker<S>>, activity: Rc<Activity>, counted: OpenConnection) -> Self {
        let key = worker.next_key.get();
        worker.next_key.set(key + 1);
        worker.connections.borrow_mut().insert(key, activity);
        if let Some(load) = worker.loads.get(worker.index) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Self { worker, key, counted }
    }
}

impl<S: Service> Drop for Entry<S> {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.key);
        if let Some(load) = self.worker.loads.get(self.worker.index) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.worker.left.notify_one();
    }
}
