//! What becomes of a request that asks for another protocol, at the upstream and behind its 101.

use super::*;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: WebSocket\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

#[test]
fn behind_a_101_bytes_go_both_ways_and_the_first_come_first() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, UPGRADE).await;
        let (mut up, _) = listener.accept().await.unwrap();
        let head = read_to(&mut up, "\r\n\r\n").await;
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        // What is behind the 101 comes in the same packet.
        write(&mut up, &format!("{SWITCHING}first")).await;
        assert_eq!(front.outcome().await, "101");
        let answer = read_to(&mut client, "\r\n\r\n").await;
        for field in ["connection: upgrade\r\n", "upgrade: WebSocket\r\n", "sec-websocket-protocol: chat\r\n"]
        {
            assert!(answer.contains(field), "{answer}");
        }
        assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
        read_to(&mut client, "first").await;
        write(&mut client, "\0ping").await;
        read_to(&mut up, "\0ping").await;
        write(&mut up, "pong").await;
        read_to(&mut client, "pong").await;
        assert_eq!(front.pool.counters().in_use, 1, "a tunnel is a request in flight");
        // Each way ends on its own.
        client.shutdown().await.unwrap();
        closed(&mut up).await;
        write(&mut up, "last").await;
        read_to(&mut client, "last").await;
        drop(up);
        closed(&mut client).await;
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 0, in_use: 0 });
    });
}

#[test]
fn another_answer_to_an_upgrade_request_is_an_ordinary_response() {
    for answer in [HELLO, "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello"] {
        local(async {
            let (listener, address) = upstream().await;
            let front = Front::before(address).await;
            let mut client = front.client().await;
            tokio::task::spawn_local(async move {
                let (mut up, _) = listener.accept().await.unwrap();
                for _ in 0..2 {
                    read_to(&mut up, "\r\n\r\n").await;
                    write(&mut up, answer).await;
                }
                closed(&mut up).await;
            });
            for _ in 0..2 {
                write(&mut client, UPGRADE).await;
                let seen = read_to(&mut client, "hello").await;
                assert!(seen.starts_with(&answer[..12]), "{seen}");
            }
            assert_eq!(front.pool.counters().opened, 1);
        });
    }
}

#[test]
fn a_101_that_names_no_protocol_or_another_one_is_502() {
    for fields in [
        "",
        "Upgrade: h2c\r\n",
        "Upgrade: websocket, h2c\r\n",
        "Upgrade: websocket\r\nUpgrade: websocket\r\n",
    ] {
        local(async {
            let (listener, address) = upstream().await;
            let mut front = Front::before(address).await;
            let mut client = front.client().await;
            write(&mut client, UPGRADE).await;
            let (mut up, _) = listener.accept().await.unwrap();
            read_to(&mut up, "\r\n\r\n").await;
            write(
                &mut up,
                &format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{fields}\r\n"),
            )
            .await;
            assert_eq!(front.outcome().await, "upstream_protocol", "{fields}");
            closed(&mut up).await;
        });
    }
}

#[test]
fn no_byte_of_the_client_is_forwarded_before_the_101() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, &format!("{UPGRADE}early")).await;
        let (mut up, _) = listener.accept().await.unwrap();
        let head = read_to(&mut up, "\r\n\r\n").await;
        assert!(!head.contains("early"));
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), up.read(&mut byte)).await;
        assert!(early.is_err(), "{early:?}");
        write(&mut up, SWITCHING).await;
        read_to(&mut up, "early").await;
    });
}

#[test]
fn a_client_that_leaves_a_tunnel_ends_it_at_the_upstream() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, UPGRADE).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, SWITCHING).await;
        read_to(&mut client, "\r\n\r\n").await;
        client.set_zero_linger().unwrap();
        drop(client);
        closed(&mut up).await;
    });
}
