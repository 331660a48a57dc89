//! The least that a request costs on hyper: `floor LISTEN UPSTREAM` forwards over HTTP/1.1, from hyper's server to hyper's client,
//! adds nine fields of about the size of ours, keeps connections alive on both sides, and does nothing else: it checks, strips,
//! counts, times and limits nothing. One thread, as one worker has. `./scripts/bench` runs it beside the others, so that what the
//! gateway costs can be told from what its HTTP library costs.

use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failed = Box<dyn Error + Send + Sync>;
type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// As many names as the gateway adds, and as long.
const FIELDS: [(HeaderName, HeaderValue); 9] = [
    (HeaderName::from_static("remote-user"), HeaderValue::from_static("ada")),
    (HeaderName::from_static("remote-groups"), HeaderValue::from_static("staff")),
    (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("127.0.0.1")),
    (HeaderName::from_static("x-real-ip"), HeaderValue::from_static("127.0.0.1")),
    (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http")),
    (HeaderName::from_static("x-forwarded-port"), HeaderValue::from_static("8080")),
    (HeaderName::from_static("x-forwarded-host"), HeaderValue::from_static("127.0.0.1:8080")),
    (HeaderName::from_static("x-request-id"), HeaderValue::from_static("0123456789abcdef")),
    (HeaderName::from_static("via"), HeaderValue::from_static("1.1 floor")),
];

/// An answer's body; at its end the upstream's connection is free again.
struct Passed {
    body: Incoming,
    held: Option<(SendRequest<Incoming>, Pool)>,
}

impl Passed {
    fn free_at_the_end(&mut self) {
        if self.body.is_end_stream()
            && let Some((sender, pool)) = self.held.take()
        {
            pool.borrow_mut().push(sender);
        }
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.free_at_the_end();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Failed> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn forward(
    mut request: Request<Incoming>,
    upstream: SocketAddr,
    pool: Pool,
    fields: Rc<[(HeaderName, HeaderValue)]>,
) -> Result<Response<Passed>, Failed> {
    let idle = pool.borrow_mut().pop();
    let mut sender = match idle {
        Some(sender) => sender,
        None => connect(upstream).await?,
    };
    for (name, value) in &*fields {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    let response = sender.try_send_request(request).await.map_err(|failed| failed.into_error())?;
    Ok(response.map(|body| {
        let mut passed = Passed { body, held: Some((sender, pool)) };
        passed.free_at_the_end();
        passed
    }))
}

async fn serve(listener: TcpListener, upstream: SocketAddr) -> Result<(), Failed> {
    let pool = Pool::default();
    let fields: Rc<[_]> = FIELDS.into();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (pool, fields) = (Rc::clone(&pool), Rc::clone(&fields));
        let service = service_fn(move |request| forward(request, upstream, pool.clone(), fields.clone()));
        let http = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::task::spawn_local(http);
    }
}

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut address = || arguments.next().ok_or("usage: floor LISTEN UPSTREAM");
    let (listen, upstream) = (address()?, address()?.parse()?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async { serve(TcpListener::bind(listen).await?, upstream).await })
}
