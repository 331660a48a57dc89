//! Reads request heads off the wire beside hyper, for what hyper 1.12 does not show: a fragment in the target, repeated or
//! odd Content-Length lines, and Content-Length beside Transfer-Encoding.
//!
//! ```text
//!        ┌──────────────── Content-Length: skip exactly that many ───────────────┐
//!        ▼                                                                       │
//!      Head ── blank line: facts pushed ──▶ body? ── Transfer-Encoding ──▶ Chunked
//!        ▲                                                                       │
//!        └── body_ended(), when the last bytes read were a blank line ───────────┤
//!                                                                  otherwise ──▶ Blind
//! ```
//!
//! Where a chunked body ends is hyper's knowledge. A head that arrives before hyper has told us goes by unseen; the request then
//! has no facts and must be refused. The same holds for everything after such a head (`Blind`).
//! Lines end with LF, a CR before it is no part of them, and empty lines before a head are skipped, as hyper does.

use std::cell::RefCell;
use std::collections::VecDeque;

use memchr::{memchr, memchr_iter};

/// What one request head said on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadFacts {
    /// A `#` stood in the request target; hyper cuts the fragment off silently.
    pub fragment: bool,
    /// How many Content-Length field lines there were; hyper folds equal ones into one and drops all beside Transfer-Encoding.
    pub content_lengths: u8,
    /// Every Content-Length was a plain decimal without leading zeros, below 2^63 (true when there was none).
    pub canonical_length: bool,
    /// How many Transfer-Encoding field lines there were.
    pub transfer_encodings: u8,
}

/// Follows one client connection (see module doc). Interior mutability: the reading side and the service share it by `Rc`.
#[derive(Debug, Default)]
pub struct HeadWatch {
    state: RefCell<State>,
}

impl HeadWatch {
    /// Takes note of bytes just read from the client.
    pub fn read(&self, bytes: &[u8]) {
        self.state.borrow_mut().read(bytes);
    }

    /// The facts of the oldest head read and not yet taken; `None` when the request's head was not seen, which must be refused.
    pub fn take(&self) -> Option<HeadFacts> {
        let mut state = self.state.borrow_mut();
        state.first.take().or_else(|| state.further.pop_front())
    }

    /// The body of the newest request has been read to its end.
    pub fn body_ended(&self) {
        self.state.borrow_mut().body_ended();
    }

    /// Whether the newest request's body is still on its way, as far as the wire shows.
    pub fn in_body(&self) -> bool {
        matches!(self.state.borrow().place, Place::Skip(_) | Place::Chunked)
    }

    /// Whether all that was read are whole requests whose facts were taken, and no byte of another but empty lines.
    pub fn is_between_requests(&self) -> bool {
        let state = self.state.borrow();
        let none_waits = state.first.is_none() && state.further.is_empty();
        state.place == Place::Head && !state.head.begun && state.line.is_empty() && none_waits
    }
}

/// The part of a line that is kept when a read ends within it. A longer Content-Length line is not canonical; nothing else
/// needs more.
const LINE_LIMIT: usize = 64;

#[derive(Debug, Default)]
struct State {
    place: Place,
    head: Head,
    /// Facts not yet taken: nearly always one, so that no list is allocated without pipelining.
    first: Option<HeadFacts>,
    further: VecDeque<HeadFacts>,
    /// The unfinished line's beginning.
    line: Vec<u8>,
    /// The unfinished line is longer than what `line` holds.
    overlong: bool,
    /// The last three bytes read, the newest last.
    tail: [u8; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// Within a body of which this many bytes are to come.
    Skip(u64),
    Chunked,
    Blind,
}

/// The head being read.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// The request line has been read.
    begun: bool,
    facts: HeadFacts,
    length: u64,
}

