//! How much of a connection is read before what came is looked at.
//!
//! The HTTP/2 library reads all that there is and takes every request apart before it hands out the first. Fields of a byte each on
//! the wire take a hundred times that in memory, until the head that has too many of them is looked at and cut short. So a
//! connection reads little at a time, and its neighbours have their turn in between.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes of a turn: a whole record of TLS, and a whole frame of the usual largest size.
const TURN: usize = 16 * 1024;

/// What a connection may read before its next turn.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTurn(Rc<Cell<usize>>);

impl ReadTurn {
    /// The connection is about to be polled: it may read again.
    pub(super) fn begin(&self) {
        self.0.set(TURN);
    }

    /// Whether it has read its share.
    pub(super) fn is_over(&self) -> bool {
        self.0.get() == 0
    }

    /// It has read so many bytes.
    pub(super) fn read(&self, count: usize) {
        self.0.update(|left| left.saturating_sub(count));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::server::stall::Activity;
    use crate::server::watched_io::WatchedIo;

    #[test]
    fn a_turn_ends_after_its_share_and_the_next_one_goes_on_where_it_ended() {
        let (there, turn) = (vec![7; 3 * TURN], ReadTurn::default());
        let activity = Rc::new(Activity::new(Rc::new(Cell::new(Timestamp::from_secs(1000)))));
        let mut stream = WatchedIo::new(io::Cursor::new(there), activity).in_turns(&turn);
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
