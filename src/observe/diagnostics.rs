//! The diagnostic log: what went wrong and why, on standard error.
//!
//! One place in the code can be reached by anybody who sends requests, such as the line that says an upstream does not answer. So each
//! has a number of lines, and above it they are counted instead of written: no flood of requests becomes one of the log.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines of one place that may follow each other at once.
const AT_ONCE: u32 = 100;
/// One more after each such span.
const EVERY: Duration = Duration::from_millis(200);

/// Sends diagnostics to standard error from now on; `FLUIDGATE_LOG` filters them (default `info`). Colour only on a terminal.
/// A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("FLUIDGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Bounded::default())
        .with_ansi(colour)
        .with_target(false)
        .with_env_filter(filter);
    // Fails only when one is set already, as in a test that starts two gateways.
    let _ = subscriber.try_init();
}

/// Standard error, for so many lines of each place in the code.
#[derive(Default)]
struct Bounded(Mutex<HashMap<Identifier, Place>>);

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
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Some(0))
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        let now = Instant::now();
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Line(places.entry(metadata.callsite()).or_insert_with(|| Place::new(now)).take(now))
    }
}

/// Where one line goes: nowhere, or to standard error, with how many like it were left out before.
struct Line(Option<u64>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left_out) = &mut self.0 else { return Ok(bytes.len()) };
        let mut out = io::stderr().lock();
        if let left_out @ 1.. = std::mem::take(left_out) {
            writeln!(out, "({left_out} lines like the next were left out)")?;
        }
        out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
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
}
