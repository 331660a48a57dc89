//! Clients of HTTP/1 that are slow or silent.

use super::*;

#[test]
fn silent_dripping_and_idle_connections_are_closed_after_the_head_time() {
    let server = Running::one();
    let mut silent = server.client();
    let mut dripping = server.client();
    dripping.send("GET / HTT");
    let mut idle = server.client();
    idle.get("/");
    // The worker has seen all three once this one is answered.
    server.client().get("/");
    server.clock.advance(Duration::from_secs(59));
    assert!(server.client().get("/").contains("hello"));
    dripping.send("P/1.1\r\n");
    server.clock.advance(Duration::from_secs(2));
    for client in [&mut silent, &mut dripping, &mut idle] {
        client.rest();
    }
}

#[test]
fn a_stalled_request_body_is_closed_after_the_body_time() {
    let server = Running::one();
    let mut length = server.client();
    length.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    let mut chunked = server.client();
    chunked.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    server.client().get("/");
    server.clock.advance(Duration::from_secs(61));
    length.rest();
    chunked.rest();
}

#[test]
fn a_response_nobody_takes_is_closed_after_the_body_time() {
    let server = Running::one();
    let mut client = server.client();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = [0; 100];
    client.0.read_exact(&mut first).unwrap();
    // Until the close shows, time passes; a wait that has not begun yet begins later.
    let clock = server.clock.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let hours = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            clock.advance(Duration::from_secs(61));
        }
    });
    // The server's end is gone when its worker has no connection left to wait for.
    let report = server.drain(Duration::from_secs(20));
    drop(stop);
    hours.join().unwrap();
    assert_eq!(report.cut, 0);
}

#[test]
fn a_request_that_takes_long_is_not_stalled() {
    let server = Running::one();
    let mut client = server.client();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_until_held();
    let mut silent = server.client();
    // The worker has accepted it once a later one is served; its close shows that the sweep has been.
    server.client().get("/");
    server.clock.advance(Duration::from_secs(3600));
    silent.rest();
    server.signals.released.add_permits(1);
    assert!(client.response().contains("held"));
}
