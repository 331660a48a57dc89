//! What a log is written to: a disk that may be full, or a reader that went away. What cannot be written is lost: the
//! reason is said once, not for every line, and how many lines are is for the application to say.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::observe::lost_lines::LostLines;

/// For this long nothing fails before a log counts as written again, so that a disk at its edge is not told of in turns.
const QUIET: Duration = Duration::from_secs(10);

/// Where a log goes.
pub(super) struct LogTarget {
    /// The log, as messages call it.
    name: &'static str,
    sink: Box<dyn Write + Send>,
    lost: LostLines,
    /// The last writing broke off in the middle of a line.
    torn: bool,
    /// When writing failed last, until it counts as mended.
    failed: Option<Instant>,
}

impl LogTarget {
    /// A target of which nothing has been written. What is lost is added to `lost`, as others add what does not get here.
    pub(super) fn new(name: &'static str, sink: Box<dyn Write + Send>, lost: LostLines) -> Self {
        Self { name, sink, lost, torn: false, failed: None }
    }

    /// Writes `count` whole lines. False when some of them may be lost.
    pub(super) fn write(&mut self, lines: &[u8], count: u64) -> bool {
        let written = self.write_out(lines);
        let log = self.name;
        match &written {
            Err(error) => {
                self.lost.add(count);
                if self.fails(Instant::now()) {
                    tracing::warn!(%error, "cannot write the {log} log; the reason is said once until it is written again");
                }
            }
            Ok(()) if self.is_mended(Instant::now()) => tracing::info!("the {log} log is written again"),
            Ok(()) => {}
        }
        written.is_ok()
    }

    /// Notes a line that could not even be formed.
    pub(super) fn lose(&self) {
        self.lost.add(1);
    }

    /// Notes a failure, and whether it is news.
    fn fails(&mut self, now: Instant) -> bool {
        self.failed.replace(now).is_none()
    }

    /// Whether a failure has been followed by long enough without one.
    fn is_mended(&mut self, now: Instant) -> bool {
        self.failed.take_if(|failed| now.saturating_duration_since(*failed) >= QUIET).is_some()
    }

    /// A line that was torn by an error before is ended first, so that it spoils no other.
    fn write_out(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.sink.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let written = match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
            self.torn = done.last() != Some(&b'\n');
            rest = left;
        }
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_target_is_news_once_until_it_has_been_written_for_a_while() {
        let mut target = LogTarget::new("access", Box::new(io::sink()), LostLines::default());
        let start = Instant::now();
        assert!(!target.is_mended(start), "nothing has failed");
        assert!(target.fails(start));
        for _ in 0..100 {
            assert!(!target.fails(start + QUIET / 2));
        }
        assert!(!target.is_mended(start + QUIET), "it failed in between");
        assert!(target.is_mended(start + QUIET * 2));
        assert!(!target.is_mended(start + QUIET * 2), "said");
        assert!(target.fails(start + QUIET * 3));
    }
}
