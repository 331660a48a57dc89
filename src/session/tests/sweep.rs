//! The sweeper: runs by itself, survives errors, stops when told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rig::*;
use crate::base::secret::SystemRandom;
use crate::session::sweep_forever;

#[tokio::test(start_paused = true)]
async fn the_sweeper_cleans_by_itself_survives_errors_and_stops_when_told() {
    let rig = Rig::new();
    rig.log_in("ada").await;
    rig.clock.advance(Duration::from_secs(3 * 3600));
    rig.probe.fail(true);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let sweeper = tokio::spawn(sweep_forever(
        Arc::clone(&rig.manager),
        Arc::new(rig.clock.clone()),
        Arc::new(SystemRandom),
        async { drop(stopped.await) },
    ));
    while rig.manager.last_clean().is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.manager.live(), 0);
    rig.probe.fail(false);
    let first = rig.manager.last_clean();
    rig.clock.advance(Duration::from_secs(1));
    while rig.manager.last_clean() == first {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(rig.manager.counters().store_errors.load(Ordering::SeqCst) > 0);
    stop.send(()).unwrap();
    sweeper.await.unwrap();
}
