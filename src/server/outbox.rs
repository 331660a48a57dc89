//! What the HTTP/2 library holds of the answers of one connection: handed to it, and not taken by the client's socket yet.
//!
//! Left to itself the library takes pieces of every answer for as long as a client's windows have room, whether its socket takes
//! any or not. Here every piece is counted until its last byte is on its way, and bodies hand out the next one by that:
//!
//! | held of the whole connection | a stream hands out |
//! | --- | --- |
//! | less than `PLENTY` | whatever the library asks for: a client that takes its answers, a few at a time, stays below this |
//! | less than `MOST` | one piece, and the next when that one is gone |
//! | more | nothing, until others are gone |
//!
//! So no stream whose own client side stands still keeps its neighbours from theirs, before they are very many.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use crate::server::streams::Hold;
use crate::web::body::Progress;

const PLENTY: usize = 256 * 1024;
const MOST: usize = 2 * 1024 * 1024;
/// What a client must take of a stream for it to have come on, if that is not all there is: a window of a byte a second is none.
pub(super) const STEP: usize = 1024;

/// The most that ever waited at a time on one connection.
#[cfg(test)]
pub(super) static LARGEST_CROWD: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: Cell<usize>,
    /// All bytes that were ever taken.
    taken: Cell<u64>,
    /// Bodies that may hand out nothing at all, by their tickets. Only those that are there: a waker keeps all that its task was.
    crowd: RefCell<BTreeMap<u64, Waker>>,
    next_ticket: Cell<u64>,
}

/// Of one stream.
#[derive(Debug, Default)]
pub(super) struct Share {
    outbox: Rc<Outbox>,
    held: Cell<usize>,
    /// Bytes taken since the last step.
    taken: Cell<usize>,
    /// It stands while the client has something to take; what it takes is a step, if it is worth the name.
    pub(super) progress: Progress,
    /// The body that waits until nothing is held of it.
    body: RefCell<Option<Waker>>,
    /// Its place among those that wait for others, until it may hand out something.
    ticket: Cell<Option<u64>>,
    /// All is handed out: the request's hold on its connection, which goes when nothing is held of it any more.
    hold: RefCell<Option<Hold>>,
}

impl Outbox {
    /// Bytes held of all streams.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

    /// How many bytes were taken so far, of all streams.
    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    fn draw_ticket(&self) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        ticket
    }
}

impl Share {
    pub(super) fn of(outbox: &Rc<Outbox>) -> Rc<Self> {
        Rc::new(Self {
            outbox: Rc::clone(outbox),
            held: Cell::default(),
            taken: Cell::default(),
            progress: Progress::default(),
            body: RefCell::default(),
            ticket: Cell::default(),
            hold: RefCell::default(),
        })
    }

    /// Ready when the stream may hand out a piece.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let of_all = self.outbox.held.get();
        if of_all < PLENTY || (self.held.get() == 0 && of_all < MOST) {
            self.ticket.set(None);
            return Poll::Ready(());
        }
        if self.held.get() == 0 {
            let ticket = self.ticket.get().unwrap_or_else(|| self.outbox.draw_ticket());
            self.ticket.set(Some(ticket));
            let _before = self.outbox.crowd.borrow_mut().insert(ticket, cx.waker().clone());
            #[cfg(test)]
            LARGEST_CROWD.fetch_max(self.outbox.crowd.borrow().len(), std::sync::atomic::Ordering::Relaxed);
        } else {
            self.body.replace(Some(cx.waker().clone()));
        }
        Poll::Pending
    }

    /// The stream's body is gone: it waits for nothing any more. `hold` stays until nothing is held of what it handed out.
    pub(super) fn leave(&self, hold: Option<Hold>) {
        if self.held.get() > 0 {
            self.hold.replace(hold);
        }
        let _own = self.body.take();
        let _in_crowd = self.ticket.take().and_then(|ticket| self.outbox.crowd.borrow_mut().remove(&ticket));
    }

    /// Whether the client has yet to take the rest of an answer whose end the library knows.
    pub(super) fn is_all_handed_out(&self) -> bool {
        self.hold.borrow().is_some()
    }

    /// Whether the end may be said along with the last piece. Where much is held the end waits for that piece to be taken: until
    /// then there is a body to break off.
    pub(super) fn may_end(&self) -> bool {
        self.held.get() == 0 || self.outbox.held.get() < PLENTY
    }

    /// Counts a piece that the library gets now.
    pub(super) fn hand_out(self: &Rc<Self>, bytes: Bytes) -> Piece {
        self.held.update(|held| held + bytes.len());
        self.outbox.held.update(|held| held + bytes.len());
        if !bytes.is_empty() {
            self.progress.stand();
        }
        Piece { bytes, share: Rc::clone(self) }
    }

    /// The library holds `count` bytes less.
    fn let_go(&self, count: usize) {
        self.held.update(|held| held.saturating_sub(count));
        self.outbox.held.update(|held| held.saturating_sub(count));
        self.taken.update(|taken| taken + count);
        if self.held.get() == 0 || self.taken.get() >= STEP {
            self.taken.set(0);
            self.progress.step();
        }
        if self.held.get() > 0 {
            self.progress.stand();
        } else if let Some(body) = self.body.take() {
            body.wake();
        }
        if self.outbox.held.get() < MOST {
            for body in self.outbox.crowd.take().into_values() {
                body.wake();
            }
        }
        if self.held.get() == 0 {
            let _its_request_is_answered = self.hold.take();
        }
    }
}

