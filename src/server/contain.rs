//! A panic ends what panicked, and nothing else.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Something panicked; the panic hook has said where.
pub(super) struct Panicked;

/// Runs a call and its future; a panic in either ends only them. What `call` yields is made where it is polled: it is large, and
/// copied by every move.
pub(super) async fn contained<F: Future>(call: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    let mut future = pin!(async { call().await });
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
