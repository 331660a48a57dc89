//! HTTP/2 by hand: frames that a client library would refuse to send (RFC 9113), and enough reading to know what became of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::wire::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS with a header table of no size: the other side then compresses by the static table alone.
const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A field as it goes into a header block, whatever it is.
pub type RawField = (Vec<u8>, Vec<u8>);

/// A field of text.
pub fn field(name: &str, value: &str) -> RawField {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The status of the final answer, if there was one.
    pub status: Option<u16>,
    pub body: Vec<u8>,
    /// The answer ended.
    pub ended: bool,
    /// It was reset.
    pub reset: bool,
}

/// A connection, written to frame by frame.
pub struct Frames {
    stream: Box<dyn Stream>,
    outgoing: Vec<u8>,
}

impl Frames {
    /// Over a connection that speaks HTTP/2.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), outgoing: [PREFACE, SETTINGS].concat() }
    }

    /// Any frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.outgoing.extend_from_slice(&length[1..]);
        self.outgoing.extend_from_slice(&[kind, flags]);
        self.outgoing.extend_from_slice(&stream.to_be_bytes());
        self.outgoing.extend_from_slice(payload);
        self
    }

    /// HEADERS with these fields, which need not be ones; `end` says that no body follows.
    pub fn headers(&mut self, stream: u32, fields: &[RawField], end: bool) -> &mut Self {
        self.headers_in(stream, fields, end, usize::MAX)
    }

    /// The same in pieces of at most `piece` bytes.
    pub fn headers_in(&mut self, stream: u32, fields: &[RawField], end: bool, piece: usize) -> &mut Self {
        let block = block(fields);
        let mut pieces: Vec<&[u8]> = block.chunks(piece.min(16_384)).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let last = pieces.len() - 1;
        for (place, piece) in pieces.into_iter().enumerate() {
            let whole = if place == last { END_HEADERS } else { 0 };
            match place {
                0 => self.frame(HEADERS, whole | u8::from(end), stream, piece),
                _ => self.frame(CONTINUATION, whole, stream, piece),
            };
        }
        self
    }

    pub fn data(&mut self, stream: u32, data: &[u8], end: bool) -> &mut Self {
        self.frame(DATA, u8::from(end), stream, data)
    }

    /// Sends what was put together; a server that has closed already is no surprise.
    pub fn send(&mut self) -> &mut Self {
        let _ = self.stream.write_all(&std::mem::take(&mut self.outgoing));
        let _ = self.stream.flush();
        self
    }

    /// Sends, and reads until these streams have ended, the connection has, or the stream's own time limit is over.
    pub fn fates(&mut self, streams: &[u32]) -> BTreeMap<u32, Fate> {
        self.send();
        let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
        while !streams.iter().all(|id| fates.get(id).is_some_and(|fate| fate.ended || fate.reset)) {
            let Some((kind, flags, stream, payload)) = self.read() else { break };
            match kind {
                HEADERS => {
                    let fate = fates.entry(stream).or_default();
                    if let Some(status) = status(&payload).filter(|status| *status >= 200) {
                        fate.status.get_or_insert(status);
                    }
                    fate.ended |= flags & END_STREAM != 0;
                }
                DATA => {
                    let fate = fates.entry(stream).or_default();
                    fate.body.extend_from_slice(&payload);
                    fate.ended |= flags & END_STREAM != 0;
                }
                RST_STREAM => fates.entry(stream).or_default().reset = true,
                PING if flags & ACK == 0 => drop(self.frame(PING, ACK, 0, &payload).send()),
                GOAWAY if payload.get(4..8).is_some_and(|code| code != [0; 4]) => break,
                _ => {}
            }
        }
        fates
    }

    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]).try_into().unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some((kind, flags, u32::from_be_bytes(id), payload))
    }
}

/// A header block of literals without indexing and without Huffman codes (RFC 7541 section 6.2.2).
fn block(fields: &[RawField]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer of a 7-bit prefix (RFC 7541 section 5.1).
fn length(block: &mut Vec<u8>, mut number: usize) {
    if number < 127 {
        block.push(u8::try_from(number).unwrap());
        return;
    }
    block.push(127);
    number -= 127;
    while number >= 128 {
        block.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    block.push(u8::try_from(number).unwrap());
}

/// The status in a block whose first field it is; `None` for trailers.
fn status(block: &[u8]) -> Option<u16> {
    // Behind changes of the table's size.
    let block = &block[block.iter().position(|byte| byte >> 5 != 1)?..];
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500].get(usize::from(indexed - 0x88)).copied()
        }
        // A literal whose name is that of `:status`, with its three digits plain or in Huffman codes.
        [0x48 | 0x08 | 0x18, 3, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [0x48 | 0x08 | 0x18, coded @ 0x81..=0x83, digits @ ..] => {
            coded_number(digits.get(..usize::from(coded - 0x80))?)
        }
        _ => None,
    }
}

/// A number in Huffman codes: 0 to 2 have five bits, 3 to 9 six (RFC 7541 appendix B).
fn coded_number(coded: &[u8]) -> Option<u16> {
    let bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut rest, mut number) = (&*bits, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(rest.get(..5)?, 2).ok()?;
        let (digit, length) = if five < 3 {
            (five, 5)
        } else {
            (u16::from_str_radix(rest.get(..6)?, 2).ok()? - 0b011_001 + 3, 6)
        };
        (rest, number) = (&rest[length..], number * 10 + digit);
    }
    Some(number)
}