/// A piece of an answer in the library's hands.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    share: Rc<Share>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.share.outbox.taken.update(|taken| taken + count as u64);
        self.share.let_go(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            // The stream has ended before it was taken.
            self.share.let_go(self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn piece(share: &Rc<Share>, length: usize) -> Piece {
        share.hand_out(vec![0; length].into())
    }

    #[test]
    fn a_stream_hands_out_freely_until_much_is_held_and_then_one_piece_at_a_time() {
        let (outbox, woken) = (Rc::default(), Arc::<Woken>::default());
        let waker = woken.clone().into();
        let cx = Context::from_waker(&waker);
        let (one, other) = (Share::of(&outbox), Share::of(&outbox));
        let mut first = piece(&one, PLENTY - 1);
        assert!(one.poll_room(&cx).is_ready() && one.may_end());
        let second = piece(&one, 1);
        assert!(one.poll_room(&cx).is_pending() && !one.may_end());
        assert!(other.poll_room(&cx).is_ready() && other.may_end(), "nothing of it is held");
        first.advance(PLENTY - 1);
        assert_eq!(woken.times(), 0, "a byte of it is still held");
        drop(second);
        assert_eq!((woken.times(), outbox.held()), (1, 0));
        assert_eq!(outbox.taken(), PLENTY as u64 - 1, "what was dropped was not taken");
    }

    #[test]
    fn nothing_more_is_handed_out_beyond_the_most_and_all_hear_when_there_is_room() {
        let outbox = Rc::default();
        let woken = [Arc::<Woken>::default(), Arc::default()];
        let wakers = woken.each_ref().map(|woken| woken.clone().into());
        let [first, second] = wakers.each_ref().map(Context::from_waker);
        let (one, other) = (Share::of(&outbox), Share::of(&outbox));
        let mut held = piece(&Share::of(&outbox), MOST);
        for _ in 0..2 {
            assert!(one.poll_room(&first).is_pending() && other.poll_room(&second).is_pending());
        }
        held.advance(1);
        assert_eq!(woken.each_ref().map(|woken| woken.times()), [1, 1]);
        let _took_the_room = piece(&one, 1);
        assert!(other.poll_room(&second).is_pending());
        drop(held);
        assert_eq!(woken.each_ref().map(|woken| woken.times()), [1, 2]);
        assert!(other.poll_room(&second).is_ready());
    }

    #[test]
    fn bodies_that_are_gone_leave_no_trace_among_those_that_wait() {
        let outbox = Rc::default();
        let (woken, gone) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let (stays, leaves) = (woken.clone().into(), gone.clone().into());
        let (stays, leaves) = (Context::from_waker(&stays), Context::from_waker(&leaves));
        let held = piece(&Share::of(&outbox), MOST);
        let open = [Share::of(&outbox), Share::of(&outbox)];
        for _ in 0..10_000 {
            let reset = Share::of(&outbox);
            assert!(open.iter().all(|share| share.poll_room(&stays).is_pending()));
            assert!(reset.poll_room(&leaves).is_pending());
            reset.leave(None);
            assert_eq!(outbox.crowd.borrow().len(), open.len());
        }
        // One that waits for its own piece.
        let own = Share::of(&outbox);
        let _held = piece(&own, 1);
        assert!(own.poll_room(&leaves).is_pending());
        own.leave(None);
        assert_eq!(Arc::strong_count(&gone), 2, "kept by the test's own variable and waker");
        drop(held);
        assert_eq!((woken.times(), gone.times()), (2, 0));
    }

    #[test]
    fn those_that_wait_are_woken_in_the_order_in_which_they_came_however_often_in_vain() {
        let outbox = Rc::default();
        let waker = Waker::noop();
        let cx = Context::from_waker(waker);
        let (early, late) = (Share::of(&outbox), Share::of(&outbox));
        let mut held = piece(&Share::of(&outbox), MOST);
        assert!(early.poll_room(&cx).is_pending() && late.poll_room(&cx).is_pending());
        held.advance(1);
        let _took_the_room = piece(&Share::of(&outbox), 1);
        assert!(late.poll_room(&cx).is_pending() && early.poll_room(&cx).is_pending());
        assert!(early.ticket.get() < late.ticket.get(), "each kept its place");
        held.advance(1);
        assert!(early.poll_room(&cx).is_ready());
        let took_the_room = piece(&early, 1);
        drop(took_the_room);
        let _took_the_room = piece(&Share::of(&outbox), 1);
        assert!(early.poll_room(&cx).is_pending());
        assert!(late.ticket.get() < early.ticket.get(), "who has had something waits behind");
    }

    #[test]
    fn a_stream_stands_while_its_client_has_something_to_take_and_steps_when_it_takes() {
        let share = Share::of(&Rc::default());
        assert!(!share.progress.stands());
        let mut held = piece(&share, STEP + 1);
        let before = share.progress.steps();
        assert!(share.progress.stands());
        for _ in 1..STEP {
            held.advance(1);
        }
        assert!(
            share.progress.stands() && share.progress.steps() == before,
            "so little that it may go on for ever"
        );
        held.advance(1);
        assert!(share.progress.stands() && share.progress.steps() != before);
        held.advance(1);
        assert!(!share.progress.stands());
        drop(piece(&share, 0));
        assert!(!share.progress.stands());
    }
}
