//! Text in lines: nothing that a client sends may end a line, forge one, or say something to a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The longest prefix of a field that a client controls: a line stays a line, whatever is sent.
pub(super) const LONGEST: usize = 1024;

/// The longest text that is copied without a call.
pub(super) const SHORT: usize = 32;

/// Copies `text` to a `place` of its length, and says whether it may stand like that in either form of a line. Many bytes at a time, as a
/// line has some hundred of them, and without a call for what is short, as most fields are: its first and its last bytes together
/// are all of it, and those in the middle are done twice.
#[inline(always)]
pub(super) fn copy(place: &mut [u8], text: &[u8]) -> bool {
    let length = text.len();
    if length > SHORT {
        place.copy_from_slice(text);
        is_plain(text)
    } else if length >= 16 {
        let (first, last) = copy_ends::<16>(place, text);
        are_plain(&first) & are_plain(&last)
    } else if length >= 8 {
        let (first, last) = copy_ends(place, text);
        is_plain_word(u64::from_ne_bytes(first)) & is_plain_word(u64::from_ne_bytes(last))
    } else if length >= 4 {
        let (first, last) = copy_ends(place, text);
        is_plain_word(u64::from(u32::from_ne_bytes(first)) | u64::from(u32::from_ne_bytes(last)) << 32)
    } else if length >= 2 {
        let ([a, b], [c, d]) = copy_ends(place, text);
        is_plain_word(u64::from_ne_bytes([a, b, c, d, b' ', b' ', b' ', b' ']))
    } else {
        let ([only], _) = copy_ends(place, text);
        length == 0 || is_plain_byte(only)
    }
}

/// Of 16 bytes or more.
#[inline(never)]
fn is_plain(text: &[u8]) -> bool {
    text.as_chunks().0.iter().all(are_plain) && text.last_chunk().is_some_and(are_plain)
}

/// Copies the first `N` bytes and the last, and says which these are: NULs where there are not as many.
#[inline(always)]
fn copy_ends<const N: usize>(place: &mut [u8], text: &[u8]) -> ([u8; N], [u8; N]) {
    let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) else { return ([0; N], [0; N]) };
    if let Some(place) = place.first_chunk_mut() {
        *place = *first;
    }
    if let Some(place) = place.last_chunk_mut() {
        *place = *last;
    }
    (*first, *last)
}

/// Without a way out in the middle, so that it is done for all of them at once.
#[inline(always)]
fn are_plain(bytes: &[u8; 16]) -> bool {
    bytes.iter().fold(0, |odd, byte| odd | u8::from(!is_plain_byte(*byte))) == 0
}

const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Of eight bytes. Subtracting borrows from the next byte only where a byte is found, and one is enough.
const fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const fn holds(word: u64, byte: u64) -> u64 {
        (word ^ (ONES * byte)).wrapping_sub(ONES)
    }
    let control = word.wrapping_sub(ONES * 0x20);
    (word | control | holds(word, 0x22) | holds(word, 0x5c) | holds(word, 0x7f)) & HIGH == 0
}

/// `,"name":"value"`, escaped as JSON and cut to a bounded length.
pub(in crate::observe) fn json_field(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [",\"", name, "\":"] {
        out.extend_from_slice(piece.as_bytes());
    }
    json_string(out, value);
}

/// `"value"`, escaped as JSON and cut to a bounded length.
pub(super) fn json_string(out: &mut Vec<u8>, value: &str) {
    let end = (0..=LONGEST.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    let cut = value.get(..end).unwrap_or_default();
    // Writing to a Vec cannot fail, so the result is let go.
    let _ = cut.serialize(&mut Serializer::with_formatter(&mut *out, Visible));
}

/// Whether a reader would not see it, or see other text than there is: control characters, the two line separators, and what Unicode
/// says to show nothing of (`Default_Ignorable_Code_Point`: marks of writing direction, what has no width, variation selectors, tags).
pub(in crate::observe) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
        || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// JSON lets many unseen characters stand as they are. A terminal obeys some of them, and some readers of lines end one there.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unseen(*c)) {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                let [[a, b], [c, d]] = unit.to_be_bytes().map(hex);
                out.write_all(&[b'\\', b'u', a, b, c, d])?;
            }
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Control bytes, quotes and backslashes as `\xHH`, so that no input can end or forge a line.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes().take(LONGEST) {
        match byte {
            _ if is_plain_byte(byte) => out.push(byte),
            _ => {
                let [a, b] = hex(byte);
                out.extend_from_slice(&[b'\\', b'x', a, b]);
            }
        }
    }
}

/// Two digits. A line may have thousands of them, and one thread writes the lines of all: the machinery of formatting takes too long.
const fn hex(byte: u8) -> [u8; 2] {
    const fn digit(value: u8) -> u8 {
        if value < 10 { b'0' + value } else { b'a' + value - 10 }
    }
    [digit(byte >> 4), digit(byte & 0xf)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(text: &[u8]) -> bool {
        let mut place = vec![0; text.len()];
        let is_plain = copy(&mut place, text);
        assert_eq!(place, text);
        is_plain
    }

    #[test]
    fn each_byte_has_its_two_digits() {
        for byte in 0..=255 {
            assert_eq!(hex(byte), *format!("{byte:02x}").as_bytes());
        }
    }

    #[test]
    fn a_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=255 {
            for length in 1..70 {
                for at in 0..length {
                    let mut text = vec![b'~'; length];
                    text[at] = byte;
                    assert_eq!(copied(&text), is_plain_byte(byte), "{text:?}");
                }
            }
        }
        assert!(copied(b""));
        for pair in (0..=u16::MAX).map(u16::to_ne_bytes) {
            for text in [&[pair, pair, pair, *b"  "].concat(), &[pair, pair].concat(), &pair[..]] {
                assert_eq!(copied(text), pair.into_iter().all(is_plain_byte), "{text:?}");
            }
        }
    }
}
