//! One HTTP/1 client connection: hyper's server around the service, with panics, orders and stalls seen to. A 101 ends HTTP on it,
//! and what is left is a tunnel.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::server::client_stream::ClientStream;
use crate::server::contain::{Panicked, contained};
use crate::server::desk::{Desk, Tray};
use crate::server::stall::{Activity, Order};
use crate::server::tunnel::{self, Scratch, TunnelEnd};
use crate::server::watched_io::WatchedIo;
use crate::server::{Peer, Service};
use crate::web::body::InboundBody;
use crate::web::head_watch::HeadFacts;
use crate::web::tunnel::Tunnel;

/// HTTP/1 connections of a worker that are awake at a time, above which one rests as soon as it waits for its client. What that many
/// hold is a few megabytes; what a burst of connections takes is not given back to the system even when they rest.
const MOST_AWAKE: usize = 512;

/// A worker's side of all its HTTP/1 connections.
pub(super) struct Http1 {
    builder: http1::Builder,
    /// Connections that do not rest.
    awake: Cell<usize>,
}

impl Http1 {
    pub(super) fn new(max_head: usize, max_headers: usize) -> Self {
        Self { builder: builder(max_head, max_headers), awake: Cell::default() }
    }
}

/// A connection's part in those that are awake.
struct Awake<'a>(&'a Cell<usize>);

impl<'a> Awake<'a> {
    fn among(all: &'a Cell<usize>) -> Self {
        all.update(|awake| awake + 1);
        Self(all)
    }

    fn are_too_many(&self) -> bool {
        self.0.get() > MOST_AWAKE
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.update(|awake| awake.saturating_sub(1));
    }
}

/// The settings of hyper's side.
fn builder(max_head: usize, max_headers: usize) -> http1::Builder {
    /// hyper's own lower bound.
    const SMALLEST_BUFFER: usize = 8192;
    /// hyper's default: the fields of a head are parsed on the stack.
    const PARSED_WITHOUT_ALLOCATING: usize = 100;
    let mut builder = http1::Builder::new();
    builder
        // The sweep bounds heads; a timer here would be one allocation per request.
        .header_read_timeout(None)
        // A client that closes its sending side counts as gone: otherwise its leaving could not be seen at all (P4).
        .half_close(false)
        .max_header_size(max_head)
        .max_buf_size(max_head.max(SMALLEST_BUFFER));
    if max_headers > PARSED_WITHOUT_ALLOCATING {
        builder.max_headers(max_headers);
    }
    builder
}

