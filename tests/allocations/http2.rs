//! A client of HTTP/2 without TLS, one stream after the other on one connection. It asks for no memory once it is connected.
//!
//! As browsers do, it sends each field in full once and by its number in the table from then on (RFC 7541). Of an answer it
//! reads the frames, and of these the length of the data: the header of another client would say the same.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::FIELDS;
use crate::support::PATIENCE;
use crate::upstream::LENGTH;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// The most that a frame may hold by default.
const BUFFER: usize = 16 * 1024;
/// The first place behind the table that is given (RFC 7541, appendix A).
const OWN_FIELDS: u8 = 62;

pub struct Client {
    stream: TcpStream,
    /// A HEADERS frame.
    request: Vec<u8>,
    next: u32,
    buffer: Box<[u8; BUFFER]>,
}

impl Client {
    /// Will ask for `path`; has asked once.
    pub fn connect(address: SocketAddr, path: &str, cookie: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        // As much as there may be, so that none needs to follow.
        stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).unwrap();

        let own = [(":authority", "wiki.test"), (":path", path)];
        let fields: Vec<_> = own.iter().chain(FIELDS).copied().chain(cookie.map(|c| ("cookie", c))).collect();
        // :method GET and :scheme http stand in the table.
        let (mut first, mut later) = (vec![0x82, 0x86], vec![0x82, 0x86]);
        for ((name, value), place) in
            fields.iter().rev().zip(OWN_FIELDS..).collect::<Vec<_>>().into_iter().rev()
        {
            first.push(0x40);
            text(&mut first, name);
            text(&mut first, value);
            later.push(0x80 | place);
        }
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 0, &first);
        let mut client = Self { stream, request, next: 1, buffer: Box::new([0; BUFFER]) };
        client.ask();
        client.request = frame(HEADERS, END_STREAM | END_HEADERS, 0, &later);
        client
    }

    /// Asks, and reads the whole answer.
    pub fn ask(&mut self) {
        let stream = self.next;
        self.next += 2;
        self.request[5..9].copy_from_slice(&stream.to_be_bytes());
        self.stream.write_all(&self.request).unwrap();
        let mut data = 0;
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let [a, b, c, kind, flags, id @ ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            self.stream.read_exact(&mut self.buffer[..length]).unwrap();
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    self.stream.write_all(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]).unwrap();
                }
                SETTINGS | WINDOW_UPDATE => {}
                // Status 200 stands in the table.
                HEADERS => assert_eq!(self.buffer[0], 0x88),
                DATA => data += length,
                other => panic!("a frame of kind {other}"),
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                assert_eq!((u32::from_be_bytes(id), data), (stream, LENGTH));
                return;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A text as it is, with its length before it.
fn text(block: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()).unwrap() {
        short @ ..127 => block.push(short),
        // The rest of a long one is less than 128 more.
        long => block.extend([127, long - 127]),
    }
    block.extend(text.as_bytes());
}
