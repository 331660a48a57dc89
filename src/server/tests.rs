//! Real sockets on port 0, a tiny service, and time that moves only when a test moves it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::worker::{Pace, start_at_pace};
use super::*;

mod departures;
mod drains;
mod multiplexed;
mod multiplexed_tunnels;
mod openings;
mod requests;
mod resting;
mod slow_clients;
mod time_limits;
mod tunnels;
mod turns;

/// How long a test waits; what is shared with the integration tests reads it from there.
#[path = "../../tests/integration/support"]
#[allow(dead_code, unreachable_pub, reason = "shared with the integration tests")]
mod support {
    pub mod h2;
    pub mod tls;
    pub mod wire;

    pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
}

use crate::base::clock::{Clock, ManualClock, SystemClock, Timestamp};

/// What tests wait for and let go.
#[derive(Clone)]
struct Signals {
    entered: Arc<Semaphore>,
    released: Arc<Semaphore>,
    /// What tunnels lead to.
    upstream: Option<SocketAddr>,
    /// Bytes of endless answers that were asked for.
    asked: Arc<AtomicUsize>,
    /// Most at a time of what blocks a thread, and how many do now.
    blocking: Arc<(AtomicUsize, AtomicUsize)>,
}

/// Answers by path.
struct Tiny {
    worker: usize,
    signals: Signals,
}

enum TinyBody {
    Text(Option<Bytes>),
    /// It says that it has ended as soon as it has, as an upstream's of known length does.
    Known(Option<Bytes>),
    /// For ever, in large pieces.
    Endless(Arc<AtomicUsize>),
    /// So many pieces.
    Pieces(usize),
    /// What the client sends.
    Mirror(InboundBody),
    Panicking,
    /// One piece, and then a failure.
    Broken(bool),
    Tunnel(Option<Tunnel>),
}

impl Body for TinyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match &mut *self {
            Self::Tunnel(_) => None,
            Self::Text(text) | Self::Known(text) => text.take().map(|t| Ok(Frame::data(t))),
            Self::Endless(asked) => {
                asked.fetch_add(PIECE.len(), Ordering::Relaxed);
                Some(Ok(Frame::data(Bytes::from_static(&PIECE))))
            }
            Self::Pieces(left) => left.checked_sub(1).map(|less| {
                *left = less;
                Ok(Frame::data(Bytes::from_static(&PIECE)))
            }),
            Self::Mirror(body) => return Pin::new(body).poll_frame(cx).map_err(std::io::Error::other),
            Self::Panicking => panic!("in the body"),
            Self::Broken(begun) if *begun => Some(Err(std::io::Error::other("broken"))),
            Self::Broken(begun) => {
                *begun = true;
                Some(Ok(Frame::data(Bytes::from_static(b"half"))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Known(None))
    }
}

static PIECE: [u8; 65536] = [b'x'; 65536];

fn text(text: impl Into<Bytes>) -> Response<TinyBody> {
    Response::new(TinyBody::Text(Some(text.into())))
}

impl Service for Tiny {
    type Connection = Peer;
    type Body = TinyBody;

    fn trusts(&self, peer: &Peer) -> bool {
        peer.address.is_some_and(|address| address.ip().is_loopback())
    }

    fn connected(&self, peer: &Peer) -> Peer {
        peer.clone()
    }

