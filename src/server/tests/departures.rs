//! Clients of HTTP/1 that leave in the middle of an exchange, with bytes behind their request that nobody will read.

use std::net::Shutdown;

use super::openings::with_tls;
use super::support::PATIENCE;
use super::support::tls::{Authority, TlsClient};
use super::*;

const HELD: &str = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a client may send behind its request: nothing, too much, what old browsers sent, further requests.
const BEHIND: [&str; 5] = [
    "",
    "X",
    "\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
];

/// Runs `test` with a listener without TLS and one with it. It is given how to send, which leaves the bare socket.
fn over_both(test: impl Fn(Running, &dyn Fn(SocketAddr, &str) -> TcpStream)) {
    test(Running::one(), &|address, bytes| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    });
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |_| tls::ClientAuth::None);
    let client = TlsClient::trusting(&authority);
    test(Running::with(&settings, None), &|address, bytes| {
        let mut stream = client.connect(address, "wiki.test").unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.flush().unwrap();
        stream.into_parts().1
    });
}

/// Each client has sent a request that is held, with something behind it, and goes by `leave`; then nothing is left to wait for.
fn nothing_is_left_after(leave: impl Fn(TcpStream) -> Option<TcpStream>) {
    over_both(|server, ask| {
        let clients: Vec<_> = BEHIND
            .iter()
            .map(|behind| {
                let socket = ask(server.address, &format!("{HELD}{behind}"));
                server.wait_until_held();
                socket
            })
            .collect();
        let _half_closed: Vec<_> = clients.into_iter().filter_map(&leave).collect();
        // What is in the middle of a body is given its time.
        server.clock.advance(Duration::from_secs(11));
        assert_eq!(server.drain(PATIENCE).cut, 0);
    });
}

#[test]
fn a_client_that_closes_is_gone_whatever_lies_unread_behind_its_request() {
    nothing_is_left_after(|socket| {
        drop(socket);
        None
    });
}

#[test]
fn a_client_that_resets_is_gone_whatever_lies_unread_behind_its_request() {
    nothing_is_left_after(|socket| {
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        None
    });
}

#[test]
fn a_client_that_closes_its_sending_side_counts_as_gone_whatever_lies_unread_behind_its_request() {
    nothing_is_left_after(|socket| {
        socket.shutdown(Shutdown::Write).unwrap();
        Some(socket)
    });
}

#[test]
fn a_client_that_leaves_a_body_nobody_takes_is_gone() {
    let upload =
        format!("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(20_000));
    over_both(|server, ask| {
        let socket = ask(server.address, &upload);
        server.wait_until_held();
        drop(socket);
        server.clock.advance(Duration::from_secs(11));
        assert_eq!(server.drain(PATIENCE).cut, 0);
    });
}

#[test]
fn a_client_that_stays_is_answered_whatever_lies_unread_behind_its_request() {
    let server = Running::one();
    let mut client = server.client();
    client.send(&format!("{HELD}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    server.wait_until_held();
    let mut idle = server.client();
    idle.get("/");
    server.clock.advance(Duration::from_secs(61));
    // A sweep has been, and has looked at the other one too.
    idle.rest();
    server.signals.released.add_permits(1);
    assert!(client.response().contains("held"));
    assert!(client.response().contains("hello"));
}
