//! A client of HTTP/1.1 on one kept connection. It asks for no memory once it is connected.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::FIELDS;
use crate::support::PATIENCE;
use crate::upstream::LENGTH;

const BUFFER: usize = 16 * 1024;

pub struct Client {
    stream: TcpStream,
    request: String,
    buffer: Box<[u8; BUFFER]>,
}

impl Client {
    /// Will ask for `path`.
    pub fn connect(address: SocketAddr, path: &str, cookie: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: wiki.test\r\nConnection: keep-alive\r\n");
        for (name, value) in FIELDS.iter().copied().chain(cookie.map(|cookie| ("cookie", cookie))) {
            request += &format!("{name}: {value}\r\n");
        }
        Self { stream, request: request + "\r\n", buffer: Box::new([0; BUFFER]) }
    }

    /// Asks, and reads the whole answer.
    pub fn ask(&mut self) {
        self.stream.write_all(self.request.as_bytes()).unwrap();
        let mut held = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[held..]).unwrap();
            assert_ne!(read, 0, "the gateway has closed");
            held += read;
            let answer = &self.buffer[..held];
            let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
            if head.is_some_and(|head| held - head == 4 + LENGTH) {
                assert!(answer.starts_with(b"HTTP/1.1 200 "));
                return;
            }
        }
    }
}
