//! After a 101: bytes, half-closes and aborts go through both ways, and a drain, a panic and a stall end what has to end.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::openings::with_tls;
use super::support::tls::{Authority, TlsClient, read_to_end};
use super::*;

/// The upstream's side, which resets when it is dropped with its writing side open, as the contract asks.
pub(super) struct Upstream {
    stream: tokio::net::TcpStream,
    ended: bool,
    panics: bool,
}

impl Upstream {
    pub(super) fn new(stream: tokio::net::TcpStream, panics: bool) -> Self {
        Self { stream, ended: false, panics }
    }
}

impl AsyncRead for Upstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        assert!(!self.panics || polled.is_pending(), "on the first bytes");
        polled
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// A server, and the listener that its tunnels lead to.
pub(super) struct Rig {
    pub(super) server: Running,
    upstream: TcpListener,
}

const UPGRADE: &str = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = settings(1);
        change(&mut settings);
        let server = Running::with(&settings, Some(upstream.local_addr().unwrap()));
        Self { server, upstream }
    }

    /// The upstream's end of the tunnel that was opened last.
    pub(super) fn accept(&self) -> Client {
        let upstream = self.upstream.accept().unwrap().0;
        upstream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(upstream)
    }

    /// A client whose 101 has come, and the upstream's end.
    fn open(&self) -> (Client, Client) {
        self.open_with("")
    }

    /// The same, the client having sent `early` right behind its request.
    fn open_with(&self, early: &str) -> (Client, Client) {
        let mut client = self.server.client();
        client.send(&format!("{UPGRADE}{early}"));
        let upstream = self.accept();
        let head = client.up_to("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        (client, upstream)
    }
}

