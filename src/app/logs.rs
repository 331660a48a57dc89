//! The access log and the audit log as the process runs them: lines are handed over, what is lost is said, the last lines are waited for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::observe::LogNumbers;
use crate::observe::access_log::{AccessLog, WorkerLog};

/// How often workers hand their access log lines over.
const HAND_OVER: Duration = Duration::from_millis(200);
/// How long the end waits for each log's last lines.
const LAST_LINES: Duration = Duration::from_secs(3);
/// How often somebody looks for lines that were lost.
const LOOK: Duration = Duration::from_secs(10);
/// While lines are lost, that is said so often.
const SAY: Duration = Duration::from_secs(60);

/// One worker's batch of log lines, handed over every [`HAND_OVER`]. Called on the worker's own runtime.
pub(super) fn worker_log(log: Arc<AccessLog>) -> Rc<WorkerLog> {
    let log = Rc::new(WorkerLog::new(log));
    let ticking = Rc::downgrade(&log);
    tokio::task::spawn_local(async move {
        let mut tick = tokio::time::interval(HAND_OVER);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match ticking.upgrade() {
                Some(log) => log.flush(),
                None => break,
            }
        }
    });
    log
}

/// Looks for lines that are lost, and says so: neither workers nor a thread that is stuck at its target can.
pub(super) struct Losses(Rc<RefCell<LogNumbers>>);

impl Losses {
    /// Looks as long as what this gives is there. Called on a runtime for local tasks.
    pub(super) fn watch(logs: LogNumbers) -> Self {
        let logs = Rc::new(RefCell::new(logs));
        let watched = Rc::downgrade(&logs);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(logs) = watched.upgrade().map(Self) else { break };
                if logs.say() {
                    drop(logs);
                    tokio::time::sleep(SAY.saturating_sub(LOOK)).await;
                }
            }
        });
        Self(logs)
    }

    /// Says how many lines have been lost since this was asked last, and whether there were any.
    pub(super) fn say(&self) -> bool {
        let mut any = false;
        for (log, lines) in self.0.borrow_mut().news() {
            tracing::warn!(
                log,
                lines,
                "lines of a log may be lost: it cannot keep up, or its target cannot be written"
            );
            any = true;
        }
        any
    }
}

/// Waits for the end of a log by `ended_within`, which blocks, and says so when that was in vain.
pub(super) async fn wait_for_end(log: &str, ended_within: impl FnOnce(Duration) -> bool + Send + 'static) {
    let ended = tokio::task::spawn_blocking(move || ended_within(LAST_LINES)).await;
    if !ended.unwrap_or(false) {
        tracing::error!(log, "the end of a log is lost: its target takes nothing");
    }
}

/// Says so when the end of a log is not waited for.
pub(super) fn say_not_waited_for(log: &str) {
    tracing::warn!(log, "the end of a log may be missing: a second signal waits for nothing");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LostLines;

    #[tokio::test(start_paused = true)]
    async fn lost_lines_are_said_within_ten_seconds_and_then_once_a_minute() {
        let lost = LostLines::default();
        let mut logs = LogNumbers::default();
        logs.add("access", Some(lost.clone()));
        let watched = async {
            let losses = Losses::watch(logs);
            // What nobody has said is news, and then it is not any more.
            let unsaid = async |seconds| {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                losses.0.borrow_mut().news().next()
            };
            lost.add(400);
            assert_eq!(unsaid(11).await, None, "said");
            lost.add(2);
            assert_eq!(unsaid(50).await, Some(("access", 2)), "within the minute");
            lost.add(1);
            assert_eq!(unsaid(10).await, None, "said after it");
        };
        tokio::task::LocalSet::new().run_until(watched).await;
    }
}
