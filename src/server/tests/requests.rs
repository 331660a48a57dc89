//! What one request of HTTP/1 is, and where the next one begins.

use super::*;

#[test]
fn a_connection_serves_many_requests() {
    let server = Running::one();
    let mut client = server.client();
    for _ in 0..100 {
        assert!(client.get("/").contains("hello"));
    }
}

#[test]
fn the_facts_of_each_head_reach_its_own_call() {
    let server = Running::one();
    let mut client = server.client();
    client.send("GET /facts#x HTTP/1.1\r\nHost: a\r\n\r\nPOST /facts HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert!(client.response().contains("fragment: true"));
    let second = client.response();
    assert!(second.contains("fragment: false") && second.contains("content_lengths: 1"), "{second}");
}

#[test]
fn a_request_hidden_behind_a_chunked_body_has_no_facts() {
    let server = Running::one();
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /facts HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    assert!(client.response().contains("None"));
}

#[test]
fn a_request_after_a_chunked_body_has_facts() {
    let server = Running::one();
    let mut client = server.client();
    for _ in 0..20 {
        client
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
        client.response();
        assert!(client.get("/facts").contains("Some("));
    }
}

#[test]
fn the_late_end_of_a_body_is_not_taken_for_the_end_of_the_next_one() {
    let server = Running::one();
    let mut client = server.client();
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client.response();
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.up_to("100 Continue\r\n\r\n");
    server.signals.released.add_permits(1);
    server.wait_until_held();
    client.send("1\r\na\r\n0\r\n\r\n");
    assert!(client.response().ends_with("\r\na\r\n0\r\n\r\n"));
    assert!(client.get("/facts").contains("Some("));
}

#[test]
fn a_chunked_body_left_unread_closes_the_connection() {
    let server = Running::one();
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    let response = client.response();
    assert!(response.contains("connection: close"), "{response}");
    client.rest();
}

#[test]
fn a_broken_body_is_a_visible_abort_even_for_http_1_0() {
    let server = Running::one();
    let mut modern = server.client();
    modern.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!modern.rest().0.ends_with("0\r\n\r\n"));
    let mut old = server.client();
    old.send("GET /broken HTTP/1.0\r\nHost: a\r\n\r\n");
    let (seen, reset) = old.rest();
    assert!(reset, "looks complete: {seen}");
}

#[test]
fn a_head_over_the_limit_is_refused() {
    let server = Running::one();
    let mut client = server.client();
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(70_000)));
    assert!(client.rest().0.starts_with("HTTP/1.1 431"));
}
