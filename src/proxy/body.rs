//! The two bodies of an exchange: what goes up, and what comes back.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::pool::{Lease, Shared};
use crate::proxy::waiting::WaitKey;
use crate::web::body::InboundBody;
use crate::web::tunnel::Tunnel;

/// The client's body on its way up. It notes its progress, so that a slow client does not count as a slow upstream.
#[derive(Debug)]
pub struct RequestBody {
    inbound: InboundBody,
    wait: Option<(Rc<Shared>, WaitKey)>,
}

impl RequestBody {
    pub(super) fn new(inbound: InboundBody) -> Self {
        Self { inbound, wait: None }
    }

    /// From now on progress is noted for the wait `key`.
    pub(super) fn note_progress(&mut self, shared: &Rc<Shared>, key: WaitKey) {
        if !self.inbound.is_end_stream() {
            self.wait = Some((Rc::clone(shared), key));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inbound).poll_frame(cx);
        if let Some((shared, key)) = &self.wait {
            shared.waiting.progress(*key, shared.now.get(), polled.is_pending());
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
/// dropped before, it takes the connection along. An upstream that fails midway is an error here, never an end.
#[derive(Debug)]
pub struct ForwardedBody {
    incoming: Incoming,
    lease: Option<Lease>,
    tunnel: Option<Tunnel>,
}

impl ForwardedBody {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        let mut body = Self { incoming, lease: Some(lease), tunnel: None };
        body.check_in_at_end();
        body
    }

    /// The empty body of a 101.
    pub(super) fn tunnelled(incoming: Incoming, tunnel: Tunnel) -> Self {
        Self { incoming, lease: None, tunnel: Some(tunnel) }
    }

    /// The upstream's side of the tunnel that a 101 opened.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    fn check_in_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.check_in();
        }
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                if let Some(lease) = self.lease.take() {
                    lease.check_in();
                }
            }
            Poll::Ready(Some(Ok(_))) => self.check_in_at_end(),
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
