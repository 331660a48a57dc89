//! Bodies, and answers without one, through the whole pipeline (P2, P11, P14).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

fn open(upstream: &TestUpstream, lines: &str) -> TestGateway {
    let url = upstream.url();
    Setup::routes(format!("[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n{lines}")).start()
}

#[test]
fn a_body_that_says_it_is_too_large_is_413_and_never_forwarded() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream, "max_body = 4\n");
    let post = |body: &[u8]| gateway.browser().request("POST", "/", &[], body);
    assert_eq!(post(b"1234").status, 200);
    assert_eq!(upstream.next().body, b"1234");
    let refused = post(b"12345");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("body_too_large")));
    upstream.saw_nothing();
    let mut wire = gateway.wire();
    let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 5000000\r\n", gateway.address());
    wire.send(head).send("Expect: 100-continue\r\n\r\n");
    let (status, headers) = wire.receive_head().unwrap();
    assert_eq!(status, 413, "before the client has sent any of it");
    assert!(headers.contains(&("connection".into(), "close".into())));
}

#[test]
fn a_chunked_body_that_grows_too_large_is_cut_and_never_complete_at_the_upstream() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream, "max_body = 4\n");
    let host = gateway.address();
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut wire = gateway.wire();
    wire.send(&head).send("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    assert_eq!(wire.receive().unwrap().status, 200);
    assert_eq!(upstream.next().body, b"abcd");
    let mut wire = gateway.wire();
    wire.send(&head).send("2\r\nab\r\n3\r\ncde\r\n");
    let refused = wire.receive().expect("an answer");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("body_too_large")));
    upstream.saw_nothing();
}

#[test]
fn a_route_without_a_limit_takes_any_body() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream, "");
    let body = vec![b'x'; 3_000_000];
    assert_eq!(gateway.browser().request("POST", "/", &[], &body).status, 200);
    assert_eq!(upstream.next().body.len(), body.len());
}

/// What an upstream gets of a request with trailers, as it stands on the wire.
fn with_trailers(lines: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !(seen.windows(3).any(|w| w == b"\n0\r") && seen.ends_with(b"\r\n\r\n")) {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        tell.send(String::from_utf8(seen).unwrap().to_lowercase()).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway =
        Setup::routes(format!("[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n{lines}")).start();
    let mut wire = gateway.wire();
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
         Trailer: X-Checksum, Remote-User, Remote_User, X-Auth-Request-User, Content-Length, Authorization\r\n\r\n\
         2\r\nab\r\n0\r\nX-Checksum: 7\r\nRemote-User: eve\r\nRemote_User: eve\r\nX-Auth-Request-User: eve\r\n\
         Content-Length: 9\r\nAuthorization: eve\r\n\r\n",
        gateway.address()
    ));
    assert_eq!(wire.receive().unwrap().status, 200);
    told.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn request_trailers_are_dropped_unless_the_route_lets_them_pass_and_never_carry_an_identity() {
    let dropped = with_trailers("");
    assert!(dropped.ends_with("\n0\r\n\r\n") && !dropped.contains("\r\ntrailer:"), "{dropped}");
    assert!(dropped.contains("\r\nte: trailers\r\n"));
    let passed = with_trailers("allow_trailers = true\n");
    let behind = passed.split("\n0\r\n").nth(1).unwrap();
    assert_eq!(behind, "x-checksum: 7\r\n\r\n", "{passed}");
}

#[test]
fn the_client_is_told_to_continue_only_when_somebody_wants_its_body() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{0}\"]\naccess = \"public\"\n[[routes]]\npath = \"/prot\"\nupstream = [\"{0}\"]\n",
        upstream.url()
    ))
    .start();
    let ask = |path: &str| {
        let mut client = TcpStream::connect(gateway.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            gateway.address()
        );
        client.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).unwrap();
        (client, String::from_utf8_lossy(&first).into_owned())
    };
    assert_eq!(ask("/prot").1, "HTTP/1.1 401");
    upstream.saw_nothing();
    let (mut client, first) = ask("/");
    assert_eq!(first, "HTTP/1.1 100");
    client.write_all(b"hi").unwrap();
    let seen = upstream.next();
    assert_eq!((seen.body.as_slice(), seen.header("expect")), (&b"hi"[..], None));
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let upstream = TestUpstream::with(|request, stream| {
        let answer = match request.target() {
            "/204" => "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 99\r\n\r\n",
            "/205" => "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        };
        stream.write_all(answer.as_bytes())?;
        if request.line.starts_with("GET /get") {
            stream.write_all(b"content")?
        }
        Ok(true)
    });
    let gateway = open(&upstream, "");
    let mut wire = gateway.wire();
    for (method, path, status, length) in [
        ("GET", "/204", 204, None),
        // RFC 9110 section 8.6 lets the length of what was not sent be left out here, and hyper does.
        ("GET", "/304", 304, None),
        ("HEAD", "/x", 200, Some("7")),
        ("GET", "/205", 205, Some("0")),
        ("OPTIONS", "/204", 204, None),
        ("GET", "/get", 200, Some("7")),
    ] {
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        let answer = wire.receive_to(method).expect("an answer on the same connection");
        assert_eq!((answer.status, answer.header("content-length")), (status, length), "{method} {path}");
        assert_eq!(upstream.next().line, format!("{method} {path} HTTP/1.1"));
    }
}

#[test]
fn an_answer_before_the_body_has_ended_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        // Reads on, as a server does that wants its answer to arrive.
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    });
    let gateway = Setup::routes(format!("[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n")).start();
    let mut wire = gateway.wire();
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000\r\n\r\npart",
        gateway.address()
    ));
    let answer = wire.receive().expect("the early answer");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}
