//! Upstreams that speak HTTP/2.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

use super::schemes::{Certified, https};
use super::*;

type Received = (Request<RecvStream>, SendResponse<Bytes>);

/// Accepts one HTTP/2 connection that allows `streams` at a time, and hands its requests over.
async fn accept(listener: &TcpListener, streams: u32) -> mpsc::UnboundedReceiver<Received> {
    let (stream, _) = listener.accept().await.unwrap();
    serve(stream, streams).await
}

async fn serve<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static>(
    stream: T,
    streams: u32,
) -> mpsc::UnboundedReceiver<Received> {
    let mut connection =
        server::Builder::new().max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await.unwrap();
    let (hand_over, received) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        while let Some(Ok(request)) = connection.accept().await {
            if hand_over.send(request).is_err() {
                connection.graceful_shutdown();
            }
        }
    });
    received
}

fn respond(mut answer: SendResponse<Bytes>, body: &'static str) {
    let mut stream = answer.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

fn h2c(address: std::net::SocketAddr) -> GroupSettings {
    GroupSettings::single(UpstreamAddress { scheme: Scheme::H2c, ..http(address) })
}

const KEPT: &str = "GET /a%2fb?c=%20 HTTP/1.1\r\nHost: wiki.test\r\n\r\n";

#[test]
fn requests_share_one_connection_and_the_host_becomes_the_authority() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let mut clients = [front.client().await, front.client().await, front.client().await];
        for client in &mut clients {
            write(client, KEPT).await;
        }
        let mut received = accept(&listener, 100).await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            let (request, answer) = received.recv().await.unwrap();
            assert_eq!(request.uri().to_string(), "http://wiki.test/a%2fb?c=%20");
            assert!(request.headers().get("host").is_none() && request.headers().get("connection").is_none());
            answers.push(answer);
        }
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 2, in_use: 3 });
        for answer in answers {
            respond(answer, "hello");
        }
        for client in &mut clients {
            read_to(client, "hello\r\n0\r\n\r\n").await;
        }
        assert_eq!(front.pool.counters().in_use, 0);
    });
}

#[test]
fn alpn_chooses_http2_where_the_upstream_offers_it() {
    local(async {
        let (own, (listener, address)) = (Certified::of("app.test"), upstream().await);
        let front = Front::of(https(address, &own, "app.test", None)).await;
        let acceptor = own.acceptor(&["h2", "http/1.1"], None);
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut received = serve(acceptor.accept(stream).await.unwrap(), 100).await;
            while let Some((request, answer)) = received.recv().await {
                assert_eq!(request.uri().scheme_str(), Some("https"));
                respond(answer, "hello");
            }
        });
        for _ in 0..3 {
            assert!(front.exchange(GET).await.contains("hello"));
        }
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 2, in_use: 0 });
    });
}

#[test]
fn no_more_streams_are_opened_than_the_upstream_allows() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        // The first exchange is over only when the upstream's settings have been seen.
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let mut first = accept(&listener, 1).await;
        respond(first.recv().await.unwrap().1, "hello");
        read_to(&mut client, "hello\r\n0\r\n\r\n").await;
        let mut other = front.client().await;
        write(&mut client, KEPT).await;
        let (_, held) = first.recv().await.unwrap();
        write(&mut other, KEPT).await;
        let mut second = accept(&listener, 1).await;
        respond(second.recv().await.unwrap().1, "second");
        read_to(&mut other, "second\r\n0\r\n\r\n").await;
        respond(held, "first");
        read_to(&mut client, "first\r\n0\r\n\r\n").await;
        assert_eq!(front.pool.counters().opened, 2);
    });
}

#[test]
fn a_connection_that_says_goaway_finishes_its_streams_and_takes_no_more() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = server::handshake(stream).await.unwrap();
        let (_, held) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        tokio::task::spawn_local(async move { while connection.accept().await.is_some() {} });
        // Until the GOAWAY has arrived a request may still go to the old connection, and is then sent on the new one.
        let mut other = front.client().await;
        write(&mut other, KEPT).await;
        let mut fresh = accept(&listener, 100).await;
        respond(fresh.recv().await.unwrap().1, "fresh");
        read_to(&mut other, "fresh\r\n0\r\n\r\n").await;
        respond(held, "old");
        read_to(&mut client, "old\r\n0\r\n\r\n").await;
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time_and_one_with_a_stream_is_not() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let mut received = accept(&listener, 100).await;
        let (_, held) = received.recv().await.unwrap();
        front.pass_time(Duration::from_secs(31));
        respond(held, "hello");
        read_to(&mut client, "hello\r\n0\r\n\r\n").await;
        front.pass_time(Duration::from_secs(29));
        write(&mut client, KEPT).await;
        respond(received.recv().await.unwrap().1, "again");
        read_to(&mut client, "again\r\n0\r\n\r\n").await;
        front.pass_time(Duration::from_secs(31));
        assert!(received.recv().await.is_none(), "the connection is gone");
    });
}