/// Serves one connection to its end. While its client is silent it rests: hyper's side of it, with the room for a head and for an answer
/// under way, is dropped and made anew when something comes.
pub(super) fn serve<'a, T: ClientStream, S: Service>(
    http1: &'a Http1,
    stream: T,
    peer: &Peer,
    hsts: Option<HeaderValue>,
    service: Rc<S>,
    activity: Rc<Activity>,
    scratch: &'a Scratch,
) -> impl Future<Output = ()> + use<'a, T, S> {
    let connection = Rc::new(service.connected(peer));
    let served = Rc::new(Served {
        service,
        connection,
        hsts,
        activity: Rc::clone(&activity),
        unmarked: Cell::new(false),
        upgrading: Cell::new(false),
        tunnel: Cell::new(None),
    });
    let mut io = TokioIo::new(WatchedIo::new(stream, Rc::clone(&activity)));
    async move {
        loop {
            let (asking, answering) = (Rc::clone(&served), Rc::clone(&served));
            let desk = Rc::new(Desk::new(move |tray| Box::pin(answer_all(Rc::clone(&answering), tray))));
            let service = service_fn(move |request| Rc::clone(&desk).answer(asked(&asking, request)));
            let awake = Awake::among(&http1.awake);
            // What is large lies in boxes of its own, so that a connection at rest is small.
            let mut http = Box::new(http1.builder.serve_connection(io, service));
            let mut finishing = false;
            let turn = poll_fn(|cx| {
                loop {
                    let order = activity.order(cx);
                    if order == Order::Cut {
                        return Poll::Ready(Turn::Broken);
                    }
                    // hyper would close one that has said nothing yet, and a request may be on its way.
                    let due = || order == Order::Finish && !activity.is_fresh();
                    if due() && !finishing {
                        finishing = true;
                        Pin::new(&mut *http).graceful_shutdown();
                    }
                    if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
                        return Poll::Ready(ended.map_or(Turn::Broken, |()| Turn::Ended));
                    }
                    if activity.begins_rest() {
                        return Poll::Ready(Turn::Rests);
                    }
                    let again = due() && !finishing || awake.are_too_many() && activity.may_rest();
                    if !again {
                        return Poll::Pending;
                    }
                }
            })
            .await;
            drop(awake);
            // Asked before hyper lets go of an answer, which then passes for a whole one.
            let half_answered = activity.is_half_answered();
            let Parts { io: back, read_buf: early, .. } = {
                // Out of its box here, or the box would stay until the next turn.
                let http = http;
                http.into_parts()
            };
            match turn {
                Turn::Ended => return Box::pin(ended(back.into_inner(), early, &served, scratch)).await,
                Turn::Broken => {
                    if served.unmarked.get() && half_answered {
                        // An HTTP/1.0 client knows the end of a body by the close alone: a plain close would look complete.
                        back.inner().stream().reset_on_close();
                    }
                    return;
                }
                Turn::Rests => {
                    // All that can be in it are empty lines, which say nothing.
                    drop(early);
                    io = back;
                }
            }
            served.upgrading.set(false);
            if !woken(io.inner().stream(), &activity).await {
                return;
            }
            activity.ends_rest();
        }
    }
}

/// Why hyper's side is left.
enum Turn {
    /// HTTP is over.
    Ended,
    /// It failed, or was cut by order.
    Broken,
    /// The client is silent.
    Rests,
}

/// Waits until a resting connection has something to do; whether it is to be served again.
async fn woken<T: ClientStream>(stream: &T, activity: &Activity) -> bool {
    poll_fn(|cx| match activity.order(cx) {
        Order::Cut => Poll::Ready(false),
        // hyper ends it as it does any other.
        Order::Finish if !activity.is_fresh() => Poll::Ready(true),
        // A failure shows at the next read.
        Order::Serve | Order::Finish => stream.poll_readable(cx).map(|_| true),
    })
    .await
}

/// What is left to do when HTTP has ended well. `early` is what was read behind it.
async fn ended<T: ClientStream, S: Service>(
    mut io: WatchedIo<T>,
    early: Bytes,
    served: &Served<S>,
    scratch: &Scratch,
) {
    let activity = &served.activity;
    if let Some(tunnel) = served.tunnel.take() {
        return go_through(io, early, tunnel, activity, scratch).await;
    }
    if served.upgrading.get() {
        // hyper leaves the closing to whoever takes the upgrade, and nobody did.
        let _ = while_served(activity, pin!(io.shutdown())).await;
    }
    if activity.watch.in_body() {
        let _ = tokio::time::timeout(LINGER, linger(io, activity)).await;
    }
}

/// Lets a tunnel's bytes through until both ways have ended, or one side breaks off.
async fn go_through<T: ClientStream>(
    mut io: WatchedIo<T>,
    early: Bytes,
    tunnel: Tunnel,
    activity: &Activity,
    scratch: &Scratch,
) {
    activity.tunnels();
    io.stream().keep_alive();
    let (order, half_closed) = (|cx: &Context<'_>| activity.order(cx), || activity.half_closed());
    if tunnel::join(&mut io, early, tunnel, scratch, order, half_closed).await == TunnelEnd::Broken {
        io.stream().reset_on_close();
    }
}

/// Runs `future` unless the connection is cut.
async fn while_served<F: Future>(activity: &Activity, mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match activity.order(cx) {
        Order::Cut => Poll::Ready(None),
        Order::Serve | Order::Finish => future.as_mut().poll(cx).map(Some),
    })
    .await
}

