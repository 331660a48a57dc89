//! What is noted of a request while it is walked, for the counts and the access log.

use http::HeaderValue;

use crate::gateway::open_line::{Noted, OpenLine};
use crate::gateway::respond::INTERNAL;
use crate::observe::metrics::{RouteId, Verdict};

/// The log's status of a request without an answer, as other servers have it.
const BROKEN_OFF: u16 = 499;

/// What is noted of a request while it is walked: for the counts, and for the access log when it is on.
pub struct Note {
    /// The access log's line, when it is on.
    pub line: Option<OpenLine>,
    /// The request's id, as a field.
    pub id: Option<HeaderValue>,
    /// Which route it counts for.
    pub route: RouteId,
    /// What it counts as.
    pub verdict: Verdict,
}

impl Default for Note {
    /// Nothing yet.
    fn default() -> Self {
        Self { line: None, id: None, route: RouteId::default(), verdict: Verdict::Refuse }
    }
}

impl Note {
    /// Changes the line, if there is one.
    pub fn line(&mut self, change: impl FnOnce(&mut Noted)) {
        if let Some(line) = &mut self.line {
            change(&mut line.noted);
        }
    }

    /// Notes the verdict.
    pub fn decide(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.line(|line| line.decision = verdict.code());
    }

    /// Notes the verdict and its reason.
    pub fn decision(&mut self, verdict: Verdict, reason: Option<&'static str>) {
        self.decide(verdict);
        self.line(|line| line.reason = reason);
    }
}

impl Drop for Note {
    /// A request that was given up before it was answered may have reached the upstream all the same, so it is in the log, too.
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            (line.noted.status, line.noted.reason) = match std::thread::panicking() {
                true => (INTERNAL.status.as_u16(), Some(INTERNAL.code)),
                false => (BROKEN_OFF, Some("broken_off")),
            };
            line.write(0);
        }
    }
}
