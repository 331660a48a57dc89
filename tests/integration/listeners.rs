//! What listeners do besides plain HTTP/1.1: redirects, PROXY headers, HTTP/2 without TLS, sockets handed over, caps.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use ::h2::Reason;
use http::Method;

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::h2::{self, Http2Client};
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::TestUpstream;
use crate::support::wire::Wire;

fn public(upstream: &TestUpstream, host: &str) -> Setup {
    let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
    Setup::routes(format!("[[routes]]\n{host}upstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

fn redirecting(upstream: &TestUpstream, more: &str) -> TestGateway {
    let listen =
        format!("[\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", redirect_to_https = true{more} }}]");
    public(upstream, "wiki.test").listen(&listen).start()
}

#[test]
fn a_redirecting_listener_sends_every_request_to_the_same_place_by_https() {
    let upstream = TestUpstream::start();
    let gateway = redirecting(&upstream, "");
    for (request, location) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: Wiki.Test:8080\r\n\r\n", "https://wiki.test/a?b=c"),
        ("POST / HTTP/1.1\r\nHost: wiki.test\r\nContent-Length: 3\r\n\r\nabc", "https://wiki.test/"),
        ("GET //evil.test/ HTTP/1.1\r\nHost: wiki.test\r\n\r\n", "https://wiki.test//evil.test/"),
        ("GET /_auth/login HTTP/1.1\r\nHost: wiki.test\r\n\r\n", "https://wiki.test/_auth/login"),
        ("OPTIONS * HTTP/1.1\r\nHost: wiki.test\r\n\r\n", "https://wiki.test/"),
    ] {
        let answer = Wire::connect(gateway.listener(1)).send(request).receive().unwrap();
        assert_eq!((answer.status, answer.location()), (308, location), "{request}");
        assert!(answer.header("strict-transport-security").is_none());
    }
    upstream.saw_nothing();
    // The plain listener beside it serves.
    let mut wire = gateway.wire();
    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: wiki.test\r\n\r\n").receive().unwrap().status, 200);
}

#[test]
fn a_redirecting_listener_sends_nobody_to_a_host_that_no_route_serves() {
    let upstream = TestUpstream::start();
    let gateway = redirecting(&upstream, ", https_port = 8443");
    for (host, status) in [
        ("evil.test", 404),
        ("wiki.test.evil.test", 404),
        ("wiki.test@evil.test", 400),
        ("a b", 400),
        ("", 400),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = Wire::connect(gateway.listener(1)).send(request).receive().unwrap();
        assert_eq!(answer.status, status, "{host}");
        assert!(answer.header("location").is_none());
    }
    let mut wire = Wire::connect(gateway.listener(1));
    let answer = wire.send("GET / HTTP/1.1\r\nHost: wiki.test\r\n\r\n").receive().unwrap();
    assert_eq!(answer.location(), "https://wiki.test:8443/");
}

