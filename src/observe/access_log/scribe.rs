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
    seconds: Seconds,
    target: LogTarget,
}

impl Scribe {
    pub(super) fn new(format: Format, target: LogTarget) -> Self {
        Self { format, page: Page::new(), seconds: Seconds::default(), target }
    }

    /// Writes the lines of `batch`. False when some of them may be lost.
    pub(super) fn write(&mut self, batch: &Batch) -> bool {
        let mut all = true;
        for line in batch.lines() {
            if !self.put(&line) {
                all &= self.write_out();
                // No line is longer than a page.
                all &= self.put(&line);
            }
        }
        all & self.write_out()
    }

    fn put(&mut self, line: &Line<'_>) -> bool {
        let Self { format, page, seconds, .. } = self;
        page.wrote(|out| line.formed(*format, seconds, out))
    }

    fn write_out(&mut self) -> bool {
        let written = self.target.write(self.page.lines());
        self.page.clear();
        written
    }
}
