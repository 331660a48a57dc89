//! The writing thread's side: lines become text, page by page, and go to the target.

use crate::observe::access_log::Format;
use crate::observe::access_log::batch::Batch;
use crate::observe::access_log::line::Line;
use crate::observe::access_log::moment::Seconds;
use crate::observe::access_log::page::Page;
use crate::observe::log_target::LogTarget;

/// Writes the access log.
pub(super) struct Scribe {
    format: Format,
    page: Page,
    /// Lines on it.
    lines: u64,
    seconds: Seconds,
    target: LogTarget,
}

impl Scribe {
    pub(super) fn new(format: Format, target: LogTarget) -> Self {
        Self { format, page: Page::new(), lines: 0, seconds: Seconds::default(), target }
    }

    /// Writes the lines of `batch`.
    pub(super) fn write(&mut self, batch: &Batch) {
        for line in batch.lines() {
            if !self.put(&line) {
                self.write_out();
                // No line is longer than a page; if one were, it would be counted.
                if !self.put(&line) {
                    self.target.lose();
                }
            }
        }
        self.write_out();
    }

    fn put(&mut self, line: &Line<'_>) -> bool {
        let Self { format, page, seconds, .. } = self;
        let put = page.wrote(|out| line.formed(*format, seconds, out));
        self.lines += u64::from(put);
        put
    }

    /// What cannot be written is counted there.
    fn write_out(&mut self) {
        self.target.write(self.page.lines(), std::mem::take(&mut self.lines));
        self.page.clear();
    }
}
