//! One reading of every message (P12), byte for byte on the wire.

use crate::support::PATIENCE;
use crate::support::frames::{Frames, field};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::ways::{Doors, HOST, Way};
use crate::support::wire::Wire;

fn open(upstream: &TestUpstream) -> TestGateway {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url())).start()
}

/// The same with a plain listener and one of TLS.
fn open_doors(upstream: &TestUpstream) -> Doors {
    Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n",
        upstream.url()
    )))
}

/// Sends `message`, with and without TLS, and asserts that it is refused with 400 or by a closed connection, that the connection ends,
/// and that nothing was forwarded.
fn refused(doors: &Doors, upstream: &TestUpstream, message: &str) {
    for way in [Way::Http1, Way::Http1Tls] {
        let mut wire = Wire::over(doors.stream(way, PATIENCE));
        wire.send(message.replace("HOST", HOST));
        let status = wire.receive().map(|response| response.status);
        assert!(
            matches!(status, Some(400 | 414 | 431 | 501 | 505) | None),
            "{way:?} {message:?}: {status:?}"
        );
        assert!(wire.is_closed_by_peer(), "{way:?} {message:?} leaves the connection open");
    }
    upstream.saw_nothing();
}

#[test]
fn a_message_with_two_framings_is_refused_and_the_connection_ends() {
    let upstream = TestUpstream::start();
    let doors = open_doors(&upstream);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 001",
        "Content-Length: +1",
        "Content-Length: 0x1",
        "Content-Length: 1, 1",
        "Content-Length: ",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "cOnTeNt-LeNgTh: 0\r\nContent-Length: 0",
    ] {
        refused(
            &doors,
            &upstream,
            &format!("POST / HTTP/1.1\r\nHost: HOST\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}"),
        );
    }
}

#[test]
fn missing_repeated_empty_and_malformed_hosts_are_refused() {
    let upstream = TestUpstream::start();
    let doors = open_doors(&upstream);
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: \r\n",
        "Host: a,b\r\n",
        "Host: a/b?c\r\n",
        "Host: u@a\r\n",
        "Host: a b\r\n",
        "Host: a:x\r\n",
    ] {
        refused(&doors, &upstream, &format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
    }
    refused(&doors, &upstream, "GET / HTTP/1.0\r\n\r\n");
}

#[test]
fn odd_request_targets_are_refused() {
    let upstream = TestUpstream::start();
    let doors = open_doors(&upstream);
    for line in [
        "GET http://other/x HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET admin HTTP/1.1",
        "CONNECT HOST HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a?b#c HTTP/1.1",
        "GET /#/../b HTTP/1.1",
        "GET /a\\b HTTP/1.1",
        "GET /a\x01 HTTP/1.1",
        "GET /a\tb HTTP/1.1",
    ] {
        refused(&doors, &upstream, &format!("{line}\r\nHost: HOST\r\n\r\n"));
    }
}

