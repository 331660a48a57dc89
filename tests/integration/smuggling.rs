//! Request smuggling (X18): a public route in front of a protected one. However a message is mangled, the upstream receives at
//! most the outer request, framed in one way, and never the inner one, for which nobody was let in.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

/// `/outer` is open, everything else needs a session.
fn half_open(upstream: &TestUpstream) -> TestGateway {
    let url = upstream.url();
    Setup::routes(format!(
        "[[routes]]\npath = \"/outer\"\nupstream = [\"{url}\"]\naccess = \"public\"\n[[routes]]\nupstream = [\"{url}\"]\n"
    ))
    .start()
}

/// How long a gateway that waits for the rest of a message is listened to.
const LISTEN: Duration = Duration::from_millis(300);

/// Sends every message on a connection of its own, a few at a time, and asserts what the upstream saw of it.
fn never_smuggled(messages: Vec<Vec<u8>>) {
    let upstream = TestUpstream::start();
    let gateway = half_open(&upstream);
    let address = gateway.address();
    let queue = Mutex::new(messages.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(message) = next else { break };
                    exchange(address, &message);
                }
            });
        }
    });
    // Shows that the upstream listens, and bounds what was sent before.
    let mut wire = gateway.wire();
    wire.send(format!("GET /outer/last HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(wire.receive().unwrap().status, 200);
    loop {
        let request = upstream.next();
        if request.target() == "/outer/last" {
            break;
        }
        assert!(request.target().starts_with("/outer"), "{request:?}");
        assert!(!request.line.contains("smuggled"), "{request:?}");
        let encodings = request.all("transfer-encoding");
        assert!(encodings.is_empty() || encodings == ["chunked"], "{request:?}");
        assert!(encodings.is_empty() || request.all("content-length").is_empty(), "{request:?}");
        let folded =
            |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        for (name, _) in &request.headers {
            let plain =
                name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("content-length");
            assert!(
                plain || !["transfer-encoding", "content-length"].contains(&&*folded(name)),
                "{request:?}"
            );
        }
    }
    upstream.saw_nothing();
}

fn exchange(address: SocketAddr, message: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LISTEN)).unwrap();
    stream.set_nodelay(true).unwrap();
    let _ = stream.write_all(message);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Both);
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("HTTP/1.1 5"), "{:?} -> {text}", String::from_utf8_lossy(message));
}

const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A message in which one party may see the inner request behind a chunked body and another within a counted one, and the
/// same the other way round; `framing` stands between the ordinary fields.
fn both_ways(framing: &[u8]) -> [Vec<u8>; 2] {
    let message = |length: usize, body: String| {
        let head = format!("POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n");
        [head.as_bytes(), framing, b"\r\nAccept: */*\r\n\r\n", body.as_bytes()].concat()
    };
    let counted = format!("0\r\n\r\n{INNER}");
    let chunked = format!("{:x}\r\n{INNER}\r\n0\r\n\r\n", INNER.len());
    [message(counted.len(), counted), message(4, chunked)]
}

#[test]
fn no_spelling_of_transfer_encoding_hides_a_request() {
    let odd = (0_u8..=0x20).chain([0x22, 0x27, 0x2c, 0x2e, 0x3a, 0x3b, 0x5f, 0x7f, 0x80, 0x85, 0xa0, 0xff]);
    let mut framings: Vec<Vec<u8>> = Vec::new();
    for byte in odd {
        let [byte, name, value]: [&[u8]; 3] = [&[byte], b"Transfer-Encoding", b"chunked"];
        framings.push([name, byte, b": ", value].concat());
        framings.push([byte, name, b": ", value].concat());
        framings.push([name, b":", byte, value].concat());
        framings.push([name, b": ", value, byte].concat());
        framings.push([b"X: x".as_slice(), byte, name, b": ", value].concat());
        framings.push([b"X: x\r\n".as_slice(), byte, name, b": ", value].concat());
        framings.push([b"Transfer".as_slice(), byte, b"Encoding: ", value].concat());
    }
    for text in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: cow",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chu\r\n\tnked",
        "Foo: bar\n Transfer-Encoding: chunked",
        "tRANSFER-eNCODING: CHUNKED",
        "Connection: Content-Length\r\nTransfer-Encoding: chunked",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
        "TE: chunked",
        "Content-Encoding: chunked",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings",
        "Expect: 100-continue\r\nTransfer-Encoding: chunked",
        "Expect: 100-continue",
    ] {
        framings.push(text.into());
    }
    never_smuggled(framings.iter().flat_map(|framing| both_ways(framing)).collect());
}