    fn call(
        &self,
        connection: &Rc<Peer>,
        request: Request<InboundBody>,
        facts: Option<HeadFacts>,
    ) -> impl Future<Output = Response<TinyBody>> + 'static {
        let (worker, signals, peer) = (self.worker, self.signals.clone(), connection.clone());
        assert_ne!(request.uri().path(), "/panic-at-once");
        async move {
            match request.uri().path() {
                "/worker" => text(worker.to_string()),
                "/target" => text(request.uri().to_string()),
                "/facts" => text(format!("{facts:?}")),
                "/heads" => {
                    let fields = request.headers().iter();
                    text(
                        fields
                            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
                            .collect::<String>(),
                    )
                }
                "/certificate" => text(format!("{:?}", peer.certificate)),
                "/peer" => text(format!("{}", peer.address.is_some())),
                "/panic" => panic!("on request"),
                "/echo" => match request.into_body().collect().await {
                    Ok(body) => text(body.to_bytes()),
                    Err(_) => Response::builder().status(400).body(TinyBody::Text(None)).unwrap(),
                },
                // Answered before its body is read, which goes on when the test says so.
                "/early" => {
                    tokio::task::spawn_local(async move {
                        signals.released.acquire().await.unwrap().forget();
                        let _ = request.into_body().collect().await;
                        signals.entered.add_permits(1);
                    });
                    text("taken")
                }
                "/hold" => {
                    signals.entered.add_permits(1);
                    signals.released.acquire().await.unwrap().forget();
                    text("held")
                }
                "/tunnel" | "/panicking-tunnel" => {
                    let upstream = tokio::net::TcpStream::connect(signals.upstream.unwrap()).await.unwrap();
                    let panics = request.uri().path() == "/panicking-tunnel";
                    let tunnel = Tunnel::new(tunnels::Upstream::new(upstream, panics));
                    let status = if request.method() == Method::CONNECT { 200 } else { 101 };
                    let response = Response::builder().status(status).header("upgrade", "test");
                    response.header("connection", "upgrade").body(TinyBody::Tunnel(Some(tunnel))).unwrap()
                }
                "/101" => Response::builder().status(101).body(TinyBody::Text(None)).unwrap(),
                "/known" => Response::new(TinyBody::Known(Some(Bytes::from_static(b"known")))),
                "/large" => text(vec![b'x'; 60_000]),
                "/endless" => Response::new(TinyBody::Endless(signals.asked)),
                "/long" => Response::new(TinyBody::Pieces(4)),
                "/mirror" => Response::new(TinyBody::Mirror(request.into_body())),
                "/blocking" => {
                    let work = move || {
                        let (most, now) = &*signals.blocking;
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        signals.entered.add_permits(1);
                        block_on(async { signals.released.acquire().await.unwrap().forget() });
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    tokio::task::spawn_blocking(work).await.unwrap();
                    text("done")
                }
                "/panicking-body" => Response::new(TinyBody::Panicking),
                "/broken" => Response::new(TinyBody::Broken(false)),
                _ => text("hello"),
            }
        }
    }

    fn take_tunnel(body: &mut TinyBody) -> Option<Tunnel> {
        match body {
            TinyBody::Tunnel(tunnel) => tunnel.take(),
            _ => None,
        }
    }

    fn panicked(&self) -> Response<TinyBody> {
        Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(TinyBody::Text(None)).unwrap()
    }
}

struct Running {
    address: SocketAddr,
    workers: Workers,
    clock: ManualClock,
    signals: Signals,
}

fn settings(workers: usize) -> Settings {
    Settings {
        listen: vec![ListenerSettings::plain(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()))],
        tls: None,
        workers,
        grace_period: Duration::from_secs(30),
        limits: Limits {
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            head: Duration::from_secs(60),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: None,
        },
        caps: Caps { connections: 1000, per_source: 1000, streams_per_source: 1000 },
        max_head: 64 * 1024,
        max_headers: 100,
        http2: Http2Limits {
            max_concurrent_streams: 100,
            max_header_list: 64 * 1024,
            max_headers: 100,
            max_pending_resets: 20,
            max_stream_errors: 128,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(60),
        },
    }
}