fn behind_a_proxy(upstream: &TestUpstream, listener: &str, trusted: &str) -> Setup {
    public(upstream, "")
        .listen(&format!("[{{ address = \"127.0.0.1:0\", proxy_protocol = true{listener} }}]"))
        .server(&format!("trusted_proxies = [\"{trusted}\"]\n"))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.test\r\n\r\n";
const V1: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n";

#[test]
fn the_address_in_a_proxy_header_is_the_clients() {
    let upstream = TestUpstream::start();
    let gateway = behind_a_proxy(&upstream, "", "127.0.0.1/32").start();
    let mut wire = gateway.wire();
    for begin in [V1, ""] {
        // From an address that is no trusted proxy, so what it forwards does not count.
        let forged = "GET / HTTP/1.1\r\nHost: wiki.test\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";
        assert_eq!(wire.send(format!("{begin}{forged}")).receive().unwrap().status, 200);
        assert_eq!(upstream.next().header("x-forwarded-for"), Some("192.0.2.7"));
    }
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    v2.extend("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    v2.extend(Ipv6Addr::LOCALHOST.octets());
    v2.extend([0xdc, 4, 1, 187]);
    v2.extend(GET.bytes());
    // In two parts, within the header.
    let mut wire = gateway.wire();
    wire.send(&v2[..20]).send(&v2[20..]);
    assert_eq!(wire.receive().unwrap().status, 200);
    assert_eq!(upstream.next().header("x-forwarded-for"), Some("2001:db8::7"));
}

#[test]
fn a_proxy_that_speaks_for_itself_keeps_its_own_address() {
    let upstream = TestUpstream::start();
    let gateway = behind_a_proxy(&upstream, "", "127.0.0.1/32").start();
    let mut wire = gateway.wire();
    assert_eq!(wire.send(format!("PROXY UNKNOWN\r\n{GET}")).receive().unwrap().status, 200);
    assert_eq!(upstream.next().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn nothing_that_comes_behind_a_proxy_header_without_an_address_counts_as_the_proxys_word() {
    let upstream = TestUpstream::start();
    let gateway = behind_a_proxy(&upstream, "", "127.0.0.1/32").start();
    let forged = "GET / HTTP/1.1\r\nHost: wiki.test\r\nX-Forwarded-For: 198.51.100.1\r\n\
                  X-Forwarded-Proto: https\r\nX-Request-Id: forged\r\n\r\n";
    // Of unknown kind, of a unix socket, and for the proxy itself.
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'/'; 216]].concat();
    for header in [&b"PROXY UNKNOWN\r\n"[..], &unix, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut wire = gateway.wire();
        assert_eq!(wire.send([header, forged.as_bytes()].concat()).receive().unwrap().status, 200);
        let seen = upstream.next();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
        assert_ne!(seen.header("x-request-id"), Some("forged"));
    }
}

#[test]
fn a_proxy_header_from_nobody_we_trust_and_a_broken_one_end_the_connection() {
    let upstream = TestUpstream::start();
    let stranger = behind_a_proxy(&upstream, "", "192.0.2.0/24").start();
    assert!(stranger.wire().try_send(format!("{V1}{GET}")).is_closed_by_peer());
    let gateway = behind_a_proxy(&upstream, "", "127.0.0.1/32").start();
    for broken in [GET, "PROXY TCP4 192.0.2.300 10.0.0.1 1 2\r\n", "PROXY nonsense and more of it\r\n"] {
        assert!(gateway.wire().try_send(format!("{broken}{GET}")).is_closed_by_peer(), "{broken}");
    }
    upstream.saw_nothing();
}

#[test]
fn a_proxy_header_comes_before_the_tls_handshake() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let setup = behind_a_proxy(&upstream, ", tls = true", "127.0.0.1/32");
    authority.issue(&["wiki.test"]).write(setup.folder.path(), "cert");
    let gateway = setup
        .sections("[tls]\ncertificates = [{ certificate = \"cert.pem\", key = \"cert.key\" }]\n")
        .start();
    let mut tcp = TcpStream::connect(gateway.address()).unwrap();
    tcp.write_all(V1.as_bytes()).unwrap();
    let mut wire = Wire::over(TlsClient::trusting(&authority).over(tcp, "wiki.test").unwrap());
    assert_eq!(wire.send(GET).receive().unwrap().status, 200);
    let seen = upstream.next();
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn http_2_without_tls_is_served_where_a_listener_says_so_and_nowhere_else() {
    let upstream = TestUpstream::start();
    let gateway =
        public(&upstream, "").listen(r#"["127.0.0.1:0", { address = "127.0.0.1:0", h2c = true }]"#).start();
    let mut client = Http2Client::with_prior_knowledge(gateway.listener(1));
    for _ in 0..2 {
        assert_eq!(client.get("http://wiki.test/", &[]).status, 200);
        assert_eq!(upstream.next().header("x-forwarded-proto"), Some("http"));
    }
    // HTTP/1.1 on the same listener, in one piece and byte by byte.
    let mut wire = Wire::connect(gateway.listener(1));
    assert_eq!(wire.send(GET).receive().unwrap().status, 200);
    for byte in "PROPFIND / HTTP/1.1\r\nHost: wiki.test\r\n\r\n".bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.receive().unwrap().status, 200);
    let mut early = Wire::connect(gateway.listener(1));
    for byte in GET.replace("GET", "PRINT").bytes() {
        early.send([byte]);
    }
    assert_eq!(early.receive().unwrap().status, 200);
    // A client of HTTP/2 gets nothing that it could take for a beginning of it.
    let mut plain = TcpStream::connect(gateway.address()).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let _ = plain.read_to_end(&mut seen);
    assert!(seen.is_empty() || seen.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&seen));
}

#[test]
fn a_listener_on_all_of_ipv6_takes_ipv4_as_well_and_sees_it_as_such() {
    let upstream = TestUpstream::start();
    let gateway = public(&upstream, "").listen(r#"["[::]:0"]"#).start();
    let port = gateway.address().port();
    for (address, seen) in [
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "127.0.0.1"),
        ((Ipv6Addr::LOCALHOST, port).into(), "::1"),
    ] {
        assert_eq!(Wire::connect(address).send(GET).receive().unwrap().status, 200);
        assert_eq!(upstream.next().header("x-forwarded-for"), Some(seen));
    }
}

#[test]
fn one_source_has_no_more_connections_than_its_cap_and_gets_them_back() {
    let upstream = TestUpstream::start();
    let gateway = public(&upstream, "").server("max_connections_per_source = 2\n").start();
    let mut open: Vec<Wire> = (0..2).map(|_| gateway.wire()).collect();
    for wire in &mut open {
        assert_eq!(wire.send(GET).receive().unwrap().status, 200);
    }
    assert!(gateway.wire().try_send(GET).is_closed_by_peer());
    open.clear();
    // The server learns of the close soon after.
    let deadline = std::time::Instant::now() + PATIENCE;
    while gateway.wire().try_send(GET).receive().is_none() {
        assert!(std::time::Instant::now() < deadline, "the places are never free again");
    }
}

#[test]
fn one_source_has_no_more_requests_over_http_2_at_a_time_than_its_cap_over_all_its_connections() {
    let upstream = TestUpstream::start();
    let gateway = public(&upstream, "")
        .server("max_connections_per_source = 3\nhttp2 = { max_concurrent_streams = 3 }\n")
        .listen(r#"[{ address = "127.0.0.1:0", h2c = true }]"#)
        .start();
    let address = gateway.address();
    let (mut one, mut other) =
        (Http2Client::with_prior_knowledge(address), Http2Client::with_prior_knowledge(address));
    let ask = |method| h2::request(method, "http://wiki.test/", &[]);
    let unfinished = [(); 2].map(|()| one.open(ask(Method::POST), false));
    assert_eq!(one.get("http://wiki.test/", &[]).status, 200, "behind it they have begun");
    // Nobody is shut out by a neighbour: the first of a connection is taken.
    let first = other.open(ask(Method::POST), false);
    let mut late = other.open(ask(Method::POST), false);
    late.send("a body that nobody wants", true);
    for refused in [other.open(ask(Method::GET), true), late] {
        // Whoever is refused so may send the request again.
        assert_eq!(refused.head().unwrap_err().reason(), Some(Reason::REFUSED_STREAM));
    }
    for mut request in unfinished.into_iter().chain([first]) {
        request.send("whole", true);
        assert_eq!(request.answer().status, 200);
    }
    assert_eq!(other.get("http://wiki.test/", &[]).status, 200, "there is room again");
    assert_eq!(upstream.so_far().len(), 5, "what is refused reaches no upstream");
}

#[test]
fn a_trusted_proxy_has_only_the_cap_of_all_connections() {
    let upstream = TestUpstream::start();
    let caps = "max_connections_per_source = 1\nmax_connections = 3\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let gateway = public(&upstream, "").server(caps).start();
    let mut open: Vec<Wire> = (0..3).map(|_| gateway.wire()).collect();
    for wire in &mut open {
        assert_eq!(wire.send(GET).receive().unwrap().status, 200);
    }
    assert!(gateway.wire().try_send(GET).is_closed_by_peer());
}

#[test]
fn sockets_handed_over_by_systemd_are_served_by_name_and_by_place() {
    let upstream = TestUpstream::start();
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let gateway = public(&upstream, "").start();
    gateway.change_config(|text| {
        text.replacen("[\"127.0.0.1:0\"]", "[\"systemd:web\", \"systemd:0\"]", 1)
            .replace("listen = \"127.0.0.1:0\"", "listen = false")
    });
    let (folder, _) = gateway.stop_keeping_state();
    // As systemd does it: descriptors from 3 on, and a name for each.
    let script = "exec 3<&0 4<&2 0</dev/null 2>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:web exec \"$0\" run -c \"$1\"";
    let mut child = Command::new("sh")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_fluidgate"),
            folder.path().join("gateway.toml").to_str().unwrap(),
        ])
        .stdin(Stdio::from(OwnedFd::from(first)))
        .stderr(Stdio::from(OwnedFd::from(second)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The sockets are open already: a connection waits until it is served.
    let answers =
        addresses.map(|address| Wire::connect(address).send(GET).receive().map(|answer| answer.status));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answers, [Some(200), Some(200)]);
}

#[test]
fn a_target_and_a_head_beyond_the_limits_are_told_apart() {
    let upstream = TestUpstream::start();
    let gateway = public(&upstream, "").server("max_uri = 1000\nmax_headers = 20\n").start();
    let get = |target: &str, fields: usize| {
        let fields: String = (0..fields).map(|n| format!("X-{n}: a\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: wiki.test\r\n{fields}\r\n");
        gateway.wire().send(request).receive().unwrap().status
    };
    let long = format!("/{}", "a".repeat(999));
    assert_eq!(get(&long, 19), 200);
    assert_eq!(get(&format!("{long}a"), 0), 414);
    assert_eq!(get("/", 20), 431);
    assert_eq!(get("/", 200), 431);
}
