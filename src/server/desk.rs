//! Where the requests of an HTTP/1 connection are answered, one after the other: by one future that lives as long as the
//! connection. A future of its own for each would be as large, and hyper would copy it to where it keeps it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The future that answers whatever comes to a desk; it never ends by itself.
type Work = Pin<Box<dyn Future<Output = Infallible>>>;

/// Makes one.
type Start<Q, A> = Box<dyn Fn(Rc<Tray<Q, A>>) -> Work>;

/// One connection's desk: requests `Q` come in, answers `A` go out.
pub(super) struct Desk<Q, A> {
    tray: Rc<Tray<Q, A>>,
    start: Start<Q, A>,
    /// Made for the first request: a connection that asks for nothing has none.
    work: RefCell<Option<Work>>,
}

/// What lies on a desk: at most one of each.
pub(super) struct Tray<Q, A> {
    request: RefCell<Option<Q>>,
    answer: RefCell<Option<A>>,
}

impl<Q, A> Tray<Q, A> {
    /// The next request.
    pub(super) async fn request(&self) -> Q {
        poll_fn(|_| match self.request.borrow_mut().take() {
            Some(request) => Poll::Ready(request),
            None => Poll::Pending,
        })
        .await
    }

    /// The answer to the last one.
    pub(super) fn put(&self, answer: A) {
        *self.answer.borrow_mut() = Some(answer);
    }
}

impl<Q, A> Desk<Q, A> {
    /// A desk whose requests are answered by what `start` makes.
    pub(super) fn new(start: impl Fn(Rc<Tray<Q, A>>) -> Work + 'static) -> Self {
        let tray = Rc::new(Tray { request: RefCell::new(None), answer: RefCell::new(None) });
        Self { tray, start: Box::new(start), work: RefCell::new(None) }
    }

    /// Takes on `request`; the one before must be answered or given up.
    pub(super) fn answer(self: Rc<Self>, request: Q) -> Answer<Q, A> {
        *self.tray.request.borrow_mut() = Some(request);
        Answer { desk: Some(self) }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<A> {
        let mut work = self.work.borrow_mut();
        let work = work.get_or_insert_with(|| (self.start)(Rc::clone(&self.tray)));
        let _ = work.as_mut().poll(cx);
        match self.tray.answer.borrow_mut().take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

/// The answer to one request. Dropped before it is there, it takes what works on it along.
pub(super) struct Answer<Q, A> {
    /// `None` once the answer is out.
    desk: Option<Rc<Desk<Q, A>>>,
}

impl<Q, A> Future for Answer<Q, A> {
    type Output = Result<A, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(desk) = &self.desk else { return Poll::Pending };
        let polled = desk.poll(cx);
        if polled.is_ready() {
            self.desk = None;
        }
        polled.map(Ok)
    }
}

impl<Q, A> Drop for Answer<Q, A> {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            drop(desk.tray.request.take());
            drop(desk.work.take());
        }
    }
}
