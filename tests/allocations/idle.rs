//! What the gateway keeps for each connection of HTTP/1 whose client is silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use dhat::{HeapStats, Profiler};

use crate::count::{asked_for_sites, print_kept};
use crate::support::PATIENCE;
use crate::upstream::LENGTH;

const CONNECTIONS: usize = 200;

/// Bytes for each of many connections that `connect` opens. Each asks once; then only its socket is left of the client's side.
pub fn kept(mut connect: impl FnMut() -> TcpStream, at_most: usize) -> usize {
    // What the first ones need once.
    let _first: Vec<_> = (0..20).map(|_| connect()).collect();
    let mut streams = Vec::with_capacity(CONNECTIONS);
    if asked_for_sites() {
        print_kept(|| {
            streams.extend((0..CONNECTIONS).map(|_| connect()));
            settled(0);
        });
        streams.clear();
    }
    let _counting = Profiler::builder().testing().build();
    streams.extend((0..CONNECTIONS).map(|_| connect()));
    settled(at_most)
}

/// Bytes for each connection once these are few enough, or after all patience.
fn settled(at_most: usize) -> usize {
    let began = Instant::now();
    loop {
        let each = HeapStats::get().curr_bytes / CONNECTIONS;
        // They rest after a second or two; until then each keeps much more.
        if each <= at_most || began.elapsed() > PATIENCE {
            return each;
        }
        std::thread::yield_now();
    }
}

/// Asks for a picture and reads the answer.
pub fn ask(stream: &mut (impl Read + Write), path: &str, fields: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: wiki.test\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with("x".repeat(LENGTH).as_bytes()) {
        let count = stream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "the gateway has closed");
        answer.extend_from_slice(&piece[..count]);
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}