#[test]
fn a_stream_that_is_reset_is_502_before_the_response_and_an_abort_within_it() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let mut received = accept(&listener, 100).await;
        received.recv().await.unwrap().1.send_reset(Reason::INTERNAL_ERROR);
        assert_eq!(front.outcome().await, "upstream_closed");
        read_to(&mut client, "\r\n\r\n").await;

        write(&mut client, KEPT).await;
        let (_, mut answer) = received.recv().await.unwrap();
        let mut stream = answer.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        read_to(&mut client, "half\r\n").await;
        stream.send_reset(Reason::INTERNAL_ERROR);
        let mut rest = String::new();
        let _ = client.read_to_string(&mut rest).await;
        assert_eq!(rest, "", "never a regular end");
        assert_eq!(front.pool.counters().opened, 1, "the others go on");
    });
}

#[test]
fn a_client_that_vanishes_resets_its_stream_alone() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let (client, mut stays) = (front.client().await, front.client().await);
        let mut client = client;
        write(&mut client, KEPT).await;
        let mut received = accept(&listener, 100).await;
        let (_, mut left) = received.recv().await.unwrap();
        write(&mut stays, KEPT).await;
        let (_, held) = received.recv().await.unwrap();
        drop(client);
        let reset = std::future::poll_fn(|cx| left.poll_reset(cx)).await.unwrap();
        assert_eq!(reset, Reason::CANCEL);
        respond(held, "hello");
        read_to(&mut stays, "hello\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_grpc_exchange_has_its_trailers_both_ways_and_no_identity_among_them() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        let seen = Rc::new(RefCell::new(HeaderMap::new()));
        let told = seen.clone();
        tokio::task::spawn_local(async move {
            let mut received = accept(&listener, 100).await;
            let (mut request, mut answer) = received.recv().await.unwrap();
            assert_eq!(request.headers().get("te").unwrap(), "trailers");
            while let Some(data) = request.body_mut().data().await {
                let data = data.unwrap();
                request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            }
            *told.borrow_mut() = request.body_mut().trailers().await.unwrap().unwrap_or_default();
            let head = Response::builder().header("trailer", "grpc-status").body(()).unwrap();
            let mut stream = answer.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"reply"), false).unwrap();
            let fields = [("grpc-status", "0"), ("set-cookie", "a=b")];
            let trailers = fields.map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap()));
            stream.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
            received.recv().await;
        });
        write(
            &mut client,
            "POST /pkg.Service/Call HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Checksum, Remote-User\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nask\r\n0\r\nX-Checksum: 1\r\nRemote-User: root\r\nContent-Length: 7\r\n\r\n",
        )
        .await;
        let answer = read_to(&mut client, "reply\r\n0\r\ngrpc-status: 0\r\n\r\n").await;
        assert!(!answer.contains("set-cookie"), "{answer}");
        let seen: Vec<_> = seen.borrow().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(seen, ["x-checksum"]);
    });
}

#[test]
fn two_lengths_in_a_response_by_http2_are_502() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let mut received = accept(&listener, 100).await;
        let (_, mut answer) = received.recv().await.unwrap();
        let head =
            Response::builder().header("content-length", "5").header("content-length", "6").body(()).unwrap();
        let _ = answer.send_response(head, false);
        assert!(front.outcome().await.starts_with("upstream_"));
        assert!(read_to(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 502"));
    });
}

#[test]
fn a_client_that_takes_nothing_does_not_keep_its_stream() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let mut received = accept(&listener, 100).await;
        let (_, mut answer) = received.recv().await.unwrap();
        let mut stream = answer.send_response(Response::new(()), false).unwrap();
        let block = Bytes::from(vec![b'x'; 1 << 16]);
        // Until all buffers on the way are full, and no room comes any more.
        loop {
            stream.reserve_capacity(block.len());
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            match tokio::time::timeout(Duration::from_millis(200), room).await {
                Ok(room) => {
                    let room = room.unwrap().unwrap();
                    stream.send_data(block.slice(..room.min(block.len())), false).unwrap();
                }
                Err(_) => break,
            }
        }
        front.pass_time(Duration::from_secs(601));
        let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
        assert_eq!(reset, Reason::CANCEL);
    });
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_found_by_ping() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = server::handshake(stream).await.unwrap();
        let _request = connection.accept().await.unwrap().unwrap();
        // From here on nobody reads or answers at the upstream, and time passes as fast as it can.
        tokio::time::pause();
        assert_eq!(front.outcome().await, "upstream_closed");
        tokio::time::resume();
        assert!(read_to(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 502"));
    });
}

#[test]
fn an_upload_that_its_client_breaks_is_no_failure_of_the_upstream() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::of(h2c(address)).await;
        let mut client = front.client().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            .await;
        let mut received = accept(&listener, 100).await;
        let _request = received.recv().await.unwrap();
        write(&mut client, "+1\r\nx\r\n0\r\n\r\n").await;
        assert_eq!(front.outcome().await, "request_body");
        assert_eq!(front.states()[0].failures, 0);
    });
}
