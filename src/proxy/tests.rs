//! The engine from the outside, over real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

mod balancing;
mod health;
mod http2;
mod limits;
mod messages;
mod retries;
mod rig;
mod schemes;
mod upgrades;

use rig::*;

use super::*;

#[test]
fn the_target_reaches_the_upstream_byte_for_byte_and_the_body_comes_back() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        tokio::task::spawn_local(async move {
            let (mut up, _) = listener.accept().await.unwrap();
            let head = read_to(&mut up, "\r\n\r\n").await;
            assert!(head.starts_with("GET /a%2fb/../c?d=%20 HTTP/1.1\r\n"), "{head}");
            write(&mut up, HELLO).await;
            closed(&mut up).await;
        });
        assert!(front.exchange(GET).await.ends_with("\r\n\r\nhello"));
    });
}

#[test]
fn a_connection_is_reused_once_its_response_body_has_ended() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        tokio::task::spawn_local(async move {
            let (mut up, _) = listener.accept().await.unwrap();
            for _ in 0..50 {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
                    .await;
            }
            for _ in 0..50 {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
            }
            closed(&mut up).await;
        });
        let mut client = front.client().await;
        for _ in 0..50 {
            write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            read_to(&mut client, "0\r\n\r\n").await;
        }
        for _ in 0..50 {
            write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            read_to(&mut client, "hello").await;
        }
        let counters = front.pool.counters();
        assert_eq!((counters.opened, counters.reused, counters.in_use), (1, 99, 0));
    });
}

#[test]
fn a_request_that_was_never_sent_is_retried_once_on_a_fresh_connection() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let (told, mut closed_idle) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            // Serves one request on each connection and then closes it, while it lies idle in the pool.
            while let Ok((mut up, _)) = listener.accept().await {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
                drop(up);
                told.send(()).unwrap();
            }
        });
        for _ in 0..20 {
            assert!(front.exchange(GET).await.ends_with("hello"));
            assert_eq!(front.outcome().await, "200");
            closed_idle.recv().await.unwrap();
            // No time passes for the coarse clock, so no probe: the hard case.
        }
        assert_eq!(front.pool.counters().in_use, 0);
    });
}

#[test]
fn an_idle_connection_that_died_is_noticed_at_check_out() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let (told, mut closed_idle) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Ok((mut up, _)) = listener.accept().await {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
                drop(up);
                told.send(()).unwrap();
            }
        });
        front.exchange(GET).await;
        closed_idle.recv().await.unwrap();
        front.pass_time(Duration::from_secs(1));
        assert!(front.exchange(GET).await.ends_with("hello"));
        assert_eq!(front.pool.counters().reused, 0);
    });
}

#[test]
fn a_post_is_never_delivered_twice() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            // The first exchange leaves an idle connection; on it the POST arrives whole, and then the upstream dies.
            while let Ok((mut up, _)) = listener.accept().await {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
                let head = read_to(&mut up, "pay!").await;
                seen.send(head).unwrap();
            }
        });
        front.exchange(GET).await;
        assert_eq!(front.outcome().await, "200");
        let answer = front
            .exchange("POST /pay HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\npay!")
            .await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert_eq!(front.outcome().await, "upstream_closed");
        assert!(deliveries.recv().await.unwrap().starts_with("POST /pay"));
        assert!(deliveries.try_recv().is_err());
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 1, in_use: 0 });
    });
}

#[test]
fn a_client_that_vanishes_aborts_the_upstream_request() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        drop(client);
        closed(&mut up).await;
        assert_eq!(front.pool.counters().in_use, 0);
    });
}

#[test]
fn a_client_that_vanishes_while_the_response_streams_aborts_the_upstream_request() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        read_to(&mut client, "1\r\na\r\n").await;
        drop(client);
        closed(&mut up).await;
        assert_eq!(front.pool.counters().in_use, 0);
    });
}

#[test]
fn an_upstream_that_dies_mid_body_aborts_the_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        local(async {
            let (listener, address) = upstream().await;
            let front = Front::before(address).await;
            tokio::task::spawn_local(async move {
                let (mut up, _) = listener.accept().await.unwrap();
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, answer).await;
            });
            let mut client = front.client().await;
            write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut seen = Vec::new();
            let _ = client.read_to_end(&mut seen).await;
            let seen = String::from_utf8(seen).unwrap();
            assert!(!seen.contains("\r\n0\r\n\r\n"), "looks complete: {seen}");
            assert!(!seen.contains("content-length: 4\r\n"), "looks complete: {seen}");
        });
    }
}

#[test]
fn a_malformed_request_body_never_completes_at_the_upstream() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            .await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "4\r\nhalf\r\n").await;
        write(&mut client, "+1\r\nx\r\n0\r\n\r\n").await;
        let mut rest = String::new();
        let _ = up.read_to_string(&mut rest).await;
        assert!(!rest.contains("0\r\n\r\n"), "{rest}");
    });
}

#[test]
fn an_upstream_that_does_not_answer_is_504_and_one_that_is_not_there_502() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, GET).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        front.pass_time(Duration::from_secs(59));
        front.pass_time(Duration::from_secs(2));
        assert_eq!(front.outcome().await, "upstream_response_timeout");
        assert!(read_to(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 504"));
        closed(&mut up).await;

        drop(listener);
        assert!(front.exchange(GET).await.starts_with("HTTP/1.1 502"));
        assert_eq!(front.outcome().await, "upstream_connect");
    });
}

#[test]
fn an_upstream_is_not_late_while_the_client_still_sends() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "ha").await;
        front.pass_time(Duration::from_secs(120));
        write(&mut client, "lf").await;
        read_to(&mut up, "lf").await;
        write(&mut up, HELLO).await;
        assert_eq!(front.outcome().await, "200");
    });
}