impl Client {
    pub(super) fn up_to(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "after {:?}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    pub(super) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn after_a_101_bytes_go_both_ways_and_heads_are_no_longer_read() {
    let rig = Rig::new();
    let (mut client, mut upstream) = rig.open();
    let head = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    for text in ["hello", head, "\r\n\r\n"] {
        client.send(text);
        assert_eq!(upstream.up_to(text), text);
        upstream.send(text);
        assert_eq!(client.up_to(text), text);
    }
}

#[test]
fn what_a_client_sent_before_the_101_comes_first_out_of_the_tunnel() {
    let rig = Rig::new();
    let (mut client, mut upstream) = rig.open_with("early");
    client.send(" and late");
    assert_eq!(upstream.up_to("late"), "early and late");
}

#[test]
fn much_more_than_any_buffer_goes_through_unchanged_both_ways_at_once() {
    let rig = Rig::new();
    let (client, upstream) = rig.open();
    let pattern: Vec<u8> = (0..16_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    let ends = [client.0, upstream.0].map(|end| {
        let (mut writer, pattern) = (end.try_clone().unwrap(), pattern.clone());
        std::thread::spawn(move || {
            writer.write_all(&pattern).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        end
    });
    for mut end in ends {
        let mut seen = Vec::new();
        end.read_to_end(&mut seen).unwrap();
        assert!(seen == pattern, "{} bytes", seen.len());
    }
}

#[test]
fn the_end_of_one_way_is_passed_on_and_leaves_the_other_open() {
    let rig = Rig::new();
    for from_client in [true, false] {
        let (client, upstream) = rig.open();
        let (mut one, mut other) = if from_client { (client, upstream) } else { (upstream, client) };
        one.send("last");
        one.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(other.rest(), ("last".into(), false));
        other.send("still here");
        assert_eq!(one.up_to("here"), "still here");
        drop(other);
        assert_eq!(one.rest(), (String::new(), false));
    }
}

#[test]
fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let rig = Rig::new();
    let (client, mut upstream) = rig.open();
    client.reset();
    assert!(upstream.rest().1, "the upstream saw a regular end");
    let (mut client, upstream) = rig.open();
    upstream.reset();
    assert!(client.rest().1, "the client saw a regular end");
}

#[test]
fn a_panic_within_a_tunnel_ends_it_alone() {
    let rig = Rig::new();
    let (mut other, mut others) = rig.open();
    let mut client = rig.server.client();
    client.send(&UPGRADE.replace("/tunnel", "/panicking-tunnel"));
    let mut upstream = Client(rig.upstream.accept().unwrap().0);
    client.up_to("\r\n\r\n");
    upstream.send("x");
    assert!(client.rest().1, "the client saw a regular end");
    other.send("fine");
    assert_eq!(others.up_to("fine"), "fine");
    assert!(rig.server.client().get("/").contains("hello"));
}

#[test]
fn a_drain_leaves_tunnels_open_for_the_grace_period_and_then_cuts_them() {
    let rig = Rig::new();
    let (mut client, mut upstream) = rig.open();
    let mut idle = rig.server.client();
    idle.get("/");
    let Rig { server, .. } = rig;
    let (done, drained) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(server.drain(Duration::from_millis(500))).unwrap());
    // Closed by the drain, so that it has begun.
    idle.rest();
    client.send("in time");
    assert_eq!(upstream.up_to("time"), "in time");
    assert!(client.rest().1 && upstream.rest().1, "a cut must not look like a regular end");
    assert_eq!(drained.recv().unwrap(), DrainReport { finished: 0, cut: 1 });
}

#[test]
fn a_tunnel_may_rest_for_ever_unless_a_limit_is_set() {
    let rig = Rig::new();
    let (mut client, mut upstream) = rig.open();
    let mut silent = rig.server.client();
    rig.server.client().get("/");
    rig.server.clock.advance(Duration::from_secs(1_000_000));
    // Its end shows that the sweep has been.
    silent.rest();
    client.send("still here");
    upstream.up_to("here");

    let limited = Rig::with(|settings| settings.limits.tunnel = Some(Duration::from_secs(100)));
    let (mut client, mut upstream) = limited.open();
    limited.server.client().get("/");
    limited.server.clock.advance(Duration::from_secs(101));
    assert!(client.rest().1 && upstream.rest().1);
}

#[test]
fn a_101_without_a_tunnel_is_a_failure_of_ours() {
    let rig = Rig::new();
    let mut client = rig.server.client();
    client.send(&UPGRADE.replace("/tunnel", "/101"));
    assert!(client.rest().0.starts_with("HTTP/1.1 500"));
}

#[test]
fn a_request_that_asks_to_upgrade_in_vain_is_answered_as_any_other_and_its_connection_closes_when_asked() {
    let rig = Rig::new();
    let mut client = rig.server.client();
    client.send(&UPGRADE.replace("/tunnel", "/"));
    assert!(client.response().contains("hello"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: test\r\n\r\n");
    assert!(client.response().contains("hello"));
    assert_eq!(client.rest(), (String::new(), false));
}

#[test]
fn a_connection_over_tls_that_once_asked_to_upgrade_in_vain_still_ends_with_a_word() {
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |_| tls::ClientAuth::None);
    let server = Running::with(&settings, None);
    let mut client = TlsClient::trusting(&authority).connect(server.address, "wiki.test").unwrap();
    let upgrade = UPGRADE.replace("/tunnel", "/");
    client
        .write_all(format!("{upgrade}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let answers = read_to_end(&mut client).expect("the alert that says that nothing was cut off");
    assert_eq!(String::from_utf8(answers).unwrap().matches("hello").count(), 2);
}

#[test]
fn the_rest_of_a_request_body_never_passes_for_bytes_of_the_tunnel() {
    let rig = Rig::new();
    let mut client = rig.server.client();
    let upgrade = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\nabc");
    client.send(&upgrade);
    let (seen, _) = client.rest();
    assert!(seen.starts_with("HTTP/1.1 500"), "{seen}");
    let mut upstream = Client(rig.upstream.accept().unwrap().0);
    assert_eq!(upstream.rest().0, "");
}
