//! The two bodies of an exchange: what goes up, and what comes back.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::error::BodyError;
use crate::proxy::pool::Lease;
use crate::proxy::waiting::{Cut, Progress, Wait};
use crate::web::body::{self, InboundBody};
use crate::web::trailers;
use crate::web::tunnel::Tunnel;

/// The client's body on its way up. It notes its progress, so that a slow client does not count as a slow upstream.
#[derive(Debug, Default)]
pub struct RequestBody {
    inbound: InboundBody,
    progress: Option<Progress>,
}

impl RequestBody {
    /// The client's body, whose progress counts for `wait`.
    pub(super) fn new(inbound: InboundBody, wait: &Wait) -> Self {
        let progress = (!inbound.is_end_stream()).then(|| wait.progress());
        Self { inbound, progress }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = body::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, body::BodyError>>> {
        let polled = Pin::new(&mut self.inbound).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.note(polled.is_pending());
            if matches!(polled, Poll::Ready(Some(Err(_)))) {
                progress.broke();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inbound.size_hint()
    }
}

/// The upstream's body on its way to the client. It holds the upstream connection and gives it back when it has ended;
/// dropped before, it takes the connection along. An upstream that fails or stalls midway is an error here, never an end.
#[derive(Debug)]
pub struct ForwardedBody {
    source: Source,
    under_way: Option<UnderWay>,
    tunnel: Option<Tunnel>,
}

#[derive(Debug)]
enum Source {
    Alone(Incoming),
    /// The sweep takes it away when it has stood still for too long; only then it is `None`.
    Cuttable(Rc<RefCell<Option<Incoming>>>),
    /// It failed, and whoever reads the body has not been told yet.
    Failed(Option<hyper::Error>),
}

impl Source {
    fn with<T>(&mut self, missing: T, look: impl FnOnce(&mut Incoming) -> T) -> T {
        match self {
            Self::Alone(incoming) => look(incoming),
            Self::Cuttable(incoming) => incoming.borrow_mut().as_mut().map_or(missing, look),
            Self::Failed(_) => missing,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Alone(incoming) => incoming.is_end_stream(),
            Self::Cuttable(incoming) => incoming.borrow().as_ref().is_some_and(Body::is_end_stream),
            Self::Failed(_) => false,
        }
    }
}

/// What a body holds until it has ended.
#[derive(Debug)]
struct UnderWay {
    lease: Lease,
    wait: Wait,
}

impl ForwardedBody {
    pub(super) fn new(incoming: Incoming, lease: Lease, wait: Wait) -> Self {
        if incoming.is_end_stream() {
            lease.check_in();
            return Self { source: Source::Alone(incoming), under_way: None, tunnel: None };
        }
        let (source, cut) = match lease.driver() {
            Some(driver) => (Source::Alone(incoming), Cut::Connection(driver.clone())),
            None => {
                let shared = Rc::new(RefCell::new(Some(incoming)));
                (Source::Cuttable(shared.clone()), Cut::Stream(shared))
            }
        };
        wait.expect_body(lease.body_timeout(), cut);
        Self { source, under_way: Some(UnderWay { lease, wait }), tunnel: None }
    }

    /// The empty body of a 101.
    pub(super) fn tunnelled(incoming: Incoming, tunnel: Tunnel) -> Self {
        Self { source: Source::Alone(incoming), under_way: None, tunnel: Some(tunnel) }
    }

    /// The upstream's side of the tunnel that a 101 opened.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    fn check_in(&mut self) {
        if let Some(UnderWay { lease, .. }) = self.under_way.take() {
            lease.check_in();
        }
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(expired) = self.under_way.as_ref().and_then(|under_way| under_way.wait.expired()) {
            self.under_way = None;
            return Poll::Ready(Some(Err(expired.into())));
        }
        if let Source::Failed(failed) = &mut self.source {
            return Poll::Ready(failed.take().map(|failed| Err(BodyError::Upstream(failed))));
        }
        // Cut means expired, which is found above the first time.
        let mut polled = self.source.with(Poll::Ready(None), |incoming| Pin::new(incoming).poll_frame(cx));
        match &mut polled {
            Poll::Ready(None) => self.check_in(),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::keep_permitted(trailers, |_| true);
                }
                if self.source.is_end_stream() {
                    self.check_in();
                } else if let Some(under_way) = &self.under_way {
                    under_way.wait.moved();
                }
            }
            Poll::Ready(Some(Err(_))) => {
                self.under_way = None;
                let Poll::Ready(Some(Err(failed))) = polled else { return Poll::Pending };
                // One turn later: the server side drops with the connection what it has not written yet, and a client that never
                // saw the response's head may take the request for one that was never read, and send it again.
                self.source = Source::Failed(Some(failed));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Pending => {
                if let Some(under_way) = &self.under_way {
                    // The clock runs on from the last byte; a wait that is over wakes this task, and is found above.
                    let _ = under_way.wait.poll_expired(cx);
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::Upstream)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Alone(incoming) => incoming.size_hint(),
            Source::Cuttable(incoming) => {
                incoming.borrow().as_ref().map_or_else(SizeHint::default, Body::size_hint)
            }
            Source::Failed(_) => SizeHint::default(),
        }
    }
}
