//! The signals that end the process.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT. One that comes before anybody waits for it is kept.
pub(super) struct EndSignals(Option<(Signal, Signal)>);

impl EndSignals {
    /// From here on they are a drain and do not kill the process.
    pub(super) fn catch(runtime: &Runtime) -> Self {
        let _entered = runtime.enter();
        let caught = signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok());
        if caught.is_none() {
            tracing::warn!("cannot listen for signals");
        }
        Self(caught)
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
