//! The pages that lines, and the words of drafts, are written on: made once and used again, so that writing seldom asks for memory.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use crate::observe::access_log::escape::{LONGEST, SHORT, copy, json_string, quoted};

/// How much goes on a page, in bytes: all of a batch, mostly, so that it is written at once. The longest line of all, six fields of
/// [`LONGEST`] bytes that are each escaped by six characters, has room.
const ROOM: usize = 256 * 1024;

/// Some lines, or a part of one.
#[derive(Debug)]
pub(super) struct Page {
    room: Vec<u8>,
    /// Where the next line goes.
    at: usize,
}

impl Page {
    /// An empty one for many lines.
    pub(super) fn new() -> Self {
        Self::of(ROOM)
    }

    /// An empty one of `room` bytes.
    pub(super) fn of(room: usize) -> Self {
        Self { room: vec![0; room], at: 0 }
    }

    /// How much goes on it.
    pub(super) fn room(&self) -> usize {
        self.room.len()
    }

    /// What has been written.
    pub(super) fn lines(&self) -> &[u8] {
        self.room.get(..self.at).unwrap_or_default()
    }

    /// Makes it an empty one.
    pub(super) fn clear(&mut self) {
        self.at = 0;
    }

    /// Whether there was room for all that `write` wrote. If not, nothing of it is kept.
    pub(super) fn wrote(&mut self, write: impl FnOnce(Space<'_>) -> Space<'_>) -> bool {
        let end = self.room.len();
        let Space(left) = write(Space(self.room.get_mut(self.at..).unwrap_or_default()));
        let fits = !left.is_empty();
        if fits {
            self.at = end - left.len();
        }
        fits
    }

    /// Adds what `write` writes, and makes the page larger until there is room; so that must be of a bounded length.
    #[inline]
    pub(super) fn add(&mut self, write: impl Fn(Space<'_>) -> Space<'_>) {
        while !self.wrote(&write) {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.room.resize(self.room.len().saturating_mul(2), 0);
    }
}

/// What is left of a page: nothing from a piece on that there was no room for, so that a page is never quite full. It is handed from
/// one piece to the next and not lent, which keeps it in registers all along a line.
#[must_use]
pub(super) struct Space<'a>(&'a mut [u8]);

impl Space<'_> {
    /// Adds a piece whose length is known when this is compiled.
    #[inline(always)]
    pub(super) fn put<const N: usize>(self, piece: &[u8; N]) -> Self {
        match self.0.split_first_chunk_mut() {
            Some((place, after)) => {
                *place = *piece;
                Self(after)
            }
            None => Self(&mut []),
        }
    }

    /// Adds a piece as it is.
    #[inline(always)]
    pub(super) fn piece(self, piece: &[u8]) -> Self {
        match self.0.split_at_mut_checked(piece.len()) {
            Some((place, after)) => {
                // Whether what is not ours is plain is asked when a line is made of it.
                if piece.len() > SHORT {
                    place.copy_from_slice(piece);
                } else {
                    let _ = copy(place, piece);
                }
                Self(after)
            }
            None => Self(&mut []),
        }
    }

    /// Adds a number.
    #[inline]
    pub(super) fn number(self, number: u64) -> Self {
        match digits(number) {
            Some(digits) => self.first(digits, usize::from(length(digits))),
            None => self.piece(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// Adds a number below a thousand as three digits.
    #[inline]
    pub(super) fn three(self, number: u64) -> Self {
        let digits = digits(number).unwrap_or_default();
        let missing = 3_u8.saturating_sub(length(digits));
        self.first(digits << (8 * missing) | u32::from_le_bytes(*b"000\0"), 3)
    }

    /// Adds the first of four bytes, at most as many.
    #[inline(always)]
    fn first(self, bytes: u32, count: usize) -> Self {
        match self.0.first_chunk_mut() {
            Some(place) => {
                *place = bytes.to_le_bytes();
                Self(self.0.get_mut(count..).unwrap_or_default())
            }
            None => Self(&mut []),
        }
    }

    /// Adds the inside of a JSON string, cut to a bounded length.
    pub(super) fn json(self, value: &[u8]) -> Self {
        self.plain(value).unwrap_or_else(|space| space.escaped_json(value))
    }

    /// Adds a field as it is, or nothing where that may not be.
    #[inline(always)]
    fn plain(self, value: &[u8]) -> Result<Self, Self> {
        let Self(left) = self;
        let copied = left.get_mut(..value.len()).is_some_and(|place| copy(place, value));
        if copied && value.len() <= LONGEST {
            Ok(Self(left.get_mut(value.len()..).unwrap_or_default()))
        } else {
            Err(Self(left))
        }
    }

    #[cold]
    fn escaped_json(self, value: &[u8]) -> Self {
        let mut string = Vec::new();
        json_string(&mut string, &text(value));
        let inside = string.get(1..string.len().saturating_sub(1));
        self.piece(inside.unwrap_or_default())
    }

    /// Adds what stands between the quotes of the combined form, cut to a bounded length.
    pub(super) fn quoted(self, value: &[u8]) -> Self {
        self.plain(value).unwrap_or_else(|space| space.escaped_quoted(value))
    }

    #[cold]
    fn escaped_quoted(self, value: &[u8]) -> Self {
        let mut inside = Vec::new();
        quoted(&mut inside, &text(value));
        self.piece(&inside)
    }

    /// Adds what `add` does, when there is a value.
    #[inline(always)]
    pub(super) fn with<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    /// Adds a span as `1.250`, without the detour by a floating point number.
    #[inline]
    pub(super) fn milliseconds(self, span: Duration) -> Self {
        let micros = (span.subsec_nanos() + 500) / 1000;
        let millis = span.as_secs().saturating_mul(1000).saturating_add(u64::from(micros / 1000));
        self.number(millis).put(b".").three(u64::from(micros % 1000))
    }

    /// Adds an IP address.
    #[inline]
    pub(super) fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets().map(u64::from);
                self.number(a).put(b".").number(b).put(b".").number(c).put(b".").number(d)
            }
            IpAddr::V6(address) => self.piece(address.to_string().as_bytes()),
        }
    }
}

/// The digits of a number below a thousand, as a piece of up to three bytes and in the fourth how many these are.
#[inline(always)]
fn digits(number: u64) -> Option<u32> {
    static DIGITS: [[u8; 4]; 1000] = {
        let mut all = [[0; 4]; 1000];
        let (mut rest, mut number): (&mut [[u8; 4]], u16) = (&mut all, 0);
        while let Some((place, after)) = rest.split_first_mut() {
            let [_, a] = (number / 100).to_be_bytes();
            let [_, b] = (number / 10 % 10).to_be_bytes();
            let [_, c] = (number % 10).to_be_bytes();
            *place = match (a, b) {
                (0, 0) => [b'0' + c, 0, 0, 1],
                (0, _) => [b'0' + b, b'0' + c, 0, 2],
                _ => [b'0' + a, b'0' + b, b'0' + c, 3],
            };
            (rest, number) = (after, number + 1);
        }
        all
    };
    DIGITS.get(usize::try_from(number).ok()?).map(|digits| u32::from_le_bytes(*digits))
}

fn length(digits: u32) -> u8 {
    let [.., length] = digits.to_le_bytes();
    length
}

/// What is no text becomes one with replacement characters.
fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}
