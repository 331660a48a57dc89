//! Real sockets on port 0: a raw client, a bare front that only forwards, and scripted raw upstreams.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::policy::{Access, Decision, Facts, Permit, decide};
use crate::proxy::{
    GroupSettings, UpstreamAddress, UpstreamGroup, UpstreamPool, UpstreamState, Upstreams, forward,
};
use crate::web::body::{FullBody, InboundBody};
use crate::web::hop_by_hop;
use crate::web::tunnel::Tunnel;

pub(super) const GET: &str = "GET /a%2fb/../c?d=%20 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
pub(super) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

pub(super) fn local<F: Future>(test: F) -> F::Output {
    /// Longest that any test may wait for an event.
    const PATIENCE: Duration = Duration::from_secs(60);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("waited for too long") })
}

fn permit() -> Permit {
    match decide(&Access::Public, &Facts::default()) {
        Decision::Allow(permit) => permit,
        _ => panic!("public is for everyone"),
    }
}

/// A server that does nothing but forward to one group.
pub(super) struct Front {
    address: SocketAddr,
    pub(super) pool: Rc<UpstreamPool>,
    group: Group,
    upstreams: Option<Rc<Upstreams>>,
    pub(super) clock: ManualClock,
    /// What each forwarding came to: a status, or the code of an error.
    pub(super) outcomes: mpsc::UnboundedReceiver<String>,
}

impl Front {
    /// Before one upstream, with the defaults.
    pub(super) async fn before(upstream: SocketAddr) -> Self {
        Self::of(GroupSettings::single(http(upstream))).await
    }

    pub(super) async fn of(settings: GroupSettings) -> Self {
        let upstreams = Rc::new(Upstreams::default());
        let front = Self::over(&upstreams, settings).await;
        Self { upstreams: Some(upstreams), ..front }
    }

    /// What is known of this front's own upstreams.
    pub(super) fn states(&self) -> Vec<UpstreamState> {
        self.upstreams.as_ref().unwrap().states(self.clock.now())
    }

    /// Over upstreams that others know too.
    pub(super) async fn over(upstreams: &Upstreams, settings: GroupSettings) -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(1_000));
        let pool = UpstreamPool::unswept(Arc::new(clock.clone()));
        let group = Rc::new(RefCell::new(Some(Rc::new(upstreams.group(&settings)))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, outcomes) = mpsc::unbounded_channel();
        let served = (pool.clone(), group.clone(), report);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::task::spawn_local(serve(stream, served.clone()));
            }
        });
        Self { address, pool, group, upstreams: None, clock, outcomes }
    }

    pub(super) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One exchange on a connection of its own, to its close.
    pub(super) async fn exchange(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// What the next forwarding came to.
    pub(super) async fn outcome(&mut self) -> String {
        self.outcomes.recv().await.unwrap()
    }

    /// Lets go of the group, as a reload without its route does, and looks at the connections.
    pub(super) fn leave(&self) {
        self.group.borrow_mut().take();
        self.pool.sweep();
    }

    pub(super) fn pass_time(&self, span: Duration) {
        self.clock.advance(span);
        self.pool.sweep();
        // What is judged by the time of the last sweep.
        self.pool.sweep();
    }
}

type Group = Rc<RefCell<Option<Rc<UpstreamGroup>>>>;
type Served = (Rc<UpstreamPool>, Group, mpsc::UnboundedSender<String>);

async fn serve(stream: TcpStream, served: Served) {
    let tunnel: Rc<RefCell<Option<Tunnel>>> = Rc::default();
    let opened = tunnel.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let ((pool, group, report), opened) = (served.clone(), opened.clone());
        async move {
            let mut request = request.map(|body| {
                let mut body = InboundBody::new(body, None);
                body.allow_trailers(Arc::new(|name| name != "remote-user"));
                body
            });
            let trailer = request.headers().get("trailer").cloned();
            let upgrade = request.headers().get("upgrade").cloned();
            hop_by_hop::strip_request(request.headers_mut());
            if let Some(protocol) = upgrade {
                request.headers_mut().insert("upgrade", protocol);
                request.headers_mut().insert("connection", "upgrade".parse().unwrap());
            }
            if let Some(names) = trailer {
                request.headers_mut().insert("trailer", names);
            }
            let group = group.borrow().clone().expect("no request comes once the group is gone");
            let answer = match forward(&pool, permit(), &group, request).await {
                Ok(mut response) => {
                    let _ = report.send(response.status().as_str().to_owned());
                    *opened.borrow_mut() = response.body_mut().take_tunnel();
                    response.map(Either::Left)
                }
                Err(error) => {
                    let _ = report.send(error.code().to_owned());
                    Response::builder()
                        .status(error.status())
                        .body(Either::Right(FullBody::empty().map_err(|e| match e {})))
                        .unwrap()
                }
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = poll_fn(|cx| Pin::new(&mut connection).poll(cx)).await;
    let opened = tunnel.borrow_mut().take();
    if let Some(tunnel) = opened {
        let parts = connection.into_parts();
        let (mut client, mut upstream) = (parts.io.into_inner(), tunnel.into_io());
        upstream.write_all(&parts.read_buf).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut upstream).await;
    }
}

pub(super) fn http(address: SocketAddr) -> UpstreamAddress {
    UpstreamAddress::http(address.ip().to_string(), address.port())
}

pub(super) async fn upstream() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers every request on every connection with `answer`.
pub(super) fn answering(listener: TcpListener, answer: &'static str) {
    tokio::task::spawn_local(async move {
        while let Ok((mut up, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                while read_head(&mut up).await {
                    write(&mut up, answer).await;
                }
            });
        }
    });
}

/// Reads a request head; false when the connection ended instead.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => seen.extend_from_slice(&byte),
            _ => return false,
        }
    }
    true
}

/// Reads until what came ends with `end`.
pub(super) async fn read_to(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let n = stream.read(&mut byte).await.unwrap();
        assert_ne!(n, 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&byte);
    }
    String::from_utf8(seen).unwrap()
}

pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Waits until the other end has closed, in whatever way.
pub(super) async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}
