//! One worker's side of the gateway: its upstream connections, its batch of log lines, its request ids.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;

use crate::gateway::connection::Connection;
use crate::gateway::open_line::Lines;
use crate::gateway::open_streams::OpenStreams;
use crate::gateway::reply::{Reply, ReplyBody};
use crate::gateway::request_id::{RequestId, RequestIds, X_REQUEST_ID};
use crate::gateway::respond::{INTERNAL, closing};
use crate::gateway::{Gateway, pipeline};
use crate::observe::access_log::WorkerLog;
use crate::observe::metrics::{RouteId, Verdict, WorkerCounts};
use crate::proxy::UpstreamPool;
use crate::server::{Peer, Service};
use crate::web::body::InboundBody;
use crate::web::forwarded::ConnectionValues;
use crate::web::head_watch::HeadFacts;
use crate::web::tunnel::Tunnel;
use crate::web::via::ViaName;

/// What one worker thread owns.
pub struct Worker {
    snapshot: Arc<ArcSwap<Gateway>>,
    /// This worker's upstream connections.
    pub pool: Rc<UpstreamPool>,
    /// The exchanges of this worker that end with their session.
    pub streams: Rc<OpenStreams>,
    /// Its lines of the access log; `None` when that is off.
    pub lines: Option<Rc<Lines>>,
    ids: RequestIds,
    /// What this worker has answered.
    pub counts: WorkerCounts,
}

impl Worker {
    /// A worker that answers by the newest `snapshot`. Call it on the worker's own runtime.
    pub fn new(
        snapshot: Arc<ArcSwap<Gateway>>,
        pool: Rc<UpstreamPool>,
        log: Option<Rc<WorkerLog>>,
        ids: RequestIds,
        counts: WorkerCounts,
    ) -> Self {
        let streams = OpenStreams::start(snapshot.load().clock.clone());
        Self { snapshot, pool, streams, lines: log.map(Lines::new), ids, counts }
    }

    /// The snapshot in force: read once per request, so that a reload acts on the next one.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.snapshot.load_full()
    }

    /// A fresh request id.
    pub fn next_id(&self) -> RequestId {
        self.ids.next()
    }

    /// What this process calls itself to upstreams.
    pub fn via(&self) -> &ViaName {
        self.ids.via()
    }
}

/// The service that the server layer calls.
#[derive(Clone)]
pub struct GatewayService(Rc<Worker>);

impl GatewayService {
    /// The service of `worker`.
    pub fn new(worker: Rc<Worker>) -> Self {
        Self(worker)
    }
}

impl Service for GatewayService {
    type Connection = Connection;
    type Body = ReplyBody;

    fn trusts(&self, peer: &Peer) -> bool {
        let gateway = self.0.snapshot.load();
        ConnectionValues::new(peer.address, peer.secure, &gateway.trusted_proxies).is_trusted()
    }

    fn connected(&self, peer: &Peer) -> Connection {
        Connection::new(peer, &self.0.snapshot.load())
    }

    fn call(
        &self,
        connection: &Rc<Connection>,
        request: Request<InboundBody>,
        facts: Option<HeadFacts>,
    ) -> impl Future<Output = Reply> + 'static {
        pipeline::answer(self.0.clone(), connection.clone(), request, facts)
    }

    fn take_tunnel(body: &mut ReplyBody) -> Option<Tunnel> {
        body.take_tunnel()
    }

    fn panicked(&self) -> Reply {
        self.0.counts.count(RouteId::default(), Verdict::Refuse, INTERNAL.status);
        let id = self.0.next_id();
        let mut reply = closing(INTERNAL.reply(&self.0.gateway().pages, false, id));
        reply.headers_mut().insert(X_REQUEST_ID, id.header());
        reply
    }
}
