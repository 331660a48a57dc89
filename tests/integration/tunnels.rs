//! Open WebSockets end to end (P3, S32): what passes, and what ends them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use http::Method;

use crate::support::PATIENCE;
use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::h2::{Http2Client, piece, request, rest};
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::websocket_proof;

const HOUR: Duration = Duration::from_secs(3600);
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// RFC 6455 section 1.3, for [`KEY`].
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An upstream whose connections the test holds in its hand.
struct Hand(TcpListener);

/// One of its connections, behind the request head.
struct Held {
    head: String,
    /// Of the key in the head.
    proof: String,
    stream: TcpStream,
}

impl Hand {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, its head in lower case.
    fn accept(&self) -> Held {
        let held = self.accept_as_sent();
        Held { head: held.head.to_lowercase(), ..held }
    }

    fn accept_as_sent(&self) -> Held {
        let (mut stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        Held { proof: websocket_proof(key.unwrap_or_default()), head, stream }
    }

    fn protecting(&self) -> Setup {
        Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\n", self.url()))
    }

    fn public(&self) -> Setup {
        Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", self.url()))
    }
}

impl Held {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Opens the WebSocket that was asked for.
    fn agree(&mut self, behind: &str) {
        self.switch(&self.proof.clone(), behind);
    }

    fn switch(&mut self, proof: &str, behind: &str) {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\nKeep-Alive: timeout=5\r\n\r\n{behind}"
        );
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    fn sends_nothing_for_now(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let read = self.stream.read(&mut [0]);
        assert!(read.is_err(), "{read:?} before the 101");
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

/// Sends a handshake with these fields and these bytes right behind it.
fn ask(address: SocketAddr, fields: &str, behind: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET /chat HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: chat\r\n{fields}\r\n{behind}"
    );
    client.write_all(head.as_bytes()).unwrap();
    client
}

fn head_of(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a whole answer");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn reads(stream: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

/// The stream ends or breaks within a second (the rest is for a machine that is busy with other tests).
fn closes(stream: &mut TcpStream) {
    let since = Instant::now();
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
}

fn session_fields(gateway: &TestGateway, browser: &TestBrowser) -> String {
    let (name, value) = browser.session_cookie().unwrap();
    format!("Cookie: {name}={value}\r\nOrigin: http://{}\r\n", gateway.address())
}

/// An open WebSocket of `browser`'s session: the client's side and the upstream's.
fn open(gateway: &TestGateway, upstream: &Hand, browser: &TestBrowser) -> (TcpStream, TcpStream) {
    let mut client = ask(gateway.address(), &session_fields(gateway, browser), "");
    let mut held = upstream.accept();
    held.agree("");
    assert!(head_of(&mut client).starts_with("http/1.1 101 "));
    (client, held.stream)
}

fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).unwrap();
    reads(to, text);
}

#[test]
fn nothing_of_the_client_is_forwarded_before_the_101_and_everything_after_it() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = ask(gateway.address(), "", "early");
    let mut held = upstream.accept();
    assert_eq!((held.field("upgrade"), held.field("connection")), (Some("websocket"), Some("upgrade")));
    held.sends_nothing_for_now();
    held.agree("first");
    let head = head_of(&mut client);
    for line in
        ["upgrade: websocket", "connection: upgrade", "sec-websocket-protocol: chat", "x-request-id: "]
    {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
    assert!(head.contains(&format!("sec-websocket-accept: {}", PROOF.to_lowercase())));
    assert!(!head.contains("keep-alive") && !head.contains("content-length"), "{head}");
    reads(&mut client, "first");
    reads(&mut held.stream, "early");
    for text in ["a", "bc"] {
        passes(&mut client, &mut held.stream, text);
        passes(&mut held.stream, &mut client, text);
    }
}

/// Whether the system looks after the peer of a silent connection between these two ports (proc_net_tcp(5): timer 02).
fn is_looked_after(own: SocketAddr, other: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends_with =
        |field: Option<&&str>, port: u16| field.is_some_and(|f| f.ends_with(&format!(":{port:04X}")));
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
        ends_with(fields.get(1), own.port())
            && ends_with(fields.get(2), other.port())
            && fields.get(5).is_some_and(|timer| timer.starts_with("02:"))
    })
}

#[test]
fn a_side_whose_machine_is_gone_is_found_out_however_silent_the_tunnel_is() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = ask(gateway.address(), "", "");
    let mut held = upstream.accept();
    held.agree("");
    assert!(head_of(&mut client).starts_with("http/1.1 101 "));
    passes(&mut client, &mut held.stream, "up");
    let ours = held.stream.peer_addr().unwrap();
    let (client, upstream) = (client.local_addr().unwrap(), held.stream.local_addr().unwrap());
    // Another timer runs until the last bytes are acknowledged.
    let since = Instant::now();
    while !(is_looked_after(gateway.address(), client) && is_looked_after(ours, upstream)) {
        assert!(since.elapsed() < PATIENCE, "nobody looks");
        std::thread::yield_now();
    }
}

