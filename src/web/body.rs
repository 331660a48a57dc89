//! The body types: what a client sends us, and what we answer ourselves.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::web::head_watch::HeadWatch;
use crate::web::trailers;

/// The body of a synthetic response: empty, or one piece known in full.
#[derive(Debug, Default)]
pub struct FullBody(Option<Bytes>);

impl FullBody {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self(None)
    }
}

impl<T: Into<Bytes>> From<T> for FullBody {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for FullBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// How far a body has come, for whoever watches that it does not stand still. Plain counters: no clock is read.
#[derive(Debug, Default)]
pub struct Progress {
    /// There is a body, and its end has not been read.
    open: Cell<bool>,
    stands: Cell<bool>,
    steps: Cell<u32>,
}

impl Progress {
    /// It waits for the client from now on.
    pub fn stand(&self) {
        self.stands.set(true);
    }

    /// It has gone on, or waits for something else than the client.
    pub fn step(&self) {
        self.stands.set(false);
        self.steps.set(self.steps.get().wrapping_add(1));
    }

    /// Whether it waits for the client.
    pub fn stands(&self) -> bool {
        self.stands.get()
    }

    /// Whether there may be bytes of it that nobody has asked for.
    pub fn is_unread(&self) -> bool {
        self.open.get() && !self.stands.get()
    }

    fn end(&self) {
        self.open.set(false);
        self.step();
    }

    /// A number that is another one after every step.
    pub fn steps(&self) -> u32 {
        self.steps.get()
    }
}

/// A request body on its way in. Over HTTP/1 one in chunks tells the connection's [`HeadWatch`] when it has ended, because the next
/// byte on the wire then starts another request. Request trailers are dropped here unless [`InboundBody::allow_trailers`] lets them pass:
/// an identity header is never accepted as one (P14).
#[derive(Default)]
pub struct InboundBody {
    /// `None` is an empty body that no client sent.
    incoming: Option<Incoming>,
    watched: Watched,
    trailers: Option<TrailerFilter>,
    limit: Option<Limit>,
}

/// A bound on a body whose length nobody has said.
struct Limit {
    left: u64,
    exceeded: Rc<Cell<bool>>,
}

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client broke off, or what it sent is no body.
    #[error(transparent)]
    Client(#[from] hyper::Error),
    /// It is larger than allowed.
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// Which names may stand in a trailer, beside what [`trailers::keep_permitted`] never lets pass.
pub type TrailerFilter = Arc<dyn Fn(&HeaderName) -> bool + Send + Sync>;

#[derive(Debug, Default)]
enum Watched {
    #[default]
    No,
    /// Besides whether the watch is to hear of the end: it counts down a length by itself, and may be in the body of the next request
    /// when somebody comes to the end of this one.
    Http1(Rc<HeadWatch>, bool),
    Http2(Rc<Progress>),
}

impl InboundBody {
    /// The body of an HTTP/1 request on the connection that `watch` follows.
    pub fn new(incoming: Incoming, watch: Option<Rc<HeadWatch>>) -> Self {
        let watch = watch.filter(|_| !incoming.is_end_stream());
        let chunked = incoming.size_hint().exact().is_none();
        let watched = watch.map_or(Watched::No, |watch| Watched::Http1(watch, chunked));
        Self { incoming: Some(incoming), watched, trailers: None, limit: None }
    }

    /// The body of an HTTP/2 stream.
    pub fn of_stream(incoming: Incoming, progress: Rc<Progress>) -> Self {
        let open = !incoming.is_end_stream();
        progress.open.set(open);
        let watched = if open { Watched::Http2(progress) } else { Watched::No };
        Self { incoming: Some(incoming), watched, trailers: None, limit: None }
    }

    /// Bounds the body: beyond `most` bytes it fails, and the answer turns true. For a body that says its length there is nothing
    /// to do but to compare that.
    pub fn limit(&mut self, most: u64) -> Rc<Cell<bool>> {
        let exceeded = Rc::new(Cell::new(false));
        self.limit = Some(Limit { left: most, exceeded: Rc::clone(&exceeded) });
        exceeded
    }

    /// Lets the trailers pass whose names `permitted` takes. Over HTTP/1.1 an upstream gets those of them that the request's
    /// `Trailer` field names (RFC 9110 section 6.6.2), so that field must be left in the request.
    pub fn allow_trailers(&mut self, permitted: TrailerFilter) {
        self.trailers = Some(permitted);
    }
}

impl Body for InboundBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let this = &mut *self;
            let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
            let polled = Pin::new(&mut *incoming).poll_frame(cx);
            if let Watched::Http2(progress) = &this.watched {
                match polled {
                    Poll::Pending => progress.stand(),
                    Poll::Ready(_) if incoming.is_end_stream() => progress.end(),
                    Poll::Ready(_) => progress.step(),
                }
            }
            match polled {
                Poll::Ready(Some(Ok(mut frame))) if frame.is_trailers() => {
                    if let (Some(permitted), Some(fields)) = (&self.trailers, frame.trailers_mut()) {
                        trailers::keep_permitted(fields, |name| permitted(name));
                        if !fields.is_empty() {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                }
                Poll::Ready(None) => {
                    if let Watched::Http1(watch, true) = std::mem::replace(&mut self.watched, Watched::No) {
                        watch.body_ended();
                    }
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    if let Some(limit) = &mut self.limit {
                        match limit.left.checked_sub(length) {
                            Some(left) => limit.left = left,
                            None => {
                                limit.exceeded.set(true);
                                return Poll::Ready(Some(Err(BodyError::TooLarge)));
                            }
                        }
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not before the end was polled: the watch must hear of it.
        !matches!(self.watched, Watched::Http1(..)) && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for InboundBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl Drop for InboundBody {
    fn drop(&mut self) {
        // Nobody waits for the rest any more.
        if let Watched::Http2(progress) = &self.watched {
            progress.end();
        }
    }
}
