//! How much of a connection is read before what came is looked at.
//!
//! The HTTP/2 library reads all that there is and takes every request apart before it hands out the first. Fields of a byte each on
//! the wire take a hundred times that in memory, until the head that has too many of them is looked at and cut short. So a
//! connection reads little at a time, and its neighbours have their turn in between.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a turn: a whole record of TLS, and a whole frame of the usual largest size.
const TURN: usize = 16 * 1024;

/// The turn of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTurn(Rc<Cell<usize>>);

impl ReadTurn {
    /// `stream`, read by turns.
    pub(super) fn of<T>(&self, stream: T) -> InTurns<T> {
        InTurns { stream, turn: self.clone() }
    }

    /// The connection is about to be polled: it may read again.
    pub(super) fn begin(&self) {
        self.0.set(TURN);
    }
}

/// A stream of which no more is read in one turn than its share.
#[derive(Debug)]
pub(super) struct InTurns<T> {
    stream: T,
    turn: ReadTurn,
}

impl<T: AsyncRead + Unpin> AsyncRead for InTurns<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = &this.turn.0;
        if left.get() == 0 {
            // There may be more: on with it when the others have had their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        left.update(|left| left.saturating_sub(buf.filled().len().saturating_sub(before)));
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for InTurns<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_turn_ends_after_its_share_and_the_next_one_goes_on_where_it_ended() {
        let (there, turn) = (vec![7; 3 * TURN], ReadTurn::default());
        let mut stream = turn.of(io::Cursor::new(there));
        let cx = &mut Context::from_waker(Waker::noop());
        let mut read = || {
            let mut bytes = [0; TURN / 2];
            let mut buf = ReadBuf::new(&mut bytes);
            Pin::new(&mut stream)
                .poll_read(cx, &mut buf)
                .map(|read| read.map(|()| buf.filled().len()).unwrap())
        };
        for _ in 0..3 {
            turn.begin();
            assert_eq!([read(), read()], [Poll::Ready(TURN / 2); 2]);
            assert_eq!(read(), Poll::Pending);
        }
        turn.begin();
        assert_eq!([read(), read()], [Poll::Ready(0); 2], "the end is no share");
    }
}
