//! The audit log: one JSON line for everything that becomes of a session (S39).
//!
//! Whoever notes an event hands it to a bounded queue and goes on. The thread `audit-log` formats and writes; it looks at the
//! queue ten times a second and never sleeps on it, so that handing over takes no lock. What does not fit is dropped and counted, and
//! what strangers can cause is limited to [`LIMIT`] lines a second; the log itself says how much it left out.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::base::clock::{Clock, Timestamp};
use crate::observe::access_log::escape::json_field;
use crate::observe::access_log::{LogThread, Target, append};
use crate::observe::log_target::LogTarget;
use crate::observe::lost_lines::LostLines;

/// The audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go; `None`, the default, for no audit log.
    pub target: Option<Target>,
}

/// Lines a second for each kind of event that strangers can cause.
pub const LIMIT: u64 = 50;

/// Events that may wait for the disk.
const WAITING: usize = 8192;
/// How often the thread looks at the queue.
const PAUSE: Duration = Duration::from_millis(100);
/// How often at most the log says what it left out.
const SAY_GAPS: Duration = Duration::from_secs(1);
/// Text in bytes that is written at once.
const FULL: usize = 64 * 1024;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: a stable name such as `session_created`.
    pub name: &'static str,
    /// Why: a stable code.
    pub reason: Option<&'static str>,
    /// To which session.
    pub session: Option<ShortDigest>,
    /// Whose session it is.
    pub user: Option<Box<str>>,
    /// Where it came from.
    pub client: Option<IpAddr>,
}

/// A session's name in the log: six bytes of a keyed digest, printed as twelve hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortDigest(pub [u8; 6]);

impl fmt::Display for ShortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Event {
    /// An event called `name` at the moment `at`.
    pub fn new(at: Timestamp, name: &'static str) -> Self {
        Self { at, name, reason: None, session: None, user: None, client: None }
    }

