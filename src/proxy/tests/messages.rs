//! What counts as one message, and how it passes through.

use super::*;

#[test]
fn two_framings_in_a_response_are_502_and_the_connection_is_not_reused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        local(async {
            let (listener, address) = upstream().await;
            let mut front = Front::before(address).await;
            tokio::task::spawn_local(async move {
                let (mut up, _) = listener.accept().await.unwrap();
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, answer).await;
                closed(&mut up).await;
            });
            assert!(front.exchange(GET).await.starts_with("HTTP/1.1 502"), "{answer}");
            assert_eq!(front.outcome().await, "upstream_protocol", "{answer}");
            assert_eq!(front.pool.counters().in_use, 0);
        });
    }
}

#[test]
fn head_204_and_304_have_no_body_and_keep_the_connection() {
    for (method, answer, expected) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "content-length: 1234"),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", "x-a: 1"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"9\"\r\n\r\n", "etag: \"9\""),
    ] {
        local(async {
            let (listener, address) = upstream().await;
            let front = Front::before(address).await;
            tokio::task::spawn_local(async move {
                let (mut up, _) = listener.accept().await.unwrap();
                for _ in 0..2 {
                    read_to(&mut up, "\r\n\r\n").await;
                    write(&mut up, answer).await;
                }
                closed(&mut up).await;
            });
            for _ in 0..2 {
                let seen = front
                    .exchange(&format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
                    .await;
                assert!(seen.contains(expected) && seen.ends_with("\r\n\r\n"), "{seen}");
            }
            assert_eq!(front.pool.counters().opened, 1);
        });
    }
}

#[test]
fn interim_responses_are_passed_over() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        tokio::task::spawn_local(async move {
            let (mut up, _) = listener.accept().await.unwrap();
            read_to(&mut up, "\r\n\r\n").await;
            write(&mut up, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                .await;
            write(&mut up, HELLO).await;
            closed(&mut up).await;
        });
        let seen = front.exchange(GET).await;
        assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("hello"), "{seen}");
    });
}

#[test]
fn a_response_that_comes_before_the_request_body_has_ended_is_passed_on() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nfour").await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "four").await;
        write(&mut up, HELLO).await;
        read_to(&mut client, "hello").await;
        write(&mut client, "more").await;
        read_to(&mut up, "more").await;
    });
}

#[test]
fn a_get_with_a_chunked_body_keeps_its_body() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(
            &mut client,
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await;
        let (mut up, _) = listener.accept().await.unwrap();
        let seen = read_to(&mut up, "0\r\n\r\n").await;
        assert!(seen.contains("transfer-encoding: chunked") && seen.contains("abc"), "{seen}");
    });
}

#[test]
fn events_arrive_as_they_are_sent() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            write(&mut up, event).await;
            read_to(&mut client, &format!("{event}\r\n")).await;
        }
    });
}

#[test]
fn idle_connections_go_after_their_time() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, GET).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, HELLO).await;
        closed(&mut client).await;
        front.pass_time(Duration::from_secs(31));
        closed(&mut up).await;
    });
}