impl State {
    fn read(&mut self, mut bytes: &[u8]) {
        if self.place == Place::Chunked {
            self.note_tail(bytes);
            return;
        }
        while !bytes.is_empty() {
            match self.place {
                Place::Head => bytes = self.read_head(bytes),
                Place::Skip(left) => {
                    let here = usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()));
                    bytes = bytes.get(here..).unwrap_or_default();
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::Head } else { Place::Skip(left) };
                }
                Place::Chunked => {
                    self.note_tail(bytes);
                    return;
                }
                Place::Blind => return,
            }
        }
    }

    /// Reads lines of a head; answers with what follows the head.
    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..end).unwrap_or_default();
            start = end + 1;
            let ended = if self.line.is_empty() && !self.overlong {
                self.head.line(line, false)
            } else {
                self.keep(line);
                let ended = self.head.line(&self.line, self.overlong);
                self.line.clear();
                self.overlong = false;
                ended
            };
            if ended {
                self.head_ended();
                return bytes.get(start..).unwrap_or_default();
            }
        }
        self.keep(bytes.get(start..).unwrap_or_default());
        &[]
    }

    /// Keeps the beginning of an unfinished line.
    fn keep(&mut self, part: &[u8]) {
        if !self.head.begun && memchr(b'#', part).is_some() {
            self.head.facts.fragment = true;
        }
        // One byte more for a CR that may follow.
        let room = (LINE_LIMIT + 1).saturating_sub(self.line.len());
        match part.get(..room) {
            Some(kept) if part.len() > room => {
                self.line.extend_from_slice(kept);
                self.overlong = true;
            }
            _ => self.line.extend_from_slice(part),
        }
    }

    fn head_ended(&mut self) {
        let Head { facts, length, .. } = std::mem::take(&mut self.head);
        if self.first.is_none() && self.further.is_empty() {
            self.first = Some(facts);
        } else {
            self.further.push_back(facts);
        }
        self.place = if facts.transfer_encodings > 0 {
            // The head's own blank line must not pass for the body's.
            self.tail = [0; 3];
            Place::Chunked
        } else if length > 0 {
            Place::Skip(length)
        } else {
            Place::Head
        };
    }

    fn note_tail(&mut self, bytes: &[u8]) {
        let newest = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
        self.tail.rotate_left(newest.len());
        for (slot, byte) in self.tail.iter_mut().rev().zip(newest.iter().rev()) {
            *slot = *byte;
        }
    }

    fn body_ended(&mut self) {
        if self.place == Place::Chunked {
            // After a blank line nothing of the next head, or only whole heads, can have gone by: those have no facts.
            let blank = self.tail == *b"\n\r\n" || self.tail.ends_with(b"\n\n");
            self.place = if blank { Place::Head } else { Place::Blind };
        }
    }
}

impl Head {
    /// Reads one line, without its LF; `overlong` when it is only the beginning of one. True when it ends the head.
    fn line(&mut self, line: &[u8], overlong: bool) -> bool {
        let line = if overlong { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        if !self.begun {
            if !line.is_empty() {
                self.begun = true;
                self.facts.fragment |= memchr(b'#', line).is_some();
                self.facts.canonical_length = true;
            }
            return false;
        }
        match line.first() {
            None => return true,
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(line, b"content-length") {
                    self.content_length(value.trim_ascii(), overlong || line.len() > LINE_LIMIT);
                }
            }
            Some(b't' | b'T') => {
                if value_of(line, b"transfer-encoding").is_some() {
                    self.facts.transfer_encodings = self.facts.transfer_encodings.saturating_add(1);
                }
            }
            Some(_) => {}
        }
        false
    }

    fn content_length(&mut self, value: &[u8], overlong: bool) {
        self.facts.content_lengths = self.facts.content_lengths.saturating_add(1);
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let plain = digits && (value.len() == 1 || value.first() != Some(&b'0'));
        let number = value
            .iter()
            .try_fold(0_u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d.wrapping_sub(b'0'))));
        match number {
            Some(number) if plain && !overlong && number <= MOST_LENGTH => self.length = number,
            _ => self.facts.canonical_length = false,
        }
    }
}

/// A larger length is a negative one to a reader of signed numbers.
pub(super) const MOST_LENGTH: u64 = i64::MAX as u64;

/// The value of `line` if its field name is `name`, whatever the case.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    rest.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
