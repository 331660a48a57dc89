//! An open tunnel (WebSocket and the like): it ends with the session that allowed it, keeps that session from idling out, and is
//! logged when it has ended.
//!
//! What the client sends into it counts as activity, as a request would, where the route's requests do: somebody who works in a
//! terminal sends no other request. What the upstream sends does not: an app that talks on its own says nothing of its user.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use crate::base::clock::Clock;
use crate::gateway::open_line::OpenLine;
use crate::gateway::open_streams::{SessionOver, SessionWatch};
use crate::gateway::reply::SESSION_OVER;
use crate::observe::metrics::{OpenTunnel, RequestCounts};
use crate::session::{Activity, LiveSession, SessionManager};
use crate::web::tunnel::{Tunnel, TunnelIo};

/// The upstream's side of a tunnel, seen from the client's.
pub struct LiveTunnel {
    open: Rc<RefCell<Open>>,
    session: Option<Tie>,
    from_client: u64,
    to_client: u64,
    line: Option<OpenLine>,
    _counted: OpenTunnel,
}

/// The upstream's stream until the session is over: dropped then, whatever either side is doing.
struct Open {
    upstream: Option<Box<dyn TunnelIo>>,
    reader: Option<Waker>,
}

/// The session that a tunnel lives by.
struct Tie {
    live: Arc<LiveSession>,
    keep: KeepAlive,
    ender: JoinHandle<()>,
}

/// How a tunnel keeps its session from idling out.
pub struct KeepAlive {
    /// The sessions.
    pub sessions: Arc<SessionManager>,
    /// The clock they live by.
    pub clock: Arc<dyn Clock>,
    /// Whether what the client sends counts.
    pub activity: Activity,
    /// Where tunnels are counted.
    pub counts: Arc<RequestCounts>,
}

impl LiveTunnel {
    /// Around the upstream's side. With a `watch` it is cut when that session is over.
    pub fn new(upstream: Tunnel, watch: Option<SessionWatch>, keep: KeepAlive) -> Self {
        let counted = keep.counts.tunnel();
        let open = Rc::new(RefCell::new(Open { upstream: Some(upstream.into_io()), reader: None }));
        let session = watch.map(|mut watch| {
            let (live, open) = (Arc::clone(watch.session()), Rc::downgrade(&open));
            let ender = tokio::task::spawn_local(async move {
                poll_fn(|cx| watch.poll_over(cx)).await;
                if let Some(open) = open.upgrade() {
                    open.borrow_mut().cut();
                }
            });
            Tie { live, keep, ender }
        });
        Self { open, session, from_client: 0, to_client: 0, line: None, _counted: counted }
    }

    /// Writes `line` when the tunnel has ended.
    pub fn log(&mut self, line: Option<OpenLine>) {
        self.line = line;
    }

    fn with<T>(
        &self,
        act: impl FnOnce(Pin<&mut dyn TunnelIo>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.open.borrow_mut().upstream {
            Some(upstream) => act(Pin::new(&mut **upstream)),
            None => Poll::Ready(Err(over())),
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(count @ 1..)) = *written else { return };
        self.from_client = self.from_client.saturating_add(count as u64);
        if let Some(Tie { live, keep, .. }) = &self.session {
            // Whether it is over is for the watch to say.
            let _ = keep.sessions.revisit(live, keep.activity, keep.clock.now());
        }
    }
}

impl Open {
    fn cut(&mut self) {
        self.upstream = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, SessionOver)
}

impl AsyncRead for LiveTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.with(|upstream| upstream.poll_read(cx, buffer));
        if polled.is_pending() {
            let open = &mut *self.open.borrow_mut();
            match &mut open.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        self.to_client = self.to_client.saturating_add((buffer.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for LiveTunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.with(|upstream| upstream.poll_write(cx, bytes));
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.with(|upstream| upstream.poll_write_vectored(cx, bytes));
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.open.borrow().upstream.as_ref().is_some_and(|upstream| upstream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|upstream| upstream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|upstream| upstream.poll_shutdown(cx))
    }
}

impl Drop for LiveTunnel {
    fn drop(&mut self) {
        if let Some(tie) = &self.session {
            tie.ender.abort();
        }
        if let Some(mut line) = self.line.take() {
            if self.open.borrow().upstream.is_none() {
                line.noted.reason = Some(SESSION_OVER);
            }
            line.noted.bytes_in = Some(self.from_client);
            line.write(self.to_client);
        }
    }
}
