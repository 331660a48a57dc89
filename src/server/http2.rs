//! One HTTP/2 client connection: hyper's server around the service, its streams as local tasks, each judged and ended on its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::client_stream::ClientStream;
use crate::server::contain::{Panicked, contained};
use crate::server::http1::with_hsts;
use crate::server::http2_head;
use crate::server::outbox::{Piece, Share};
use crate::server::read_turn::ReadTurn;
use crate::server::stall::{Activity, Order};
use crate::server::streams::{CONNECTION_WINDOW, Hold, STREAM_WINDOW, Stream, Streams};
use crate::server::tunnel::{self, Scratch, TunnelEnd};
use crate::server::watched_io::WatchedIo;
use crate::server::{Peer, Service};
use crate::web::body::InboundBody;
use crate::web::hop_by_hop;
use crate::web::tunnel::Tunnel;

/// Limits of the HTTP/2 layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams that a client may have open at a time. Default 100.
    pub max_concurrent_streams: u32,
    /// Largest header list of a request, as HTTP/2 counts it. Default 64 KiB.
    pub max_header_list: u32,
    /// Most fields of a request head that are kept, above which it is refused. Default 100.
    pub max_headers: usize,
    /// Streams that a client may reset before they were accepted, at a time. Default 20.
    pub max_pending_resets: usize,
    /// Errors of a client's streams before its connection ends. Default 128.
    pub max_stream_errors: usize,
    /// How often a client is asked whether it is still there. Default 30 s.
    pub ping_interval: Duration,
    /// How long it has to answer. The question may stand behind much that is on its way. Default 60 s.
    pub ping_timeout: Duration,
}

/// What a stream may hold of a response that its client does not take.
const SEND_BUFFER: usize = 64 * 1024;

/// How long the body of a request that is refused may take to come.
const BODY_OF_REFUSED: Duration = Duration::from_secs(10);

/// Serves one connection to its end.
pub(super) async fn serve<T: ClientStream, S: Service>(
    limits: &Http2Limits,
    stream: T,
    peer: &Peer,
    hsts: Option<HeaderValue>,
    service: Rc<S>,
    (activity, streams): (Rc<Activity>, Rc<Streams>),
    scratch: &Scratch,
) {
    activity.multiplexes(Rc::clone(&streams));
    let connection = Rc::new(service.connected(peer));
    let tasks = Tasks::default();
    let served = Rc::new(Served {
        service,
        connection,
        hsts,
        activity: Rc::clone(&activity),
        streams: Rc::clone(&streams),
        tasks: tasks.clone(),
        scratch: scratch.clone(),
        max_headers: limits.max_headers,
    });
    let turn = ReadTurn::default();
    let io = TokioIo::new(WatchedIo::new(stream, Rc::clone(&activity)).in_turns(&turn));
    let service = service_fn(move |request| answer(Rc::clone(&served), request));
    let mut http = pin!(builder(limits, tasks).serve_connection(io, service));
    let mut finishing = false;
    // Whether it ended well is nobody's concern: every stream's own task sees how its stream ended.
    let _ = poll_fn(|cx| {
        match activity.order(cx) {
            Order::Cut => return Poll::Ready(None),
            Order::Finish if !finishing => {
                finishing = true;
                http.as_mut().graceful_shutdown();
            }
            Order::Finish | Order::Serve => {}
        }
        turn.begin();
        http.as_mut().poll(cx).map(Some)
    })
    .await;
    streams.cut();
}

fn builder(limits: &Http2Limits, tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_list)
        .max_pending_accept_reset_streams(limits.max_pending_resets)
        .max_local_error_reset_streams(limits.max_stream_errors)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// Runs hyper's stream tasks as local ones, each tied to the stream it belongs to.
#[derive(Clone, Debug, Default)]
struct Tasks(Rc<RefCell<Option<Rc<Stream>>>>);

impl Tasks {
    /// The tasks that start next belong to `stream`: hyper asks the service for an answer and starts its task right behind.
    fn belong_to(&self, stream: Option<&Rc<Stream>>) {
        *self.0.borrow_mut() = stream.cloned();
    }

    fn spawn(&self, stream: Rc<Stream>, task: impl Future<Output = ()> + 'static) {
        let tasks = self.clone();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                if stream.is_cut(cx) {
                    return Poll::Ready(());
                }
                // What a stream's task starts while it runs is part of the same stream.
                tasks.belong_to(Some(&stream));
                let polled = task.as_mut().poll(cx);
                tasks.belong_to(None);
                polled
            })
            .await;
        });
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let stream = self.0.borrow().clone().unwrap_or_default();
        self.spawn(stream, task);
    }
}

