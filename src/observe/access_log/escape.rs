//! Text in lines: nothing that a client sends may end a line, forge one, or say something to a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The longest prefix of a field that a client controls: a line stays a line, whatever is sent.
pub(super) const LONGEST: usize = 1024;

/// Whether `text` can be written as it is into either form of a line. Eight bytes at a time: a line has some hundred of them.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    words.iter().all(|word| is_plain_word(u64::from_ne_bytes(*word)))
        && rest.iter().copied().all(is_plain_byte)
}

const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// The same of eight bytes. Subtracting borrows from the next byte only where a byte is found, and one is enough.
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

/// JSON lets DEL, the second block of control characters and two line separators stand as they are. A terminal obeys some of
/// them, and some readers of lines end one there.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let unseen = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| unseen(*c)) {
            let (before, after) = rest.split_at(at);
            write!(out, "{before}\\u{:04x}", u32::from(c))?;
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
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=255 {
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'~'; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), is_plain_byte(byte), "{text:?}");
                }
            }
        }
        assert!(is_plain(b""));
        for pair in (0..=u16::MAX).map(u16::to_ne_bytes) {
            let text = [pair, pair, pair, *b"  "].concat();
            assert_eq!(is_plain(&text), pair.into_iter().all(is_plain_byte), "{text:?}");
        }
    }
}
