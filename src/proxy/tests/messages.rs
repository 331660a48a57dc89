//! What counts as one message, and how it passes through.

use super::*;

#[test]
fn two_framings_in_a_response_are_502_and_the_connection_is_not_reused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
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

/// What a client must see of an upstream's answer.
enum Seen {
    /// This status and body, whole.
    Whole(&'static str, &'static str),
    /// An abort, behind the head when that was out already: never what looks like a complete body.
    Abort,
    /// 502, and nothing of the answer.
    BadGateway,
}

#[test]
fn odd_answers_are_whole_502_or_an_abort_and_leave_no_connection_to_reuse() {
    use Seen::{Abort, BadGateway, Whole};
    let early_hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(200);
    let (many, huge) = (
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A: 1\r\n".repeat(200)),
        format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(70_000)),
    );
    let hints =
        format!("{early_hints}HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    // (what the upstream sends before it closes, what the client sees)
    for (answer, seen) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", Whole("200", "hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n", Whole("200", "hello")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\ngarbage",
            Whole("200", "hello"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nhello", Whole("204", "")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Whole("304", "")),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the close", Whole("200", "until the close")),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the close", Whole("200", "until the close")),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole("200", "hello")),
        (&hints, Whole("200", "hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", Abort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Abort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Abort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellofive", Abort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", Abort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello", Abort),
        (&many, BadGateway),
        (&huge, BadGateway),
        ("HTTP/1.1 200 OK\r\nContent-Len", BadGateway),
        ("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
        ("", BadGateway),
    ] {
        local(async {
            let (listener, address) = upstream().await;
            let front = Front::before(address).await;
            let answer = answer.to_owned();
            tokio::task::spawn_local(async move {
                let (mut up, _) = listener.accept().await.unwrap();
                read_to(&mut up, "\r\n\r\n").await;
                let _ = up.write_all(answer.as_bytes()).await;
                let _ = up.shutdown().await;
                closed(&mut up).await;
            });
            let mut client = front.client().await;
            write(&mut client, GET).await;
            let mut bytes = Vec::new();
            let ended = client.read_to_end(&mut bytes).await;
            let text = String::from_utf8(bytes).unwrap();
            let text = text.get(..300).unwrap_or(&text).to_owned();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            match seen {
                Whole(status, expected) => {
                    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
                    let chunked = format!("{:x}\r\n{expected}\r\n0\r\n\r\n", expected.len());
                    assert!(
                        ended.is_ok() && (body == expected || body.eq_ignore_ascii_case(&chunked)),
                        "{text}"
                    );
                }
                Abort if text.is_empty() => {}
                Abort => {
                    assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
                    let lengths = head.contains("content-length: 50");
                    assert!(!body.ends_with("0\r\n\r\n") && (lengths || head.contains("chunked")), "{text}");
                }
                BadGateway => assert!(head.starts_with("HTTP/1.1 502 ") && body.is_empty(), "{text}"),
            }
            front.pass_time(Duration::from_millis(250));
            assert_eq!(front.pool.counters().in_use, 0);
            let open = front.states()[0].open;
            assert_eq!(open, 0, "a connection was kept after {text}");
        });
    }
}

#[test]
fn a_response_that_drips_arrives_as_it_comes() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, GET).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        for byte in "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: app\r\n\r\n".split("") {
            write(&mut up, byte).await;
        }
        let head = read_to(&mut client, "\r\n\r\n").await;
        assert!(
            head.contains("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n") && head.contains("server: app\r\n"),
            "{head}"
        );
        for byte in ["a", "b", "c"] {
            write(&mut up, byte).await;
            read_to(&mut client, byte).await;
        }
    });
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