#[test]
fn no_spelling_of_a_length_hides_a_request() {
    let lengths = [
        "Content-Length: 0\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 0",
        "Content-Length: 4, 0",
        "Content-Length: 0, 0",
        "Content-Length: 04",
        "Content-Length: +4",
        "Content-Length: -0",
        "Content-Length: 0x4",
        "Content-Length: 4.0",
        "Content-Length: 4e0",
        "Content-Length: 4 4",
        "Content-Length:\t4",
        "Content-Length: 4\x0b",
        "Content-Length: \"4\"",
        "Content-Length: ",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
        "Content-Length : 4",
        " Content-Length: 4",
        "Content-Length\t: 4",
        "Content-Length\n: 4",
        "Content_Length: 4",
        "Content.Length: 4",
        "Content-Length:\r\n 4",
        "X: y\n Content-Length: 4",
        "X: y\rContent-Length: 4",
        "X: y\r\rContent-Length: 4",
        "X: y\nContent-Length: 4",
        "Connection: content-length\r\nContent-Length: 4",
    ];
    let outer = |line: &str, length: &str| {
        format!("{line} /outer HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n{INNER}").into_bytes()
    };
    let mut messages: Vec<_> =
        lengths.iter().flat_map(|length| [outer("POST", length), outer("GET", length)]).collect();
    // Versions, line ends and preambles that shift where a message begins.
    for text in [
        "GET /outer HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /outer HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        "GET /outer HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET /outer\r\n\r\n",
        "GET /outer HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /outer HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET /outer http/1.1\r\nHost: a\r\n\r\n",
        "GET  /outer HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /outer HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /outer HTTP/1.1\nHost: a\n\n",
        "GET /outer HTTP/1.1\r\nHost: a\r\n\n",
        "GET /outer HTTP/1.1\rHost: a\r\r",
        "\r\n\r\nGET /outer HTTP/1.1\r\nHost: a\r\n\r\n",
        "\0GET /outer HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /outer HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /outer HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /outer HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        "GET /outer HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET /outer HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        messages.push(format!("{text}{INNER}").into_bytes());
    }
    never_smuggled(messages);
}

#[test]
fn no_chunk_grammar_hides_a_request() {
    let mut messages = Vec::new();
    for chunks in [
        "0\r\n\r\n",
        "00\r\n\r\n",
        "0000000000000000000000000\r\n\r\n",
        "0 \r\n\r\n",
        "0\t\r\n\r\n",
        " 0\r\n\r\n",
        "0;a=b\r\n\r\n",
        "0;a=\"\r\n\r\n\"\r\n\r\n",
        "0;\n\r\n\r\n",
        "0;a\rb\r\n\r\n",
        "0\n\n",
        "0\n\r\n",
        "0\r\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        "-0\r\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "0_0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\naXX0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1;\n2\r\na\r\n0\r\n\r\n",
        "10000000000000000\r\na\r\n0\r\n\r\n",
        "ffffffffffffffff\r\na\r\n0\r\n\r\n",
        "1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\na\r\n0\r\nContent-Length: 50\r\n\r\n",
        "1\r\na\r\n0\r\nRemote-User: ada\r\n\r\n",
        "1\r\na\r\n0\r\nX: y\n\n",
        "1\r\na\r\n0\r\n X: y\r\n\r\n",
        "1\r\na\r\n0\r\nX\r\n\r\n",
        "g\r\n\r\n",
        "\r\n\r\n",
        "",
    ] {
        let head = "POST /outer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        messages.push(format!("{head}{chunks}{INNER}").into_bytes());
        messages.push(format!("{head}{chunks}{:x}\r\n{INNER}\r\n0\r\n\r\n", INNER.len()).into_bytes());
    }
    never_smuggled(messages);
}

#[test]
fn the_body_of_an_unseen_head_does_not_vouch_for_it() {
    let (go, gate) = channel();
    let gate = Mutex::new(gate);
    let upstream = TestUpstream::with(move |_, stream| {
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").map(|()| true)
    });
    let gateway = half_open(&upstream);
    let mut wire = gateway.wire();
    // The second head comes in the same packet as the end of the first body, so it goes by unseen; it has two framings.
    wire.send(
        "POST /outer/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         POST /outer/2#x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(upstream.next().target(), "/outer/1");
    // Its body reads like an innocent head.
    let body = "x\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    go.send(()).unwrap();
    assert_eq!(wire.receive().unwrap().status, 200);
    drop(go);
    assert_eq!(wire.receive().map(|response| response.status), Some(400));
    assert!(wire.is_closed_by_peer());
    upstream.saw_nothing();
}