    /// The same about a session.
    #[must_use]
    pub fn of(self, session: ShortDigest) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The same about a user.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    // Writing to a Vec cannot fail, so the results are let go.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        let _ = write!(out, r#"{{"ts":"{}","kind":"audit""#, self.at);
        json_field(out, "event", self.name);
        if let Some(reason) = self.reason {
            json_field(out, "reason", reason);
        }
        if let Some(session) = self.session {
            let _ = write!(out, r#","session":"{session}""#);
        }
        if let Some(user) = &self.user {
            json_field(out, "user", user);
        }
        if let Some(client) = self.client {
            let _ = write!(out, r#","client_ip":"{client}""#);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// The sending side, shared by all threads.
#[derive(Debug)]
pub struct AuditLog {
    sender: SyncSender<Event>,
    /// The second for which `used` counts.
    second: AtomicU64,
    used: AtomicU64,
    gaps: Arc<Gaps>,
}

/// What the log could not say.
#[derive(Debug, Default)]
struct Gaps {
    /// Events that found the queue full, or could not be written.
    lost: LostLines,
    /// Events above [`LIMIT`].
    limited: AtomicU64,
    /// What of both the log has told already.
    told_lost: AtomicU64,
    told_limited: AtomicU64,
}

/// The writing side. Dropping it ends the thread too, but does not wait for it.
#[derive(Debug)]
pub struct AuditThread {
    stop: Sender<()>,
    thread: LogThread,
}

impl AuditThread {
    /// Lets it write what waits and end. Blocks until that is done, but no longer than `patience`: a target that nobody reads
    /// must not keep the process from ending. False when it had to be left.
    pub fn finish(self, patience: Duration) -> bool {
        let _ = self.stop.send(());
        self.thread.ended_within(patience)
    }
}

impl AuditLog {
    /// Opens the target and starts the writing thread; `None` when the log is off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> io::Result<Option<(Arc<Self>, AuditThread)>> {
        let sink: Box<dyn Write + Send> = match &settings.target {
            None => return Ok(None),
            Some(Target::Stdout) => Box::new(io::stdout()),
            Some(Target::File(path)) => Box::new(append(path)?),
        };
        Self::start(sink, clock).map(Some)
    }

    fn start(sink: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> io::Result<(Arc<Self>, AuditThread)> {
        let (log, queue) = Self::queue(WAITING);
        let (stop, stopped) = channel();
        let writer = AuditWriter::new(sink, clock, queue, Arc::clone(&log.gaps));
        let thread = LogThread::start("audit-log", move || writer.run(&stopped))?;
        Ok((Arc::new(log), AuditThread { stop, thread }))
    }

    fn queue(capacity: usize) -> (Self, Receiver<Event>) {
        let (sender, queue) = sync_channel(capacity);
        let (second, used, gaps) = (AtomicU64::new(0), AtomicU64::new(0), Arc::default());
        (Self { sender, second, used, gaps }, queue)
    }

    /// Hands an event over; never waits.
    pub fn note(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.gaps.lost.add(1);
        }
    }

    /// The same for an event that strangers can cause: at most [`LIMIT`] a second, the others are counted.
    pub fn note_limited(&self, event: Event) {
        let second = event.at.as_secs();
        // Two threads at the turn of a second may let a line more through; the count stays right.
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.used.store(0, Ordering::Relaxed);
        }
        if self.used.fetch_add(1, Ordering::Relaxed) < LIMIT {
            self.note(event);
        } else {
            self.gaps.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were lost: the queue was full, or the target could not be written.
    pub fn lost(&self) -> LostLines {
        self.gaps.lost.clone()
    }

    /// Events left out because there were more than [`LIMIT`] a second.
    pub fn limited(&self) -> u64 {
        self.gaps.limited.load(Ordering::Relaxed)
    }
}

struct AuditWriter {
    target: LogTarget,
    clock: Arc<dyn Clock>,
    queue: Receiver<Event>,
    gaps: Arc<Gaps>,
    buffer: Vec<u8>,
    /// Events in the buffer.
    lines: u64,
    /// What the buffer tells of gaps: lost and limited.
    telling: (u64, u64),
}

impl AuditWriter {
    fn new(
        sink: Box<dyn Write + Send>,
        clock: Arc<dyn Clock>,
        queue: Receiver<Event>,
        gaps: Arc<Gaps>,
    ) -> Self {
        let target = LogTarget::new("audit", sink, gaps.lost.clone());
        Self { target, clock, queue, gaps, buffer: Vec::new(), lines: 0, telling: (0, 0) }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        let mut said = Instant::now();
        loop {
            let ending = stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
            while let Ok(event) = self.queue.try_recv() {
                event.write_json(&mut self.buffer);
                self.lines += 1;
                if self.buffer.len() >= FULL {
                    self.write();
                }
            }
            if ending || said.elapsed() >= SAY_GAPS {
                self.say_gaps();
                said = Instant::now();
            }
            self.write();
            if ending {
                return;
            }
        }
    }

    /// A line for what was left out since the last such line.
    fn say_gaps(&mut self) {
        let gaps = &self.gaps;
        let since = |total: u64, told: &AtomicU64| total.saturating_sub(told.swap(total, Ordering::Relaxed));
        let lost = since(gaps.lost.count(), &gaps.told_lost);
        let limited = since(gaps.limited.load(Ordering::Relaxed), &gaps.told_limited);
        self.telling = (self.telling.0 + lost, self.telling.1 + limited);
        for (reason, count) in [("queue_full", lost), ("rate_limit", limited)] {
            if count > 0 {
                let at = self.clock.now();
                let _ = writeln!(
                    self.buffer,
                    r#"{{"ts":"{at}","kind":"audit","event":"left_out","reason":"{reason}","count":{count}}}"#
                );
            }
        }
    }

    fn write(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if !self.target.write(&self.buffer, self.lines) {
            // What was to be told of gaps has not been told: the next line that can be written says it.
            self.gaps.told_lost.fetch_sub(self.telling.0, Ordering::Relaxed);
            self.gaps.told_limited.fetch_sub(self.telling.1, Ordering::Relaxed);
        }
        self.buffer.clear();
        self.lines = 0;
        self.telling = (0, 0);
    }
}

#[cfg(test)]
mod tests;
