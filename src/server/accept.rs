//! One worker's accepting on one listening socket.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::server::Service;
use crate::server::listener::Listener;
use crate::server::worker::Worker;

/// How long a worker that is ahead leaves a waiting connection to the others.
const COURTESY: Duration = Duration::from_millis(1);

/// How long to wait when the system has no descriptor or memory for one more connection: no exit, no spin (X21).
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long it must have been well before the log says again that it is not: at the limit, accepting works and fails in turn.
const SILENCE: Duration = Duration::from_secs(10);

/// Accepts for ever. All workers share each socket, so the kernel wakes them all; the one with fewer connections takes it.
pub(super) async fn accept_all<S: Service>(worker: Rc<Worker<S>>, listener: Listener) {
    let Listener { socket, role, counts, .. } = listener;
    let mut failed: Option<Instant> = None;
    #[expect(
        deprecated,
        reason = "its successor is an unsafe fn; `ListenSocket` owns its descriptor, which is all it asks"
    )]
    let socket = match AsyncFd::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a worker cannot watch its listening socket");
            return;
        }
    };
    loop {
        let Ok(mut ready) = socket.readable().await else {
            sleep(BACK_OFF).await;
            continue;
        };
        if worker.is_ahead() {
            sleep(COURTESY).await;
        }
        let accepted = match ready.try_io(|s| s.get_ref().accept()) {
            Ok(accepted) => accepted.and_then(|a| worker.adopt(a, role, counts.open())),
            // Another worker was faster.
            Err(_would_block) => continue,
        };
        match accepted {
            Ok(()) => {}
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if failed.is_none_or(|last| last.elapsed() > SILENCE) {
                    tracing::error!(%error, "cannot accept connections; trying again every 100 ms");
                }
                failed = Some(Instant::now());
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Whether only the one connection failed, before it was taken.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
