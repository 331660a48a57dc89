//! The diagnostic log: what went wrong and why, on standard error.
//!
//! One place in the code can be reached by anybody who sends requests, such as the line that says an upstream does not answer. So each
//! has a number of lines, and above it they are counted instead of written: no flood of requests becomes one of the log.
//!
//! Nobody waits for standard error: a thread of its own writes there, as its reader may be slow or gone, and a pipe that nobody reads
//! would hold up every worker that has something to say.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::observe::access_log::LogThread;

/// Lines of one place that may follow each other at once.
const AT_ONCE: u32 = 100;
/// One more after each such span.
const EVERY: Duration = Duration::from_millis(200);

/// Lines that may wait for standard error to be read.
const WAITING: usize = 1024;
/// How long the end of the process waits for the lines that were said before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends diagnostics to standard error from now on, what a panic says included; `FLUIDGATE_LOG` filters them (default `info`). Colour
/// only on a terminal. A second call changes nothing.
///
/// The lines that wait are written when what is returned is dropped, and none after that.
pub fn start() -> Diagnostics {
    let filter =
        with_panics(EnvFilter::try_from_env("FLUIDGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info")));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (queue, thread) = Queue::start(io::stderr());
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Bounded { places: Mutex::default(), queue: Arc::clone(&queue) })
        .with_ansi(colour)
        .with_target(false)
        .with_env_filter(filter);
    // Fails only when one is set already, as in a test that starts two gateways.
    if subscriber.try_init().is_ok() {
        panic::set_hook(Box::new(|panic| {
            let said = panic.to_string().replace('\n', " ");
            tracing::error!(target: "panic", thread = std::thread::current().name(), "{said}");
        }));
    }
    Diagnostics { queue, thread }
}

/// What a panic says passes every filter.
fn with_panics(filter: EnvFilter) -> EnvFilter {
    match "panic=error".parse() {
        Ok(always) => filter.add_directive(always),
        Err(_) => filter,
    }
}

/// The diagnostic log while it is written.
#[derive(Debug)]
#[must_use = "dropped, it ends the log"]
pub struct Diagnostics {
    queue: Arc<Queue>,
    thread: Option<LogThread>,
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        self.queue.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = &self.thread {
            thread.ended_within(PATIENCE);
        }
    }
}

/// The lines that wait for standard error.
#[derive(Debug)]
struct Queue {
    /// `None` at the end. Where there was no thread to be had, all that is sent is lost.
    sender: Mutex<Option<SyncSender<Vec<u8>>>>,
    /// Lines for which there was no room since the last that had some.
    lost: AtomicU64,
}

impl Queue {
    fn start(mut out: impl Write + Send + 'static) -> (Arc<Self>, Option<LogThread>) {
        let (sender, lines) = sync_channel::<Vec<u8>>(WAITING);
        let queue = Arc::new(Self { sender: Mutex::new(Some(sender)), lost: AtomicU64::new(0) });
        let counted = Arc::clone(&queue);
        let thread = LogThread::start("diagnostics", move || {
            for line in lines {
                // An error has nowhere else to go.
                let _ = out.write_all(&line);
                if let lost @ 1.. = counted.lost.swap(0, Ordering::Relaxed) {
                    let _ = writeln!(out, "({lost} lines were lost: standard error was not read)");
                }
                let _ = out.flush();
            }
        });
        (queue, thread.ok())
    }

    fn push(&self, line: Vec<u8>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_some_and(|sender| sender.try_send(line).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The queue, for so many lines of each place in the code.
struct Bounded {
    places: Mutex<HashMap<Identifier, Place>>,
    queue: Arc<Queue>,
}

/// What a place in the code has written.
struct Place {
    room: u32,
    since: Instant,
    left_out: u64,
}

impl Place {
    fn new(now: Instant) -> Self {
        Self { room: AT_ONCE, since: now, left_out: 0 }
    }

    /// Whether a line may be written, and how many were not since the last one that was.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let spans = now.saturating_duration_since(self.since).as_millis() / EVERY.as_millis();
        let earned = u32::try_from(spans).unwrap_or(AT_ONCE).min(AT_ONCE);
        if earned > 0 {
            self.room = self.room.saturating_add(earned).min(AT_ONCE);
            self.since = now;
        }
        let Some(room) = self.room.checked_sub(1) else {
            self.left_out += 1;
            return None;
        };
        self.room = room;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<'a> MakeWriter<'a> for Bounded {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { left_out: Some(0), queue: &self.queue }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let now = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = places.entry(metadata.callsite()).or_insert_with(|| Place::new(now)).take(now);
        Line { left_out, queue: &self.queue }
    }
}

/// Where one line goes: nowhere, or to the queue, with how many like it were left out before.
struct Line<'a> {
    left_out: Option<u64>,
    queue: &'a Queue,
}

impl Write for Line<'_> {
    /// Takes all of it, and is given a whole line at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left_out) = &mut self.left_out else { return Ok(bytes.len()) };
        let mut line = Vec::with_capacity(bytes.len());
        if let left_out @ 1.. = std::mem::take(left_out) {
            writeln!(line, "({left_out} lines like the next were left out)")?;
        }
        line.extend_from_slice(bytes);
        self.queue.push(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_says_much_is_counted_and_says_later_how_much_was_left_out() {
        let start = Instant::now();
        let mut place = Place::new(start);
        let written = (0..5000).filter(|_| place.take(start).is_some()).count();
        assert_eq!(written, 100);
        let later = start + EVERY;
        assert_eq!(place.take(later), Some(4900));
        assert_eq!(place.take(later), None);
        // After a rest all is as at the start.
        let rested = later + 1000 * EVERY;
        assert_eq!(place.take(rested), Some(1));
        assert_eq!((0..5000).filter(|_| place.take(rested).is_some()).count(), 99);
    }
    #[test]
    fn a_filter_that_hides_everything_does_not_hide_a_panic() {
        for said in ["off", "fluidgate::proxy=debug"] {
            let hidden =
                tracing_subscriber::fmt().with_env_filter(with_panics(EnvFilter::new(said))).finish();
            tracing::subscriber::with_default(hidden, || {
                assert!(tracing::enabled!(target: "panic", tracing::Level::ERROR), "{said}");
                assert!(!tracing::enabled!(target: "other", tracing::Level::ERROR), "{said}");
            });
        }
    }

    /// Takes nothing until it is told to, and then everything.
    struct Blocked(std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<Vec<u8>>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_has_something_to_say_does_not_wait_for_its_reader_and_what_was_lost_is_said() {
        let (go_on, told) = std::sync::mpsc::channel();
        let (takes, taken) = std::sync::mpsc::channel();
        let (queue, thread) = Queue::start(Blocked(told, takes));
        for line in 0..WAITING + 100 {
            queue.push(format!("{line}\n").into_bytes());
        }
        assert!(queue.lost.load(Ordering::Relaxed) >= 99);
        drop(go_on);
        drop(Diagnostics { queue, thread });
        let said: Vec<u8> = taken.iter().flatten().collect();
        let said = String::from_utf8(said).unwrap();
        let lost: u64 =
            said.lines().find_map(|line| line.strip_prefix('(')?.split(' ').next()?.parse().ok()).unwrap();
        let written = said.lines().filter(|line| !line.starts_with('(')).count();
        assert_eq!(written + usize::try_from(lost).unwrap(), WAITING + 100, "{said}");
    }
}
