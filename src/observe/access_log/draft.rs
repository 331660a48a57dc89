//! What a line says of its request, written down when the request begins: the request need not be kept for the line's sake, and what is
//! left to do when it has ended is little.

use crate::observe::access_log::Format;
use crate::observe::access_log::line::{Opening, Outcome};
use crate::observe::access_log::moment::Seconds;
use crate::observe::access_log::page::{Page, Space};

/// Room for what the requests of most clients say. One that says more gets more.
const ROOM: usize = 512;
/// The most that is kept for another line.
const KEPT: usize = 4 * ROOM;

/// The parts of a line that are known when its request begins. It can be used again for another line.
#[derive(Debug)]
pub struct Draft {
    page: Page,
    /// Where the second and the third part begin.
    middle: usize,
    end: usize,
}

impl Default for Draft {
    fn default() -> Self {
        Self { page: Page::of(ROOM), middle: 0, end: 0 }
    }
}

impl Draft {
    /// Whether it takes more memory than is worth keeping for another line.
    pub fn is_large(&self) -> bool {
        self.page.room() > KEPT
    }

    /// Begins the line of another request.
    pub(super) fn begin(&mut self, format: Format, opening: &Opening<'_>, seconds: &mut Seconds) {
        // Each field is cut to a bounded length, so this comes to an end.
        while !self.has_room_for(format, opening, seconds) {
            self.page = Page::of(self.page.room().saturating_mul(2));
        }
    }

    fn has_room_for(&mut self, format: Format, opening: &Opening<'_>, seconds: &mut Seconds) -> bool {
        let page = &mut self.page;
        page.clear();
        let wrote = page.wrote(|out| match format {
            Format::Json => opening.json_head(out, seconds),
            Format::Text => opening.text_head(out),
        });
        self.middle = page.lines().len();
        let wrote = wrote
            && match format {
                Format::Json => true,
                Format::Text => page.wrote(|out| opening.text_middle(out, seconds)),
            };
        self.end = page.lines().len();
        wrote
            && page.wrote(|out| match format {
                Format::Json => opening.json_end(out),
                Format::Text => opening.text_end(out),
            })
    }

    /// Writes the line.
    pub(super) fn write<'a>(&self, format: Format, outcome: &Outcome<'_>, out: Space<'a>) -> Space<'a> {
        let text = self.page.lines();
        let part = |from, to| text.get(from..to).unwrap_or_default();
        let (head, middle, end) =
            (part(0, self.middle), part(self.middle, self.end), part(self.end, text.len()));
        match format {
            Format::Json => outcome.json(out, head, end),
            Format::Text => outcome.text(out, head, middle, end),
        }
    }
}
