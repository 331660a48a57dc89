//! The page that a worker writes its lines on: of one size and made once, so that writing neither grows it nor asks for memory.

use std::borrow::Cow;
use std::fmt;

use crate::observe::access_log::escape::{LONGEST, is_plain, json_string, quoted};

/// How much goes on a page, in bytes. The writing thread is woken once for so much, and the longest line of all, eight fields of
/// [`LONGEST`] bytes that are each escaped by six characters, has room.
const ROOM: usize = 64 * 1024;

/// Some lines.
#[derive(Debug)]
pub(in crate::observe) struct Page {
    room: Vec<u8>,
    /// Where the next piece goes. Beyond the room when a piece had no place.
    at: usize,
}

impl Page {
    /// An empty one.
    pub(in crate::observe) fn new() -> Self {
        Self { room: vec![0; ROOM], at: 0 }
    }

    /// What has been written.
    pub(in crate::observe) fn lines(&self) -> &[u8] {
        self.room.get(..self.at).unwrap_or_default()
    }

    /// Makes it an empty one.
    pub(super) fn clear(&mut self) {
        self.at = 0;
    }

    /// Whether there was room for all that `write` wrote. If not, nothing of it is kept.
    pub(super) fn wrote(&mut self, write: impl FnOnce(&mut Self)) -> bool {
        let before = self.at;
        write(self);
        let fits = self.at <= self.room.len();
        if !fits {
            self.at = before;
        }
        fits
    }

    /// Adds a piece whose length is known when this is compiled.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, piece: &[u8; N]) {
        if let Some(place) = self.room.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            *place = *piece;
        }
        self.at = self.at.saturating_add(N);
    }

    /// Adds a piece as it is.
    #[inline]
    pub(super) fn piece(&mut self, piece: &[u8]) {
        let end = self.at.saturating_add(piece.len());
        if let Some(place) = self.room.get_mut(self.at..end) {
            place.copy_from_slice(piece);
        }
        self.at = end;
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        match number {
            100..1000 => self.three(number),
            _ => self.piece(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// Adds a number below a thousand as three digits.
    pub(super) fn three(&mut self, number: u64) {
        let digit = |unit| b'0' + u8::try_from(number / unit % 10).unwrap_or_default();
        self.put(&[digit(100), digit(10), digit(1)]);
    }

    /// Adds the inside of a JSON string, cut to a bounded length.
    pub(super) fn json(&mut self, value: &[u8]) {
        if value.len() <= LONGEST && is_plain(value) {
            return self.piece(value);
        }
        let mut string = Vec::new();
        json_string(&mut string, &text(value));
        let inside = string.get(1..string.len().saturating_sub(1));
        self.piece(inside.unwrap_or_default());
    }

    /// Adds what stands between the quotes of the combined form, cut to a bounded length.
    pub(super) fn quoted(&mut self, value: &[u8]) {
        if value.len() <= LONGEST && is_plain(value) {
            return self.piece(value);
        }
        let mut inside = Vec::new();
        quoted(&mut inside, &text(value));
        self.piece(&inside);
    }
}

/// What is no text becomes one with replacement characters.
fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

impl fmt::Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.piece(text.as_bytes());
        Ok(())
    }
}
