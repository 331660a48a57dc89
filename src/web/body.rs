//! The body types: what a client sends us, and what we answer ourselves.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::web::head_watch::HeadWatch;

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

/// A request body on its way in. It tells the connection's [`HeadWatch`] when it has ended, because the next byte on the wire
/// then starts another request. Request trailers are dropped here: an identity header is never accepted as one (P14).
#[derive(Debug)]
pub struct InboundBody {
    incoming: Incoming,
    watch: Option<Rc<HeadWatch>>,
}

impl InboundBody {
    /// Wraps `incoming`; `watch` is absent where the protocol frames messages itself (HTTP/2).
    pub fn new(incoming: Incoming, watch: Option<Rc<HeadWatch>>) -> Self {
        let watch = watch.filter(|_| !incoming.is_end_stream());
        Self { incoming, watch }
    }
}

impl Body for InboundBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {}
                Poll::Ready(None) => {
                    if let Some(watch) = self.watch.take() {
                        watch.body_ended();
                    }
                    return Poll::Ready(None);
                }
                other => return other,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not before the end was polled: the watch must hear of it.
        self.watch.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