/// What all requests of a connection share.
struct Served<S: Service> {
    service: Rc<S>,
    connection: Rc<S::Connection>,
    /// The field that every answer gets, over TLS.
    hsts: Option<HeaderValue>,
    activity: Rc<Activity>,
    streams: Rc<Streams>,
    tasks: Tasks,
    scratch: Scratch,
    max_headers: usize,
}

fn answer<S: Service>(
    served: Rc<Served<S>>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody<S::Body>>, h2::Error>> {
    let stream = Stream::of(&served.streams.outbox);
    served.tasks.belong_to(Some(&stream));
    let hold = Hold::new(&served.activity, &served.streams, &stream);
    http2_head::read(&mut request, served.max_headers);
    let upgrade = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let request = request.map(|body| InboundBody::of_stream(body, Rc::clone(&stream.inbound)));
    // Boxed at once: it is large, and on its way into a task of its own it would be copied a dozen times.
    Box::pin(answer_with(served, stream, hold, request, upgrade))
}

/// Readies a request to be refused of which nothing was looked at: its client may send it again (RFC 9113 section 8.7). What comes of a
/// stream that was reset a while ago is an error to the HTTP/2 library, and so many of these end the connection: as a rule the
/// body has come by then.
async fn refuse(mut body: InboundBody) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(BODY_OF_REFUSED, rest).await;
}

async fn answer_with<S: Service>(
    served: Rc<Served<S>>,
    stream: Rc<Stream>,
    hold: Option<Hold>,
    request: Request<InboundBody>,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<AnswerBody<S::Body>>, h2::Error> {
    let Some(hold) = hold else {
        refuse(request.into_body()).await;
        return Err(Reason::REFUSED_STREAM.into());
    };
    let answering = pin!(async { served.service.call(&served.connection, request, None).await });
    let mut response = contained(answering).await.unwrap_or_else(|Panicked| served.service.panicked());
    with_hsts(&mut response, served.hsts.as_ref());
    let mut hold = Some(hold);
    if let Some(upgrade) = upgrade.filter(|_| response.status().is_success()) {
        // hyper opens the tunnel with any success, so there must be something to join.
        match S::take_tunnel(response.body_mut()) {
            Some(tunnel) => {
                let joined =
                    go_through(upgrade, tunnel, Rc::clone(&stream), served.scratch.clone(), hold.take());
                served.tasks.spawn(Rc::clone(&stream), joined);
            }
            None => response = served.service.panicked(),
        }
    }
    if hold.is_some() {
        stream.answers();
    }
    let share = Rc::clone(&stream.outbound);
    Ok(response.map(|body| AnswerBody { body, share, hold }))
}

/// Lets a tunnel's bytes through once its 200 is out. Run it as a task of its stream, which is cut when the tunnel breaks.
async fn go_through(
    upgrade: OnUpgrade,
    tunnel: Tunnel,
    stream: Rc<Stream>,
    scratch: Scratch,
    _hold: Option<Hold>,
) {
    let Ok(upgraded) = upgrade.await else { return };
    stream.tunnels();
    let mut client = StreamEnd { io: TokioIo::new(upgraded), end: End::NotYet, stream: Rc::clone(&stream) };
    let order = |cx: &Context<'_>| if stream.is_cut(cx) { Order::Cut } else { Order::Serve };
    let half_closed = || stream.half_closed();
    let ended = tunnel::join(&mut client, Bytes::new(), tunnel, &scratch, order, half_closed).await;
    if ended == TunnelEnd::Broken {
        // Before the client's half is dropped, which would look like a regular end.
        stream.cut();
        tokio::task::yield_now().await;
    }
}

/// The client's half of a tunnel over HTTP/2. hyper reads a reset as an end; the half that writes knows better.
struct StreamEnd {
    io: TokioIo<Upgraded>,
    end: End,
    stream: Rc<Stream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// hyper said so; its writing task has been woken by the same frame, if it was a reset, and is to run first.
    Claimed,
    Real,
}

impl AsyncRead for StreamEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.end {
            End::Real => return Poll::Ready(Ok(())),
            End::Claimed => {
                self.end = End::Real;
                // Room or not, only a failure tells.
                if let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx) {
                    flushed?;
                }
                return Poll::Ready(Ok(()));
            }
            End::NotYet => {}
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.stream.heard();
        if buf.filled().len() == before && buf.remaining() > 0 {
            self.end = End::Claimed;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.stream.told(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A response body that hands out as much as the client takes. When hyper lets go of it, and the client has all that it handed out,
/// the request is answered.
struct AnswerBody<B> {
    body: B,
    share: Rc<Share>,
    hold: Option<Hold>,
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.share.leave(self.hold.take());
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for AnswerBody<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        ready!(self.share.poll_room(cx));
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            hop_by_hop::strip_response(trailers);
        }
        polled.map_ok(|frame| frame.map_data(|bytes| self.share.hand_out(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.share.may_end() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
