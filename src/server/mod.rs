//! Layer 2: sockets and threads; generic over what answers a request. Imports `base`, `web`, `observe`.
//!
//! One thread per worker, each with its own runtime, its own handle of every listening socket, and its own connections,
//! which never leave it. No timer runs per request: a sweep looks at all connections of a worker once a second.
//!
//! ```text
//! accept ──▶ plain HTTP/1 ─────────────────────────────────────▶ http1 ── 101 ──▶ tunnel
//!    └─────▶ establish: PROXY header, TLS handshake, ──┬────────▶ http1
//!            then ALPN, or the preface of h2c          └────────▶ http2: a task per stream ── 200 to CONNECT ──▶ tunnel
//! ```

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::server::tls::ClientCertificate;
use crate::web::body::InboundBody;
use crate::web::head_watch::HeadFacts;
use crate::web::tunnel::Tunnel;

mod accept;
mod caps;
mod client_stream;
mod contain;
mod desk;
mod drain;
mod establish;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handed_over;
mod http1;
mod http2;
mod http2_head;
mod listener;
mod metrics;
mod outbox;
mod preface;
pub mod proxy_protocol;
mod read_turn;
mod stall;
mod streams;
pub mod tls;
mod tunnel;
mod watched_io;
mod worker;

pub use caps::Caps;
pub use drain::DrainReport;
pub use http2::Http2Limits;
pub use listener::{BindError, Listeners, bind, bind_unix_socket};
pub use metrics::ConnectionCounts;
pub use stall::Limits;
pub use worker::{StartError, Workers, start};

/// What answers requests on one worker.
pub trait Service: 'static {
    /// What is kept per client connection: values that all its requests share.
    type Connection: 'static;
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static;

    /// Whether a PROXY header from `peer` counts.
    fn trusts(&self, peer: &Peer) -> bool;

    /// A client has connected.
    fn connected(&self, peer: &Peer) -> Self::Connection;

    /// Answers one request. `facts` is what the head said on the wire; `None` when it went by unseen, and then the request must
    /// be refused with 400 and `Connection: close`.
    fn call(
        &self,
        connection: &Rc<Self::Connection>,
        request: Request<InboundBody>,
        facts: Option<HeadFacts>,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;

    /// The tunnel that a 101 answer, or a 200 to an extended CONNECT, opens. Taken from its body before that is polled; the server
    /// layer joins the client to it once the answer's head is out.
    fn take_tunnel(body: &mut Self::Body) -> Option<Tunnel>;

    /// The answer when [`Service::call`] panicked; the connection closes after it.
    fn panicked(&self) -> Response<Self::Body>;
}

/// The other end of a client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// It is a proxy that relays for somebody whom it does not name: what it sends may be anybody's words.
    pub unnamed: bool,
    /// Whether the connection is TLS that ends here.
    pub secure: bool,
    /// The certificate that it proved to own and that our authorities vouch for, where the listener asks for one.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The listener sends every request on to https, at this port.
    pub to_https: Option<u16>,
}

impl Peer {
    /// A client that has shown nothing but where it comes from.
    pub fn at(address: Option<SocketAddr>) -> Self {
        Self { address, unnamed: false, secure: false, certificate: None, to_https: None }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
    /// A socket that the service manager holds open and hands over: its name (`FileDescriptorName=`), or its place from 0.
    Systemd(String),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// One listener, and what it does besides plain HTTP/1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where.
    pub address: ListenAddress,
    /// Connections begin with a TLS handshake.
    pub tls: bool,
    /// Connections begin with a PROXY header; those that are not from a proxy we trust are closed.
    pub proxy_protocol: bool,
    /// HTTP/2 without TLS is taken from clients that begin with it.
    pub h2c: bool,
    /// Every request is sent on to https, at this port.
    pub to_https: Option<u16>,
}

impl ListenerSettings {
    /// A listener of plain HTTP/1.
    pub fn plain(address: ListenAddress) -> Self {
        Self { address, tls: false, proxy_protocol: false, h2c: false, to_https: None }
    }
}

/// Checked settings of the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The public listeners; at least one.
    pub listen: Vec<ListenerSettings>,
    /// For the listeners with TLS; present when there is one.
    pub tls: Option<tls::Settings>,
    /// Worker threads. Default: one per core.
    pub workers: usize,
    /// How long a drain waits for requests in flight. Default 30 s.
    pub grace_period: Duration,
    /// Time limits of client connections.
    pub limits: Limits,
    /// How many client connections there may be.
    pub caps: Caps,
    /// Largest request head in bytes. Default 64 KiB.
    pub max_head: usize,
    /// Most fields in a request head. Default 100.
    pub max_headers: usize,
    /// Limits of connections that speak HTTP/2.
    pub http2: Http2Limits,
}

#[cfg(test)]
mod tests;
