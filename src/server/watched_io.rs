//! The client's socket as hyper sees it, with a look at every byte read and at every stall. No copy, no extra system call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::client_stream::ClientStream;
use crate::server::stall::Activity;

/// A stream whose reads go past the head watch and whose waits are noted.
#[derive(Debug)]
pub(super) struct WatchedIo<T> {
    stream: T,
    activity: Rc<Activity>,
}

impl<T> WatchedIo<T> {
    pub(super) fn new(stream: T, activity: Rc<Activity>) -> Self {
        Self { stream, activity }
    }

    pub(super) fn stream(&self) -> &T {
        &self.stream
    }
}

impl<T: ClientStream> WatchedIo<T> {
    /// hyper flushes whenever it is woken, unless bytes still wait to be written.
    fn wrote(&self, waits: bool) {
        self.activity.wrote(waits);
        if waits {
            self.activity.looked(|| self.stream.has_left());
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        match polled {
            Poll::Pending => this.activity.read_waits(),
            Poll::Ready(_) => this.activity.read(buf.filled().get(before..).unwrap_or_default()),
        }
        polled
    }
}

impl<T: ClientStream> AsyncWrite for WatchedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        // TLS takes bytes before the socket does: only here it tells that they wait.
        if polled.is_pending() {
            this.activity.wrote(true);
        } else {
            this.activity.flushed();
        }
        this.activity.looked(|| this.stream.has_left());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::server::stall::{Limits, Order};

    /// Takes everything at once, as TLS does, and passes it on when it is told to.
    struct Buffering(Rc<Cell<bool>>);

    impl AsyncRead for Buffering {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Buffering {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl ClientStream for Buffering {
        fn reset_on_close(&self) {}

        fn keep_alive(&self) {}

        fn has_left(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_client_that_has_not_taken_all_of_its_answer_over_tls_is_not_idle() {
        let seconds = Duration::from_secs;
        let limits = Limits {
            handshake: seconds(10),
            first_byte: seconds(10),
            head: seconds(10),
            body: seconds(60),
            idle: seconds(10),
            tunnel: None,
        };
        let start = Timestamp::from_secs(1000);
        let (now, taken) = (Rc::new(Cell::new(start)), Rc::new(Cell::new(false)));
        let at = |span: u64| now.set(start + seconds(span));
        let activity = Rc::new(Activity::new(Rc::clone(&now)));
        let mut io = WatchedIo::new(Buffering(Rc::clone(&taken)), Rc::clone(&activity));
        let cx = &mut Context::from_waker(Waker::noop());
        activity.busy();
        assert!(Pin::new(&mut io).poll_write(cx, b"the last of the answer").is_ready());
        activity.answered();
        assert!(Pin::new(&mut io).poll_flush(cx).is_pending());
        at(59);
        assert_eq!(activity.judge(&limits), Order::Serve);
        at(61);
        assert_eq!(activity.judge(&limits), Order::Cut);
        taken.set(true);
        assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
        at(71);
        assert_eq!(activity.judge(&limits), Order::Serve, "it rests since it has been served");
        at(72);
        assert_eq!(activity.judge(&limits), Order::Cut);
    }
}