#[test]
fn over_http_2_what_frames_or_belongs_to_a_connection_is_refused() {
    let upstream = TestUpstream::start();
    let doors = open_doors(&upstream);
    let request = |fields: &[(&str, &str)], body: &str, trailers: &[(&str, &str)]| {
        let mut frames = Frames::over(doors.stream(Way::Http2, PATIENCE));
        let all = |of: &[(&str, &str)]| of.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>();
        let pseudo = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", HOST)];
        frames.headers(1, &[all(&pseudo), all(fields)].concat(), false);
        frames.data(1, body.as_bytes(), trailers.is_empty());
        if !trailers.is_empty() {
            frames.headers(1, &all(trailers), true);
        }
        frames.fates(&[1]).remove(&1).and_then(|fate| fate.status)
    };
    for fields in [
        &[("transfer-encoding", "chunked")][..],
        &[("transfer-encoding", "identity")],
        &[("content-length", "4"), ("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("connection", "content-length")],
        &[("keep-alive", "5")],
        &[("proxy-connection", "keep-alive")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[("content-length", "3")],
        &[("content-length", "5")],
        &[("content-length", "4"), ("content-length", "4")],
        &[("content-length", "4, 4")],
        &[("content-length", "+4")],
        &[("content-length", "04")],
        &[("content-length", "")],
        &[("content-length", "9223372036854775808")],
        &[("Accept", "*/*")],
        &[("", "x")],
        &[("x y", "z")],
        &[("x:y", "z")],
        &[("x", "y\r\nz: a")],
        &[("x", "y\nz")],
        &[("x", "y\0z")],
        &[("x\r\ny", "z")],
        &[(":path", "/other")],
        &[(":authority", "other.test")],
        &[(":method", "GET")],
        &[(":x", "y")],
        &[("x", "y"), (":path", "/")],
    ] {
        let status = request(fields, "body", &[]);
        assert!(matches!(status, Some(400) | None), "{fields:?}: {status:?}");
    }
    for trailers in [&[("X", "y")][..], &[("x", "y\r\n\r\n")], &[("connection", "close")]] {
        let status = request(&[], "body", trailers);
        assert!(matches!(status, Some(400) | None), "{trailers:?}: {status:?}");
    }
    upstream.saw_nothing();
    // h2 leaves a pseudo-header in a trailer out, which RFC 9113 section 8.1 would have refused.
    assert_eq!(request(&[], "body", &[(":path", "/other")]), Some(200));
    assert_eq!(upstream.next().line, "POST / HTTP/1.1");
    assert_eq!(request(&[("content-length", "4"), ("te", "trailers")], "body", &[("x", "y")]), Some(200));
    assert_eq!(upstream.next().body, b"body");
}

#[test]
fn a_fragment_is_refused_on_a_later_request_of_a_connection_too() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    let host = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!("POST /1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\n#a#"));
    assert_eq!(wire.receive().unwrap().status, 200);
    wire.send(format!(
        "POST /2 HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n#b#\r\n0\r\n\r\n"
    ));
    assert_eq!(wire.receive().unwrap().status, 200);
    wire.send(format!("GET /3#x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(wire.receive().unwrap().status, 400);
    assert_eq!((upstream.next().body, upstream.next().body), (b"#a#".to_vec(), b"#b#".to_vec()));
    upstream.saw_nothing();
}

#[test]
fn pipelined_requests_are_answered_in_order_and_each_is_checked() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    let host = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!(
        "GET /1 HTTP/1.1\r\nHost: {host}\r\n\r\nPOST /2 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhiGET /3#x HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ));
    let statuses: Vec<_> = (0..3).map(|_| wire.receive().map(|response| response.status)).collect();
    assert_eq!(statuses, [Some(200), Some(200), Some(400)]);
    assert_eq!(
        (upstream.next().target().to_owned(), upstream.next().target().to_owned()),
        ("/1".into(), "/2".into())
    );
    upstream.saw_nothing();
}

#[test]
fn a_request_right_behind_a_chunked_body_is_never_forwarded_unseen() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    let host = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!(
        "POST /1 HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2#x HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ));
    assert_eq!(wire.receive().unwrap().status, 200);
    let second = wire.receive().map(|response| response.status);
    assert!(matches!(second, Some(400) | None), "{second:?}");
    upstream.next();
    upstream.saw_nothing();
}

#[test]
fn a_malformed_chunk_never_completes_a_request_at_the_upstream() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    for chunk in [
        "0x1\r\na\r\n",
        "+1\r\na\r\n",
        "\r\na\r\n",
        "1\r\nabc\r\n",
        "ffffffffffffffffff\r\n",
        "1;a=b\n\na\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
            gateway.address()
        ));
        let status = wire.receive().map(|response| response.status);
        assert!(matches!(status, Some(400 | 502) | None), "{chunk:?}: {status:?}");
        upstream.saw_nothing();
    }
}

#[test]
fn options_for_the_whole_server_is_forwarded() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    let mut wire = gateway.wire();
    wire.send(format!("OPTIONS * HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    assert_eq!(wire.receive().unwrap().status, 200);
    assert_eq!(upstream.next().line, "OPTIONS * HTTP/1.1");
}

#[test]
fn absolute_form_with_the_same_host_is_forwarded_in_origin_form() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream);
    let host = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!("GET http://{host}/x?y HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(wire.receive().unwrap().status, 200);
    assert_eq!(upstream.next().target(), "/x?y");
}

#[test]
fn a_client_that_uploads_on_after_a_refusal_still_reads_the_answer() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let host = gateway.address();
    // More than the sockets between hold, so that the gateway has answered and closed long before the last byte is sent.
    let body = vec![b'x'; 16 * 1024 * 1024];
    for framing in [
        format!("Content-Length: {}\r\n\r\n", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()),
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("POST /up HTTP/1.1\r\nHost: {host}\r\n{framing}")).send(&body);
        let response = wire.receive().expect("an answer");
        assert_eq!((response.status, response.header("connection")), (401, Some("close")));
        drop(wire);
    }
    upstream.saw_nothing();
}
