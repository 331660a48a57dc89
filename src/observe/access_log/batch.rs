//! What a worker hands to the writing thread at once: what lines say, not yet as text. Written out one after the other they cost half
//! of what each would cost in the middle of its request, where nothing of the code for it is near the processor.

use crate::observe::access_log::draft::{Draft, Entry};
use crate::observe::access_log::line::Line;

/// How many entries go into one: about 128 KiB of text, of which half and twice as much were no better. The writing thread is woken
/// once for so many.
pub(super) const ENTRIES: usize = 400;
/// Room for their words, in bytes: more than those of most requests take. The longest of all, seven words of a little more than
/// [`LONGEST`](super::escape::LONGEST), have room.
const WORDS: usize = 80 * 1024;

/// Some lines.
#[derive(Debug)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    words: Vec<u8>,
}

impl Batch {
    /// An empty one, with its room.
    pub(super) fn new() -> Self {
        Self::of(ENTRIES, WORDS)
    }

    /// An empty one with room made for so much.
    pub(super) fn of(entries: usize, words: usize) -> Self {
        Self { entries: Vec::with_capacity(entries), words: Vec::with_capacity(words) }
    }

    /// Whether there was room for the line of `draft`.
    pub(super) fn took(&mut self, draft: &Draft) -> bool {
        let words = draft.words.lines();
        let has_room = self.entries.len() < ENTRIES && words.len() <= WORDS - self.words.len();
        if has_room {
            self.words.extend_from_slice(words);
            self.entries.push(draft.entry());
        }
        has_room
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> u64 {
        // No more than there is room for.
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes it an empty one.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.words.clear();
    }

    /// The lines, in their order.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut words = self.words.as_slice();
        self.entries.iter().map(move |entry| entry.line(&mut words))
    }
}
