//! The background task that cleans for ever (S18). It runs on the control runtime, away from the workers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::secret::Random;
use crate::session::manager::SessionManager;

/// Between two clean-ups: this, and up to half of it more by chance, so that several gateways do not sweep in step.
const PERIOD: Duration = Duration::from_secs(60);

/// Cleans about every minute until `stop` resolves. An error is logged and the next round comes all the same.
pub async fn sweep_forever(
    manager: Arc<SessionManager>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(PERIOD + jitter(&*random)) => {}
        }
        match manager.clean(clock.now()).await {
            Ok(report) if report.removed > 0 => {
                let took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(
                    removed = report.removed,
                    examined = report.examined,
                    took_ms,
                    "sessions cleaned"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the clean-up of sessions could not be written"),
        }
    }
}

fn jitter(random: &dyn Random) -> Duration {
    let mut byte = [0];
    // Without randomness the rounds are merely regular.
    let _ = random.fill(&mut byte);
    PERIOD * u32::from(byte[0]) / 512
}
