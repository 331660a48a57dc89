//! The end: what is in flight is finished, and the rest is cut after the grace.

use super::*;

#[test]
fn a_drain_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let server = Running::one();
    let mut idle = server.client();
    idle.get("/");
    let mut busy = server.client();
    busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_until_held();
    let released = server.signals.released.clone();
    let finishing = std::thread::spawn(move || server.drain(Duration::from_secs(30)));
    idle.rest();
    released.add_permits(1);
    let response = busy.response();
    assert!(response.contains("held") && response.contains("connection: close"), "{response}");
    assert_eq!(finishing.join().unwrap(), DrainReport { finished: 1, cut: 0 });
}

#[test]
fn a_client_that_has_connected_and_asks_while_a_drain_begins_is_answered() {
    let server = Running::one();
    let mut known = server.client();
    known.get("/");
    let fresh = server.client();
    // A round trip on another connection: by then the worker has accepted this one too.
    known.get("/");
    is_answered_in_a_drain(server, known, fresh);
}

/// Drains `server`, whose worker knows both of these connections: `idle` is closed at once, and `fresh`, which has asked for nothing yet,
/// is answered.
pub(super) fn is_answered_in_a_drain(server: Running, mut idle: Client, mut fresh: Client) {
    let draining = std::thread::spawn(move || server.drain(Duration::from_secs(30)));
    // The drain has begun once the idle connection is closed.
    idle.rest();
    let response = fresh.get("/");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    fresh.rest();
    assert_eq!(draining.join().unwrap().cut, 0);
}

#[test]
fn a_drain_cuts_what_is_left_after_the_grace() {
    let server = Running::one();
    let mut busy = server.client();
    busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_until_held();
    assert_eq!(server.drain(Duration::from_millis(10)), DrainReport { finished: 0, cut: 1 });
    busy.rest();
}
