//! Layer 2: sockets and threads; generic over what answers a request. Imports `base`, `web`, `observe`.
//!
//! One thread per worker, each with its own runtime, its own handle of every listening socket, and its own connections,
//! which never leave it. No timer runs per request: a sweep looks at all connections of a worker once a second.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::web::body::InboundBody;
use crate::web::head_watch::HeadFacts;
use crate::web::tunnel::Tunnel;

mod accept;
mod connection;
mod drain;
mod listener;
mod stall;
mod watched_io;
mod worker;

pub use drain::DrainReport;
pub use listener::{BindError, Listeners, bind, bind_unix_socket};
pub use worker::{StartError, Workers, start};

/// What answers requests on one worker.
pub trait Service: 'static {
    /// What is kept per client connection: values that all its requests share.
    type Connection: 'static;
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// Whether the connection is TLS that ends here.
    pub secure: bool,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Checked settings of the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The public listeners; at least one.
    pub listen: Vec<ListenAddress>,
    /// Worker threads. Default: one per core.
    pub workers: usize,
    /// How long a drain waits for requests in flight. Default 30 s.
    pub grace_period: Duration,
    /// Time for the first byte of a connection and for a whole request head; also the keep-alive idle time. Default 60 s.
    pub head_timeout: Duration,
    /// Longest pause while a request body arrives or a response is taken. Default 60 s.
    pub body_timeout: Duration,
    /// Largest request head in bytes. Default 64 KiB.
    pub max_head: usize,
}

#[cfg(test)]
mod tests;