#[test]
fn each_way_ends_on_its_own() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = ask(gateway.address(), "", "");
    let mut held = upstream.accept();
    held.agree("");
    head_of(&mut client);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(held.stream.read(&mut [0]).unwrap(), 0);
    passes(&mut held.stream, &mut client, "still");
    held.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    for from_client in [true, false] {
        let mut client = ask(gateway.address(), "", "");
        let mut held = upstream.accept();
        held.agree("");
        head_of(&mut client);
        let (one, mut other) = if from_client { (client, held.stream) } else { (held.stream, client) };
        socket2::SockRef::from(&one).set_linger(Some(Duration::ZERO)).unwrap();
        drop(one);
        let end = other.read(&mut [0]).expect_err("it saw a regular end");
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_logout_closes_both_sides_of_the_users_websockets_and_nobody_elses() {
    let upstream = Hand::start();
    let gateway = upstream.protecting().start();
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    ada.log_in("ada");
    bob.log_in("bob");
    let (mut adas, mut adas_app) = open(&gateway, &upstream, &ada);
    let (mut bobs, mut bobs_app) = open(&gateway, &upstream, &bob);
    passes(&mut adas, &mut adas_app, "hello");
    ada.log_out();
    closes(&mut adas);
    closes(&mut adas_app);
    passes(&mut bobs, &mut bobs_app, "still");
    passes(&mut bobs_app, &mut bobs, "here");
}

#[test]
fn a_client_that_reads_nothing_cannot_keep_the_upstreams_side_open() {
    let upstream = Hand::start();
    let gateway = upstream.protecting().start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (_client, mut app) = open(&gateway, &upstream, &ada);
    app.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until all the sockets between are full.
    while app.write_all(&[b'x'; 65536]).is_ok() {}
    ada.log_out();
    closes(&mut app);
}

#[test]
fn a_websocket_of_a_public_route_goes_on_after_a_logout() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (mut client, mut app) = open(&gateway, &upstream, &ada);
    ada.log_out();
    // Another route's tunnel would be cut by the same tick.
    assert_eq!(ada.fetch("/_auth/whoami").status, 401);
    passes(&mut client, &mut app, "still");
    passes(&mut app, &mut client, "here");
}

#[test]
fn what_the_client_sends_keeps_the_session_and_what_the_app_sends_does_not() {
    let upstream = Hand::start();
    let gateway = upstream.protecting().start();
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    ada.log_in("ada");
    bob.log_in("bob");
    let (mut adas, mut adas_app) = open(&gateway, &upstream, &ada);
    let (mut bobs, mut bobs_app) = open(&gateway, &upstream, &bob);
    gateway.advance(HOUR);
    passes(&mut adas, &mut adas_app, "typed");
    // The way back is looked at after that: the gateway has noted what was sent.
    passes(&mut adas_app, &mut adas, "seen");
    passes(&mut bobs_app, &mut bobs, "said by itself");
    gateway.advance(HOUR);
    closes(&mut bobs);
    closes(&mut bobs_app);
    passes(&mut adas, &mut adas_app, "typed again");
    assert_eq!(ada.fetch("/_auth/whoami").status, 200);
    gateway.advance(22 * HOUR);
    closes(&mut adas);
}

#[test]
fn a_route_whose_requests_are_no_activity_has_websockets_that_are_none() {
    let upstream = Hand::start();
    let setup = upstream.protecting();
    let routes = setup.routes.clone() + "counts_as_activity = false\n";
    let gateway = Setup { routes, ..setup }.start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (mut client, mut app) = open(&gateway, &upstream, &ada);
    gateway.advance(HOUR);
    passes(&mut client, &mut app, "ping");
    gateway.advance(HOUR);
    closes(&mut client);
}

#[test]
fn the_access_log_has_one_line_for_a_websocket_with_its_bytes_both_ways() {
    let upstream = Hand::start();
    let gateway = upstream.protecting().start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (mut cut, mut cut_app) = open(&gateway, &upstream, &ada);
    passes(&mut cut, &mut cut_app, "12345");
    passes(&mut cut_app, &mut cut, "123");
    ada.log_out();
    closes(&mut cut);
    ada.log_in("ada");
    let (client, mut app) = open(&gateway, &upstream, &ada);
    drop(client);
    closes(&mut app);
    drop(app);
    let log = gateway.stop_and_read("access.log");
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<_> = lines.filter(|line| line["path"] == "/chat").collect();
    assert_eq!(told.len(), 2, "{log}");
    // Two workers may write in either order.
    let (cut, left): (Vec<_>, Vec<_>) = told.iter().partition(|line| line["reason"] == "session_over");
    assert_eq!((cut.len(), &left[0]["reason"]), (1, &serde_json::Value::Null), "{log}");
    assert_eq!((&cut[0]["status"], &cut[0]["user"]), (&101.into(), &"ada".into()));
    assert_eq!((&cut[0]["bytes_in"], &cut[0]["bytes_out"]), (&5.into(), &3.into()));
}

#[test]
fn a_101_that_was_not_asked_for_is_502() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(client, "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\r\n", gateway.address()).unwrap();
    upstream.accept().switch(PROOF, "");
    assert!(head_of(&mut client).starts_with("http/1.1 502 "));
}

