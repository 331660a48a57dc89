//! Opens a connection to an upstream and starts its driver.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::proxy::address::{Place, Scheme};
use crate::proxy::body::RequestBody;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::resolve::Lookup;

/// Why no connection came about.
#[derive(Debug)]
pub(super) enum ConnectError {
    Io(io::Error),
    Timeout,
    /// There are as many as there may be, and enough requests wait for one.
    Busy,
    /// The request's own time was over first.
    WholeRequest,
}

/// Largest response head (of at most 100 fields, which is the bound of hyper), and most bytes of a body held per connection: bounds
/// memory when a client reads slowly.
const MAX_BUFFER: usize = 64 * 1024;
/// Largest response head by HTTP/2.
const MAX_HEADER_LIST: u32 = 64 * 1024;
/// Most streams put on one HTTP/2 connection, however many the upstream allows: more share one congestion window too many.
pub(super) const MAX_STREAMS: u32 = 128;
/// What an upstream may send on one HTTP/2 stream before the client has taken it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for a whole connection: as much as all of its streams, so that clients who take nothing never hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// A silent HTTP/2 connection with requests on it is asked for a sign of life after this long, and given up after it again.
const PING_AFTER: Duration = Duration::from_secs(10);
/// How long any other is silent before the system asks whether its machine is still there, and between two such questions.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// A connection that was just opened.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) driver: AbortHandle,
    /// Where it leads, of one over TCP.
    pub(super) peer: Option<SocketAddr>,
}

/// What requests go into.
pub(super) enum Link {
    Http1(http1::SendRequest<RequestBody>),
    /// With the most streams that the upstream allows at present.
    Http2(http2::SendRequest<RequestBody>, Rc<Cell<usize>>),
}

/// Connects within `limit`, TLS included; `upgradable` when HTTP/2 will not do.
pub(super) async fn connect(
    endpoint: &Endpoint,
    upgradable: bool,
    limit: Duration,
) -> Result<Opened, ConnectError> {
    let opening = open(endpoint, upgradable, limit);
    match tokio::time::timeout(limit, opening).await {
        // One address may have used up its share of the time, and the others theirs.
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectError::Timeout),
        Ok(opened) => opened.map_err(ConnectError::Io),
        Err(_) => Err(ConnectError::Timeout),
    }
}

async fn open(endpoint: &Endpoint, upgradable: bool, limit: Duration) -> io::Result<Opened> {
    let title_case = endpoint.title_case;
    let lookup = match (&endpoint.address.place, &endpoint.lookup) {
        (Place::Unix(path), _) => return http1(UnixStream::connect(path).await?, None, title_case).await,
        (Place::Tcp { .. }, Some(lookup)) => lookup,
        (Place::Tcp { .. }, None) => return Err(io::Error::other("nothing looks its name up")),
    };
    let turn = endpoint.turns.fetch_add(1, Ordering::Relaxed);
    let (stream, peer) = dial(lookup, turn, limit).await?;
    stream.set_nodelay(true)?;
    // A tunnel or an event stream may be silent for long, and an upstream whose machine is gone says nothing either.
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    let peer = Some(peer);
    match (endpoint.address.scheme, &endpoint.tls) {
        (Scheme::H2c, _) if !upgradable => http2(stream, peer).await,
        (Scheme::Https, Some(tls)) => {
            let connector = TlsConnector::from(tls.config(upgradable));
            let stream = connector.connect(tls.name.clone(), stream).await?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, peer).await
            } else {
                http1(stream, peer, title_case).await
            }
        }
        (Scheme::Https, None) => Err(io::Error::other("there are no settings for TLS")),
        (Scheme::Http | Scheme::H2c, _) => http1(stream, peer, title_case).await,
    }
}

/// Looks the name up anew and connects to the first of its addresses that answers. None may use up the time of all.
async fn dial(lookup: &Lookup, turn: usize, limit: Duration) -> io::Result<(TcpStream, SocketAddr)> {
    let deadline = Instant::now() + limit;
    let addresses = in_turn(lookup.addresses().await?, turn);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The addresses of the family that the resolver prefers take turns; the others come after them.
pub(super) fn in_turn(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv4);
    addresses.sort_by_key(|address| address.is_ipv4() != preferred);
    let equals = addresses.partition_point(|address| address.is_ipv4() == preferred);
    if let Some(equals) = addresses.get_mut(..equals)
        && let Some(first) = turn.checked_rem(equals.len())
    {
        equals.rotate_left(first);
    }
    addresses
}

async fn http1<T>(stream: T, peer: Option<SocketAddr>, title_case: bool) -> io::Result<Opened>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_BUFFER)
        .max_buf_size(MAX_BUFFER)
        .title_case_headers(title_case)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Owned by the connection itself: it ends when the upstream closes, when its `SendRequest` and bodies are dropped, or with
    // a 101, when the stream goes to whoever asked for it.
    let driver = tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(Opened { link: Link::Http1(sender), driver: driver.abort_handle(), peer })
}

async fn http2<T>(stream: T, peer: Option<SocketAddr>) -> io::Result<Opened>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, mut connection) = http2::Builder::new(LocalTasks)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_AFTER)
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let most = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = Rc::clone(&most);
    let driver = tokio::task::spawn_local(async move {
        let _ = poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            told.set(connection.current_max_send_streams());
            ended
        })
        .await;
    });
    Ok(Opened { link: Link::Http2(sender, most), driver: driver.abort_handle(), peer })
}

/// Runs what belongs to a connection on this worker.
#[derive(Clone, Copy, Debug)]
struct LocalTasks;

impl<F: Future + 'static> Executor<F> for LocalTasks {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            let _ = task.await;
        });
    }
}
