//! The response body the server sees; the access log line is written when it has ended.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use tower_http::services::fs::ServeFileSystemResponseBody;

use crate::gateway::open_line::OpenLine;
use crate::gateway::open_streams::{SessionOver, SessionWatch};
use crate::gateway::tunnel::LiveTunnel;
use crate::proxy::ForwardedBody;
use crate::web::body::FullBody;
use crate::web::tunnel::Tunnel;

/// The access log's word for an exchange that ended with its session.
pub const SESSION_OVER: &str = "session_over";

/// A response on its way to the server layer.
pub type Reply = Response<ReplyBody>;

/// Takes the body out of `reply` when it is one that we made and the answer is one to HEAD. HTTP/1.1 leaves it out by itself; HTTP/2
/// frames whatever it is given, and a client ends the stream over it.
pub fn fit(reply: &mut Reply, to_head: bool) {
    if to_head && let Source::Full(body) = &reply.body().source {
        let length = body.size_hint().exact();
        reply.body_mut().source = Source::Full(FullBody::empty());
        if let Some(length) = length {
            reply.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
    }
}

/// A synthetic body or a forwarded one, counted for the access log.
pub struct ReplyBody {
    source: Source,
    /// Of a forwarded body on a route that needs a session.
    watch: Option<SessionWatch>,
    sent: u64,
    line: Option<OpenLine>,
}

enum Source {
    Full(FullBody),
    Forwarded(ForwardedBody),
    /// A file of a static folder.
    File(Box<ServeFileSystemResponseBody>),
    /// No body: the connection becomes this.
    Tunnel(Box<LiveTunnel>),
    /// The session is over; the upstream was let go.
    Cut,
}

impl ReplyBody {
    /// The body of a response we made ourselves.
    pub fn full(body: FullBody) -> Self {
        Self { source: Source::Full(body), watch: None, sent: 0, line: None }
    }

    /// The body of an upstream's response. With a `watch` it fails when the session is over, so that the client sees an abort
    /// and no regular end, and the exchange with the upstream is aborted.
    pub fn forwarded(body: ForwardedBody, watch: Option<SessionWatch>) -> Self {
        Self { source: Source::Forwarded(body), watch, sent: 0, line: None }
    }

    /// The body of a file of a static folder.
    pub fn file(body: ServeFileSystemResponseBody) -> Self {
        Self { source: Source::File(Box::new(body)), watch: None, sent: 0, line: None }
    }

    /// The body of an answer that opens `tunnel`.
    pub fn tunnel(tunnel: LiveTunnel) -> Self {
        Self { source: Source::Tunnel(Box::new(tunnel)), watch: None, sent: 0, line: None }
    }

    /// The tunnel that this answer opens, if it does. The log line goes with it.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match std::mem::replace(&mut self.source, Source::Cut) {
            Source::Tunnel(mut tunnel) => {
                self.source = Source::Full(FullBody::empty());
                tunnel.log(self.line.take());
                Some(Tunnel::new(*tunnel))
            }
            other => {
                self.source = other;
                None
            }
        }
    }

    fn cut(&mut self) -> Box<dyn Error + Send + Sync> {
        self.source = Source::Cut;
        self.watch = None;
        if let Some(line) = &mut self.line {
            line.noted.reason = Some(SESSION_OVER);
        }
        SessionOver.into()
    }

    /// Makes it fail when the session of `watch` is over.
    pub fn end_with(&mut self, watch: Option<SessionWatch>) {
        self.watch = watch;
    }

    /// Writes `line` when this body has ended or been dropped.
    pub fn log(&mut self, line: OpenLine) {
        self.line = Some(line);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.watch.as_ref().is_some_and(SessionWatch::is_over) {
            return Poll::Ready(Some(Err(this.cut())));
        }
        let frame = match &mut this.source {
            Source::Full(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(|never| match never {}))
            }
            Source::Forwarded(body) => match (Pin::new(body).poll_frame(cx), &mut this.watch) {
                (Poll::Ready(frame), _) => frame.map(|frame| frame.map_err(Into::into)),
                (Poll::Pending, Some(watch)) => {
                    // A place taken just now cannot be over yet.
                    let _ = watch.poll_over(cx);
                    return Poll::Pending;
                }
                (Poll::Pending, None) => return Poll::Pending,
            },
            Source::File(body) => match (Pin::new(&mut **body).poll_frame(cx), &mut this.watch) {
                (Poll::Ready(frame), _) => frame.map(|frame| frame.map_err(Into::into)),
                (Poll::Pending, watch) => {
                    if let Some(watch) = watch {
                        let _ = watch.poll_over(cx);
                    }
                    return Poll::Pending;
                }
            },
            Source::Tunnel(_) | Source::Cut => None,
        };
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            this.sent = this.sent.saturating_add(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(body) => body.is_end_stream(),
            Source::Forwarded(body) => body.is_end_stream(),
            Source::File(body) => body.is_end_stream(),
            Source::Tunnel(_) => true,
            Source::Cut => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(body) => body.size_hint(),
            Source::Forwarded(body) => body.size_hint(),
            Source::File(body) => body.size_hint(),
            Source::Tunnel(_) => SizeHint::with_exact(0),
            Source::Cut => SizeHint::default(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.write(self.sent);
        }
    }
}