/// What answers with what a client chose, such as a page that fetches others, is no WebSocket: its server goes on reading requests.
#[test]
fn an_upstream_that_repeats_the_clients_own_proof_opens_nothing() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = ask(gateway.address(), "", "GET /secret HTTP/1.1\r\nRemote-User: root\r\n\r\n");
    let mut held = upstream.accept();
    held.switch(PROOF, "");
    assert!(head_of(&mut client).starts_with("http/1.1 502 "));
    assert!(matches!(held.stream.read(&mut [0; 64]), Ok(0) | Err(_)), "it read what came behind");
}

#[test]
fn a_websocket_without_a_key_is_an_ordinary_request() {
    let upstream = Hand::start();
    let gateway = upstream.public().start();
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    let head = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    write!(client, "GET / HTTP/1.1\r\nHost: {}\r\n{head}\r\n", gateway.address()).unwrap();
    assert_eq!(upstream.accept().field("upgrade"), None);
}

fn over_http_2(setup: Setup) -> (TestGateway, Http2Client) {
    let authority = Authority::new();
    let gateway = setup.tls(&authority, &["wiki.test"]).start();
    let client = TlsClient::trusting(&authority).http2(gateway.tls_address(), "wiki.test");
    (gateway, client)
}

fn connect(protocol: &'static str, fields: &[(&str, &str)]) -> http::Request<()> {
    let mut connect = request(Method::CONNECT, "https://wiki.test/chat", fields);
    connect.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    connect
}

#[test]
fn where_the_gateway_answers_by_itself_a_websocket_over_http_2_is_told_which_methods_there_are() {
    let (_gateway, mut client) = over_http_2(Setup::routes(
        "[[routes]]\naccess = \"public\"\nrespond = { status = 200, body = \"here\" }\n\
         [[routes]]\npath = \"/gone\"\naccess = \"public\"\nrespond = { status = 410 }\n",
    ));
    for (path, expected) in [("/", 405), ("/_auth/whoami", 405), ("/gone", 410)] {
        let mut connect = request(Method::CONNECT, &format!("https://wiki.test{path}"), &[]);
        connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let answer = client.open(connect, false).head().unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        assert_eq!(answer.headers().get("allow").is_some(), expected == 405, "{path}");
    }
}

#[test]
fn a_websocket_over_http_2_is_a_handshake_of_http_1_to_the_upstream() {
    let upstream = Hand::start();
    let (_gateway, mut client) = over_http_2(upstream.public());
    assert_eq!(client.get("https://wiki.test/_auth/whoami", &[]).status, 401);
    assert!(client.may_tunnel());
    let fields = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")];
    let asked = client.open(connect("websocket", &fields), false);
    let mut held = upstream.accept_as_sent();
    let original = held.head.clone();
    assert!(original.starts_with("GET /chat HTTP/1.1\r\n"), "{original}");
    let lower = original.to_lowercase();
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "host: wiki.test"]
    {
        assert!(lower.contains(&format!("\r\n{line}\r\n")), "{line}: {lower}");
    }
    let key = original.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    held.switch(&websocket_proof(key), "");
    let (answer, mut send) = asked.tunnel();
    assert_eq!(answer.status(), 200);
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    let mut receive = answer.into_body();
    send.send_data("ping".into(), false).unwrap();
    reads(&mut held.stream, "ping");
    held.stream.write_all(b"pong").unwrap();
    assert_eq!(piece(&mut receive).unwrap().unwrap(), "pong");
    held.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut receive).expect("a regular end"), b"");
}

#[test]
fn an_upstream_that_cannot_prove_the_handshake_opens_nothing_over_http_2() {
    let upstream = Hand::start();
    let (_gateway, mut client) = over_http_2(upstream.public());
    client.get("https://wiki.test/_auth/whoami", &[]);
    let asked = client.open(connect("websocket", &[]), false);
    upstream.accept().switch(PROOF, "");
    assert_eq!(asked.tunnel().0.status(), 502);
    // Any success would be an open tunnel to the client.
    let asked = client.open(connect("websocket", &[]), false);
    upstream.accept().stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    assert_eq!(asked.tunnel().0.status(), 502);
    let asked = client.open(connect("websocket", &[]), false);
    upstream.accept().stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
    assert_eq!(asked.tunnel().0.status(), 403);
}

#[test]
fn a_websocket_over_http_2_needs_a_session_and_a_page_of_the_host_and_other_protocols_are_501() {
    let upstream = Hand::start();
    let (_gateway, mut client) = over_http_2(upstream.protecting());
    let answered = |client: &mut Http2Client, protocol, fields: &[(&str, &str)]| {
        client.open(connect(protocol, fields), false).tunnel().0.status().as_u16()
    };
    client.get("https://wiki.test/_auth/whoami", &[]);
    assert_eq!(answered(&mut client, "websocket", &[]), 401);
    assert_eq!(answered(&mut client, "connect-udp", &[]), 501);
}