/// How long a client that was answered before it had sent its whole body is listened to, at most.
const LINGER: Duration = Duration::from_secs(10);

/// Reads the rest of a body nobody wants. Closing with bytes unread would reset the connection, and the client could lose the
/// answer that is on its way (RFC 9112 section 9.6). The sending side is closed already.
async fn linger<T: ClientStream>(mut io: WatchedIo<T>, activity: &Activity) {
    let mut space = [0; 4096];
    poll_fn(|cx| {
        while activity.order(cx) == Order::Serve && activity.watch.in_body() {
            let mut unwanted = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut io).poll_read(cx, &mut unwanted)) {
                Ok(()) if !unwanted.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// What all requests of a connection share.
struct Served<S: Service> {
    service: Rc<S>,
    connection: Rc<S::Connection>,
    /// The field that every answer gets, over TLS.
    hsts: Option<HeaderValue>,
    activity: Rc<Activity>,
    /// The client speaks HTTP/1.0: no mark tells it the end of a body of unknown length.
    unmarked: Cell<bool>,
    /// The client has asked to upgrade, be it with an earlier request.
    upgrading: Cell<bool>,
    /// What the connection goes on as once the 101 is out.
    tunnel: Cell<Option<Tunnel>>,
}

/// A request as it came in, and what its head said on the wire.
type Asked = (Request<InboundBody>, Option<HeadFacts>);

/// Requests of a connection, and their answers.
type RequestTray<S> = Tray<Asked, Response<AnswerBody<<S as Service>::Body>>>;

/// Takes a request in. At once, not when its answer is first polled: hyper may read on for the body before that, and what it
/// reads must not pass for the facts of a head that went by unseen.
fn asked<S: Service>(served: &Served<S>, request: Request<Incoming>) -> Asked {
    served.activity.busy();
    served.unmarked.set(request.version() < Version::HTTP_11);
    // hyper does not forget it when another request follows.
    if request.extensions().get::<OnUpgrade>().is_some() {
        served.upgrading.set(true);
    }
    let facts = served.activity.watch.take();
    (request.map(|body| InboundBody::new(body, Some(Rc::clone(&served.activity.watch)))), facts)
}

/// Answers one request after the other.
async fn answer_all<S: Service>(served: Rc<Served<S>>, tray: Rc<RequestTray<S>>) -> Infallible {
    loop {
        tray.put(answer(&served, &tray).await);
    }
}

async fn answer<S: Service>(served: &Served<S>, tray: &RequestTray<S>) -> Response<AnswerBody<S::Body>> {
    let activity = &served.activity;
    let answering = pin!(async {
        let (request, facts) = tray.request().await;
        served.service.call(&served.connection, request, facts).await
    });
    let mut response =
        contained(answering).await.unwrap_or_else(|Panicked| closing(served.service.panicked()));
    with_hsts(&mut response, served.hsts.as_ref());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let tunnel = S::take_tunnel(response.body_mut());
        // What is left of a request body must not pass for the tunnel's first bytes.
        if tunnel.is_none() || activity.watch.in_body() {
            response = closing(served.service.panicked());
        } else {
            served.tunnel.set(tunnel);
        }
    }
    // A body that nobody reads to its end: hyper closes the connection behind the answer, so say so. After a chunked one the
    // next head's place on the wire is unknown besides. The watch's other holders are the activity and a body still being read.
    if activity.watch.in_body() && Rc::strong_count(&activity.watch) == 1 {
        response = closing(response);
    }
    response.map(|body| AnswerBody { body, activity: Rc::clone(activity) })
}

/// An app that says it itself has the word.
pub(super) fn with_hsts<B>(response: &mut Response<B>, hsts: Option<&HeaderValue>) {
    if let Some(hsts) = hsts {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
}

fn closing<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A response body; when hyper lets go of it, the request is answered.
struct AnswerBody<B> {
    body: B,
    activity: Rc<Activity>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.activity.body_failed();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.activity.answered();
    }
}
