//! Connections of HTTP/1 whose clients are silent: they rest, and nothing that a client can see depends on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Shutdown;
use std::pin::pin;
use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::drains::is_answered_in_a_drain;
use super::openings::with_tls;
use super::support::PATIENCE;
use super::support::tls::{Authority, TlsClient};
use super::support::wire::Wire;
use super::*;
use crate::server::client_stream::ClientStream;
use crate::server::http1::{self, Http1};
use crate::server::stall::Activity;
use crate::server::tunnel::Scratch;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Longer than a connection is left awake.
const SILENCE: Duration = Duration::from_secs(2);
const START: Timestamp = Timestamp::from_secs(1000);

/// What a client has sent, and what it got; how often its socket was waited for without a read.
#[derive(Clone, Default)]
struct Socket {
    sent: Rc<RefCell<VecDeque<&'static str>>>,
    got: Rc<RefCell<Vec<u8>>>,
    waits: Rc<Cell<usize>>,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some(bytes) = self.sent.borrow_mut().pop_front() else { return Poll::Pending };
        buf.put_slice(bytes.as_bytes());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.got.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ClientStream for Socket {
    fn reset_on_close(&self) {}

    fn keep_alive(&self) {}

    fn has_left(&self) -> bool {
        false
    }

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.waits.update(|waits| waits + 1);
        if self.sent.borrow().is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// Serves a connection of a worker's.
fn serve<'a>(
    http1: &'a Http1,
    scratch: &'a Scratch,
    socket: &Socket,
    activity: &Rc<Activity>,
) -> impl Future<Output = ()> + use<'a> {
    let signals = Signals {
        entered: Arc::new(Semaphore::new(0)),
        released: Arc::new(Semaphore::new(0)),
        upstream: None,
        asked: Arc::default(),
        blocking: Arc::default(),
    };
    let (service, peer) = (Rc::new(Tiny { worker: 0, signals }), Peer::at(None));
    http1::serve(http1, socket.clone(), &peer, None, service, Rc::clone(activity), scratch)
}

/// Gives `test` a connection's socket, and what lets so much time pass, a sweep look and the task run.
fn with_connection(test: impl FnOnce(&Socket, &mut dyn FnMut(Duration))) {
    let (socket, now) = (Socket::default(), Rc::new(Cell::new(START)));
    let activity = Rc::new(Activity::new(Rc::clone(&now)));
    let (http1, scratch) = (Http1::new(64 * 1024, 100), Scratch::default());
    let mut serving = pin!(serve(&http1, &scratch, &socket, &activity));
    let mut pass = |time| {
        now.set(now.get() + time);
        activity.rest_if_silent();
        assert!(serving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    };
    pass(Duration::ZERO);
    test(&socket, &mut pass);
}

impl Socket {
    fn sends(&self, bytes: &'static str) {
        self.sent.borrow_mut().push_back(bytes);
    }

    fn answers(&self) -> usize {
        let got = String::from_utf8(self.got.borrow().clone()).unwrap();
        assert_eq!(got.matches("HTTP/1.1 ").count(), got.matches("HTTP/1.1 200 ").count(), "{got}");
        got.matches("HTTP/1.1 ").count()
    }
}

#[test]
fn a_silent_connection_rests_until_something_comes() {
    with_connection(|socket, pass| {
        socket.sends(GET);
        pass(Duration::ZERO);
        pass(Duration::from_secs(1));
        assert_eq!((socket.answers(), socket.waits.get()), (1, 0), "it is in use");
        pass(Duration::from_secs(1));
        assert_eq!(socket.waits.get(), 1, "it rests");
        pass(Duration::from_secs(10));
        assert_eq!(socket.waits.get(), 2, "it still does");
        socket.sends("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        pass(Duration::from_secs(1));
        assert_eq!((socket.answers(), socket.waits.get()), (3, 3));
        pass(Duration::from_secs(1));
        assert_eq!(socket.waits.get(), 3, "it is in use again");
        pass(SILENCE);
        assert_eq!(socket.waits.get(), 4, "it rests again");
    });
}

#[test]
fn a_connection_that_never_said_anything_rests_too() {
    with_connection(|socket, pass| {
        pass(SILENCE);
        assert_eq!(socket.waits.get(), 1);
        socket.sends(GET);
        pass(Duration::ZERO);
        assert_eq!(socket.answers(), 1);
    });
}

#[test]
fn no_connection_rests_that_holds_a_part_of_a_request() {
    for (first, then) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", "TP/1.1\r\nHost: a\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n\r", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET / HTTP",
            "/1.1\r\nHost: a\r\n\r\n",
        ),
    ] {
        with_connection(|socket, pass| {
            socket.sends(first);
            pass(Duration::ZERO);
            pass(SILENCE);
            assert_eq!((socket.answers(), socket.waits.get()), (1, 0), "{first}");
            socket.sends(then);
            pass(Duration::ZERO);
            assert_eq!(socket.answers(), 2, "{first}");
        });
    }
}

