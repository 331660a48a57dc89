//! An upstream that answers every request on a kept connection with 1 KiB, and asks for no memory while it does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

pub const LENGTH: usize = 1024;
const BUFFER: usize = 16 * 1024;

pub struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Until the gateway closes.
fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {LENGTH}\r\n\
         Last-Modified: Tue, 14 Jan 2025 10:00:00 GMT\r\nETag: \"6786369c-400\"\r\nCache-Control: no-cache\r\n\r\n{}",
        "x".repeat(LENGTH)
    );
    let mut buffer = [0; BUFFER];
    let mut held = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer[held..]) {
        held += read;
        // The gateway sends the next request after the answer to this one.
        if buffer[..held].ends_with(b"\r\n\r\n") {
            held = 0;
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }
}