impl Running {
    fn with(settings: &Settings, upstream: Option<SocketAddr>) -> Self {
        let listeners = bind(&settings.listen).unwrap();
        let Some(ListenAddress::Tcp(address)) = listeners.local_addresses().first().cloned() else {
            panic!("a TCP address was asked for");
        };
        let clock = ManualClock::new(Timestamp::from_secs(1_000));
        let tls = settings.tls.as_ref().map(|tls| tls::Tls::load(tls, SystemClock::default().now()).unwrap());
        let pace = Pace { clock: Arc::new(clock.clone()), sweep_period: Duration::from_millis(5) };
        let signals = Signals {
            entered: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
            upstream,
            asked: Arc::default(),
            blocking: Arc::default(),
        };
        let given = signals.clone();
        let make = move |worker| Tiny { worker, signals: given.clone() };
        let workers = start_at_pace(settings, &listeners, tls.as_ref(), &pace, make).unwrap();
        Self { address, workers, clock, signals }
    }

    fn with_workers(workers: usize) -> Self {
        Self::with(&settings(workers), None)
    }

    fn one() -> Self {
        Self::with_workers(1)
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(stream)
    }

    fn drain(self, grace: Duration) -> DrainReport {
        block_on(self.workers.drain(grace))
    }

    /// A held request has reached the service.
    fn wait_until_held(&self) {
        block_on(async { self.signals.entered.acquire().await.unwrap().forget() });
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

struct Client(TcpStream);

impl Client {
    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.response()
    }

    /// One response in chunks or with a length.
    fn response(&mut self) -> String {
        let mut seen = Vec::new();
        loop {
            let mut byte = [0];
            let n = self.0.read(&mut byte).unwrap();
            assert_ne!(n, 0, "closed after {:?}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
            if seen.ends_with(b"\r\n0\r\n\r\n") || seen.ends_with(b"content-length: 0\r\n\r\n") {
                return String::from_utf8(seen).unwrap();
            }
        }
    }

    /// All that comes until the other end closes, and whether it closed by a reset.
    fn rest(&mut self) -> (String, bool) {
        let mut seen = Vec::new();
        let reset = match self.0.read_to_end(&mut seen) {
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
            Err(error) => panic!("still open: {error}"),
        };
        (String::from_utf8_lossy(&seen).into_owned(), reset)
    }
}

#[test]
fn a_panic_is_500_closes_its_connection_and_leaves_the_others() {
    let server = Running::one();
    let mut other = server.client();
    other.get("/");
    for path in ["/panic", "/panic-at-once"] {
        let mut client = server.client();
        let response = client.get(path);
        assert!(response.starts_with("HTTP/1.1 500") && response.contains("connection: close"), "{response}");
        client.rest();
        assert!(other.get("/").contains("hello"));
    }
}

#[test]
fn a_panic_in_a_body_breaks_its_connection_off_and_leaves_the_others() {
    let server = Running::one();
    let mut other = server.client();
    other.get("/");
    let mut client = server.client();
    client.send("GET /panicking-body HTTP/1.1\r\nHost: a\r\n\r\n");
    let (received, _) = client.rest();
    assert!(!received.contains("0\r\n\r\n"), "no regular end: {received:?}");
    assert!(other.get("/").contains("hello"));
    assert!(server.client().get("/").contains("hello"));
}

#[test]
fn few_long_lived_connections_spread_over_the_workers() {
    let server = Running::with_workers(2);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let on_first = clients.iter_mut().filter(|c| c.0.peer_addr().is_ok()).map(|c| c.get("/worker"));
    let on_first = on_first.filter(|r| r.contains("\r\n0\r\n0\r\n")).count();
    // A worker that is slow to wake leaves one to the other now and then.
    assert!((2..=6).contains(&on_first), "{on_first} of 8");
}

#[test]
fn what_blocks_a_thread_takes_no_more_than_sixteen_of_them_and_the_rest_waits() {
    let server = Running::one();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = server.client();
            client.send("GET /blocking HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    for _ in 0..16 {
        server.wait_until_held();
    }
    assert!(server.client().get("/").contains("hello"), "others go on");
    server.signals.released.add_permits(40);
    for mut client in clients {
        assert!(client.response().contains("done"));
    }
    assert_eq!(server.signals.blocking.0.load(Ordering::SeqCst), 16);
}