/// Runs `test` with a listener without TLS and one with it. It is given how to connect.
fn over_both(change: impl Fn(&mut Settings), test: impl Fn(Running, &dyn Fn(SocketAddr) -> Wire)) {
    let mut plain = settings(1);
    // The sweep shows by it that it has been.
    plain.limits.first_byte = SILENCE / 2;
    change(&mut plain);
    test(Running::with(&plain, None), &Wire::connect);
    let authority = Authority::new();
    let (_folder, with_tls) = with_tls(&authority, |_| tls::ClientAuth::None);
    let client = TlsClient::trusting(&authority);
    let with_tls = Settings { listen: with_tls.listen, tls: with_tls.tls, ..plain };
    test(Running::with(&with_tls, None), &|address| client.wire(address, "wiki.test"));
}

/// All connections that are silent rest now.
fn all_rest(server: &Running, connect: &dyn Fn(SocketAddr) -> Wire) {
    all_rest_for(SILENCE, server, connect);
}

fn all_rest_for(time: Duration, server: &Running, connect: &dyn Fn(SocketAddr) -> Wire) {
    let mut silent = connect(server.address);
    answered(&mut connect(server.address), 1);
    server.clock.advance(time);
    assert!(silent.is_closed_by_peer());
    // All that the sweep woke have had their turn when this is answered.
    answered(&mut connect(server.address), 1);
}

fn answered(wire: &mut Wire, times: usize) {
    wire.send(GET.repeat(times));
    for _ in 0..times {
        assert_eq!(wire.receive().unwrap().text(), "hello");
    }
}

#[test]
fn a_resting_connection_answers_again_and_again() {
    over_both(
        |_| {},
        |server, connect| {
            let mut client = connect(server.address);
            answered(&mut client, 1);
            for times in [1, 2, 3] {
                all_rest(&server, connect);
                answered(&mut client, times);
            }
        },
    );
}

#[test]
fn a_resting_connection_ends_at_its_time_and_a_head_that_comes_then_has_its_own() {
    let limits = |settings: &mut Settings| {
        settings.limits.idle = Duration::from_secs(60);
        settings.limits.head = Duration::from_secs(20);
    };
    over_both(limits, |server, connect| {
        let (mut silent, mut dripping) = (connect(server.address), connect(server.address));
        answered(&mut silent, 1);
        answered(&mut dripping, 1);
        all_rest_for(Duration::from_secs(40), &server, connect);
        dripping.send("GET / HT");
        answered(&mut connect(server.address), 1);
        answered(&mut silent, 1);
        server.clock.advance(Duration::from_secs(21));
        assert!(dripping.is_closed_by_peer());
        answered(&mut silent, 1);
        all_rest(&server, connect);
        server.clock.advance(Duration::from_secs(59));
        assert!(silent.is_closed_by_peer());
    });
}

