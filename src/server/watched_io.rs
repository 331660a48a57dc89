//! The client's connection as hyper sees it, with a look at every byte read, and its socket, with a look at every stall. No copy, no
//! extra system call.
//!
//! They are two where TLS lies between: it takes small pieces before the socket does, and only the socket tells whether the client
//! takes any.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::client_stream::ClientStream;
use crate::server::read_turn::ReadTurn;
use crate::server::stall::Activity;

/// A stream whose reads go past the head watch.
#[derive(Debug)]
pub(super) struct WatchedIo<T> {
    stream: T,
    activity: Rc<Activity>,
    turn: Option<ReadTurn>,
}

impl<T> WatchedIo<T> {
    pub(super) fn new(stream: T, activity: Rc<Activity>) -> Self {
        Self { stream, activity, turn: None }
    }

    /// The same, of which no more is read in one turn than its share.
    pub(super) fn in_turns(self, turn: &ReadTurn) -> Self {
        Self { turn: Some(turn.clone()), ..self }
    }

    pub(super) fn stream(&self) -> &T {
        &self.stream
    }
}

impl<T: ClientStream> WatchedIo<T> {
    /// hyper flushes whenever it is woken, unless bytes still wait to be written.
    fn look(&self) {
        self.activity.looked(|| self.stream.has_left());
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn.as_ref().is_some_and(ReadTurn::is_over) {
            // There may be more: on with it when the others have had their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        if let Some(turn) = &this.turn {
            turn.read(came.len());
        }
        match polled {
            Poll::Pending => this.activity.read_waits(),
            Poll::Ready(_) => this.activity.read(came),
        }
        polled
    }
}

impl<T: ClientStream> AsyncWrite for WatchedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        if polled.is_pending() {
            this.look();
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        if polled.is_pending() {
            this.look();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.look();
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket whose waits are noted.
#[derive(Debug)]
pub(super) struct WatchedSocket<T> {
    socket: T,
    activity: Rc<Activity>,
}

impl<T> WatchedSocket<T> {
    pub(super) fn new(socket: T, activity: Rc<Activity>) -> Self {
        Self { socket, activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedSocket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedSocket<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.activity.wrote(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.activity.wrote(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<T: ClientStream> ClientStream for WatchedSocket<T> {
    fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    fn keep_alive(&self) {
        self.socket.keep_alive();
    }

    fn has_left(&self) -> bool {
        self.socket.has_left()
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Waker, ready};
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::server::stall::{Limits, Order};

    /// Takes as many bytes as its client's window has room for.
    struct Socket(Rc<Cell<usize>>);

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = self.0.get().min(buf.len());
            self.0.update(|room| room - count);
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl ClientStream for Socket {
        fn reset_on_close(&self) {}

        fn keep_alive(&self) {}

        fn has_left(&self) -> bool {
            false
        }

        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// Takes everything at once, as TLS does with what is small, and passes it on when it is told to.
    struct Buffering<T>(T, Vec<u8>);

    impl<T: AsyncRead + Unpin> AsyncRead for Buffering<T> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl<T: AsyncWrite + Unpin> AsyncWrite for Buffering<T> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.1.extend_from_slice(buf);
            let _ = self.poll_flush(cx);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self(socket, held) = self.get_mut();
            while !held.is_empty() {
                let count = ready!(Pin::new(&mut *socket).poll_write(cx, held))?;
                held.drain(..count);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    impl<T: ClientStream> ClientStream for Buffering<T> {
        fn reset_on_close(&self) {}

        fn keep_alive(&self) {}

        fn has_left(&self) -> bool {
            false
        }

        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// A busy connection over TLS, at its own time.
    struct Connection {
        now: Rc<Cell<Timestamp>>,
        room: Rc<Cell<usize>>,
        activity: Rc<Activity>,
        io: WatchedIo<Buffering<WatchedSocket<Socket>>>,
    }

    const START: Timestamp = Timestamp::from_secs(1000);

    impl Connection {
        fn new() -> Self {
            let (now, room) = (Rc::new(Cell::new(START)), Rc::<Cell<usize>>::default());
            let activity = Rc::new(Activity::new(Rc::clone(&now)));
            let socket = WatchedSocket::new(Socket(Rc::clone(&room)), Rc::clone(&activity));
            let io = WatchedIo::new(Buffering(socket, Vec::new()), Rc::clone(&activity));
            activity.busy();
            Self { now, room, activity, io }
        }

        fn write(&mut self, bytes: &[u8]) {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut self.io).poll_write(cx, bytes).is_ready());
        }

        fn is_flushed(&mut self) -> bool {
            let cx = &mut Context::from_waker(Waker::noop());
            Pin::new(&mut self.io).poll_flush(cx).is_ready()
        }

        /// What it is to do so many seconds after the start.
        fn judged_at(&self, second: u64) -> Order {
            let seconds = Duration::from_secs;
            self.now.set(START + seconds(second));
            self.activity.judge(&Limits {
                handshake: seconds(10),
                first_byte: seconds(10),
                head: seconds(10),
                body: seconds(60),
                idle: seconds(10),
                tunnel: None,
            })
        }
    }

    #[test]
    fn a_client_that_has_not_taken_all_of_its_answer_over_tls_is_not_idle() {
        let mut connection = Connection::new();
        connection.write(b"the last of the answer");
        connection.activity.answered();
        assert!(!connection.is_flushed());
        assert_eq!(connection.judged_at(59), Order::Serve);
        assert_eq!(connection.judged_at(61), Order::Cut);
        connection.room.set(100);
        assert!(connection.is_flushed());
        assert_eq!(connection.judged_at(71), Order::Serve, "it rests since it has been served");
        assert_eq!(connection.judged_at(72), Order::Cut);
    }

    #[test]
    fn what_fits_into_the_buffer_of_tls_does_not_count_as_taken_by_the_client() {
        let mut connection = Connection::new();
        connection.write(b"of the answer");
        assert_eq!(connection.judged_at(30), Order::Serve);
        connection.write(b"a ping");
        assert_eq!(connection.judged_at(59), Order::Serve);
        assert_eq!(connection.judged_at(61), Order::Cut);
        connection.room.set(1);
        assert!(!connection.is_flushed());
        assert_eq!(connection.judged_at(121), Order::Serve, "it took a byte");
        assert_eq!(connection.judged_at(122), Order::Cut);
    }
}
