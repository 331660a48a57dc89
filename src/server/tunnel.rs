//! Joins a client to the upstream's side of a tunnel: bytes both ways, each way ended on its own, an abort of one side an abort
//! of the other.
//!
//! A tunnel that rests holds no buffer: bytes are read into the worker's scratch space and kept only while the other side does
//! not take them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::contain::contained;
use crate::server::stall::Order;
use crate::web::tunnel::Tunnel;

/// The most that is read at a time.
const SCRATCH: usize = 32 * 1024;

/// Space that all tunnels of a worker read into, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH])))
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelEnd {
    /// Both ways were ended regularly.
    Both,
    /// One side broke off, was cut, or panicked: the other is to see an abort.
    Broken,
}

/// Copies until both ways have ended. `early` is what the client sent already. `order` is looked at with every wake-up: a cut ends
/// the tunnel at once, and an order to finish does not, because nobody knows where a tunnel's last message ends. `half_closed` is told
/// when one way has ended.
pub(super) async fn join<C: AsyncRead + AsyncWrite + Unpin>(
    client: &mut C,
    early: Bytes,
    tunnel: Tunnel,
    scratch: &Scratch,
    mut order: impl FnMut(&Context<'_>) -> Order,
    half_closed: impl Fn(),
) -> TunnelEnd {
    let copied = pin!(async move {
        let mut upstream = tunnel.into_io();
        let (mut up, mut down) = (Way::starting_with(early), Way::default());
        poll_fn(|cx| {
            if order(cx) == Order::Cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let up = up.poll(cx, client, &mut upstream, scratch)?;
            let down = down.poll(cx, &mut upstream, client, scratch)?;
            match (up.is_ready(), down.is_ready()) {
                (true, true) => return Poll::Ready(Ok(())),
                (false, false) => {}
                _ => half_closed(),
            }
            Poll::Pending
        })
        .await
    });
    match contained(copied).await {
        Ok(Ok::<(), io::Error>(())) => TunnelEnd::Both,
        _ => TunnelEnd::Broken,
    }
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read and not yet taken by the other side.
    kept: Bytes,
    unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The source has ended; the target is to be told.
    Ending,
    Ended,
}

impl Way {
    fn starting_with(early: Bytes) -> Self {
        Self { kept: early, ..Self::default() }
    }

    /// Ready once the source's end has been passed on.
    fn poll<A: AsyncRead + Unpin, B: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut A,
        to: &mut B,
        scratch: &Scratch,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.kept.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept))?;
                self.took(written)?;
                self.kept.advance(written);
            }
            match self.state {
                State::Open => {}
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
            let mut scratch = scratch.0.borrow_mut();
            let mut space = ReadBuf::new(&mut scratch);
            if Pin::new(&mut *from).poll_read(cx, &mut space)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            let mut read = space.filled();
            if read.is_empty() {
                self.state = State::Ending;
                continue;
            }
            while !read.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, read)? {
                    Poll::Ready(written) => {
                        self.took(written)?;
                        read = read.get(written..).unwrap_or_default();
                    }
                    Poll::Pending => {
                        self.kept = Bytes::copy_from_slice(read);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn took(&mut self, written: usize) -> io::Result<()> {
        self.unflushed = true;
        if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