#[test]
fn a_resting_connection_ends_with_its_client_and_with_a_drain() {
    // Where one has gone there is a place.
    let one = |settings: &mut Settings| settings.caps.connections = 4;
    over_both(one, |server, connect| {
        let (mut stays, mut leaves) = (connect(server.address), connect(server.address));
        answered(&mut stays, 1);
        answered(&mut leaves, 1);
        all_rest(&server, connect);
        drop(leaves);
        all_rest(&server, connect);
        let report = server.drain(PATIENCE);
        assert_eq!((report.finished, report.cut), (0, 0));
        assert!(stays.is_closed_by_peer());
    });
}

#[test]
fn a_client_that_says_that_it_has_done_is_answered_by_the_end() {
    let mut settings = settings(1);
    settings.limits.first_byte = SILENCE / 2;
    let server = Running::with(&settings, None);
    let mut client = server.client();
    client.get("/");
    all_rest(&server, &Wire::connect);
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), (String::new(), false));
}

#[test]
fn a_client_at_rest_that_never_asked_and_asks_while_a_drain_begins_is_answered() {
    let mut settings = settings(1);
    // The sweep shows by it that it has been.
    settings.limits.idle = SILENCE / 2;
    let server = Running::with(&settings, None);
    let (mut idle, fresh) = (server.client(), server.client());
    idle.get("/");
    server.clock.advance(SILENCE);
    idle.rest();
    let mut known = server.client();
    known.get("/");
    is_answered_in_a_drain(server, known, fresh);
}

#[test]
fn a_record_of_tls_of_which_half_has_come_keeps_no_connection_from_its_rest_nor_from_its_answer() {
    let authority = Authority::new();
    let (_folder, mut settings) = with_tls(&authority, |_| tls::ClientAuth::None);
    settings.limits.first_byte = SILENCE / 2;
    let client = TlsClient::trusting(&authority);
    let server = Running::with(&settings, None);
    let mut stream = client.connect(server.address, "wiki.test").unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..count]);
    }
    let mut record = Vec::new();
    stream.conn.writer().write_all(GET.as_bytes()).unwrap();
    stream.conn.write_tls(&mut record).unwrap();
    let (first, second) = record.split_at(record.len() / 2);
    stream.sock.write_all(first).unwrap();
    all_rest(&server, &|address| client.wire(address, "wiki.test"));
    stream.sock.write_all(second).unwrap();
    assert_eq!(Wire::over(stream).receive().unwrap().text(), "hello");
}

#[test]
fn where_very_many_are_awake_one_rests_as_soon_as_it_is_answered() {
    let now = Rc::new(Cell::new(START));
    let (http1, scratch) = (Http1::new(64 * 1024, 100), Scratch::default());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut kept = Vec::new();
    let mut answered_and_resting = || {
        let (socket, activity) = (Socket::default(), Rc::new(Activity::new(Rc::clone(&now))));
        let mut serving = Box::pin(serve(&http1, &scratch, &socket, &activity));
        socket.sends(GET);
        assert!(serving.as_mut().poll(cx).is_pending());
        assert_eq!(socket.answers(), 1);
        kept.push(serving);
        socket.waits.get() > 0
    };
    assert_eq!((0..600).map(|_| answered_and_resting()).filter(|rests| *rests).count(), 600 - 512);
    kept.truncate(100);
    let (socket, activity) = (Socket::default(), Rc::new(Activity::new(Rc::clone(&now))));
    let mut serving = pin!(serve(&http1, &scratch, &socket, &activity));
    assert!(serving.as_mut().poll(cx).is_pending());
    assert_eq!(socket.waits.get(), 0, "there is room again");
}

#[test]
fn where_very_many_are_awake_all_are_answered() {
    let server = Running::one();
    let mut clients: Vec<_> = (0..600).map(|_| Wire::connect(server.address)).collect();
    for times in [1, 2, 1] {
        for client in &mut clients {
            client.send(GET.repeat(times));
        }
        for client in &mut clients {
            for _ in 0..times {
                assert_eq!(client.receive().unwrap().text(), "hello");
            }
        }
    }
}
