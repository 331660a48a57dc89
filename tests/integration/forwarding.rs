//! What the upstream and the client get of each other (P2, P4, P14, P15).

use std::io::Write;

use crate::support::gateway::Setup;
use crate::support::upstream::TestUpstream;

fn open(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

#[test]
fn bodies_pass_both_ways_with_either_framing() {
    let upstream = TestUpstream::with(|request, stream| {
        let body = String::from_utf8_lossy(&request.body).to_uppercase();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .map(|()| true)
    });
    let gateway = open(&upstream).start();
    let host = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc"));
    assert_eq!(wire.receive().unwrap().text(), "ABC");
    wire.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
    assert_eq!(wire.receive().unwrap().text(), "ABCDE");
}

#[test]
fn hop_by_hop_fields_end_here_and_end_to_end_ones_pass() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\nETag: \"e\"\r\n\r\n",
    );
    let gateway = open(&upstream).start();
    let headers = [
        ("Connection", "x-mine, keep-alive"),
        ("X-Mine", "1"),
        ("Keep-Alive", "5"),
        ("Proxy-Authorization", "x"),
        ("TE", "gzip"),
        ("Upgrade", "h2c"),
        ("X-End", "1"),
        ("If-None-Match", "\"e\""),
        ("Authorization", "Bearer app"),
    ];
    let response = gateway.browser().request("GET", "/", &headers, b"");
    let seen = upstream.next();
    for name in ["x-mine", "keep-alive", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(
        (seen.header("x-end"), seen.header("if-none-match"), seen.header("authorization")),
        (Some("1"), Some("\"e\""), Some("Bearer app"))
    );
    assert_eq!(
        (response.header("x-hop"), response.header("keep-alive"), response.header("x-end")),
        (None, None, Some("2"))
    );
}

#[test]
fn forwarding_fields_of_an_untrusted_client_are_overwritten() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    let forged = [
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-For", "5.6.7.8"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Real-IP", "1.2.3.4"),
        ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-Prefix", "//evil"),
        ("X-Original-URL", "/x"),
        ("X-Rewrite-URL", "/x"),
        ("X-Forwarded-Port", "1"),
    ];
    gateway.browser().request("GET", "/", &forged, b"");
    let seen = upstream.next();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some(gateway.address().to_string().as_str()));
    for name in ["forwarded", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(seen.headers.iter().all(|(_, value)| !value.contains("1.2.3.4") && !value.contains("evil")));
}

#[test]
fn forwarding_fields_of_a_trusted_proxy_are_kept_and_appended() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).server("trusted_proxies = [\"127.0.0.0/8\"]\n").start();
    gateway.browser().request(
        "GET",
        "/",
        &[("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")],
        b"",
    );
    let seen = upstream.next();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn the_host_is_passed_as_the_client_sent_it() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    gateway.browser().fetch("/");
    assert_eq!(upstream.next().header("host"), Some(gateway.address().to_string().as_str()));
}

#[test]
fn upstream_connections_are_kept_and_used_again() {
    let upstream = TestUpstream::with(|request, stream| {
        let port = stream.peer_addr()?.port().to_string();
        let _ = request;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{port}", port.len()).map(|()| true)
    });
    let gateway = open(&upstream).start();
    let mut wire = gateway.wire();
    let mut ports: Vec<_> = (0..20)
        .map(|_| {
            wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()))
                .receive()
                .unwrap()
                .text()
        })
        .collect();
    ports.dedup();
    assert_eq!(ports.len(), 1);
}

#[test]
fn an_upstream_that_dies_mid_body_is_a_visible_abort() {
    let upstream = TestUpstream::with(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
        stream.shutdown(std::net::Shutdown::Both).map(|()| false)
    });
    let gateway = open(&upstream).start();
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    assert!(wire.receive().is_none(), "never a complete response");
}

#[test]
fn an_upstream_that_dies_behind_its_head_is_a_visible_abort_too() {
    let upstream = TestUpstream::with(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
        stream.shutdown(std::net::Shutdown::Both).map(|()| false)
    });
    let gateway = open(&upstream).start();
    for _ in 0..20 {
        let mut wire = gateway.wire();
        wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        let (status, _) =
            wire.receive_head().expect("the head: without it, it looks like a request that was never read");
        assert_eq!((status, wire.rest()), (200, 0));
    }
}

#[test]
fn a_head_request_has_the_length_and_no_body() {
    let upstream = TestUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let gateway = open(&upstream).start();
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.send(format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        assert_eq!(wire.receive_to("HEAD").unwrap().header("content-length"), Some("1234"));
    }
}

#[test]
fn a_dead_upstream_is_502_and_the_gateway_lives_on() {
    let upstream = TestUpstream::start();
    let url = upstream.url();
    let gateway = Setup::routes(format!(
        "[[routes]]\npath = \"/dead\"\nupstream = [\"http://127.0.0.1:9\"]\naccess = \"public\"\n[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n"
    ))
    .start();
    let mut wire = gateway.wire();
    for (path, status) in [("/dead", 502), ("/", 200), ("/dead", 502), ("/", 200)] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        assert_eq!(wire.receive().unwrap().status, status);
    }
}

#[test]
fn an_upstream_that_never_answers_is_504() {
    let upstream = TestUpstream::with(|_, _| Ok(true));
    let gateway = open(&upstream).start();
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    upstream.next();
    gateway.advance(std::time::Duration::from_secs(61));
    assert_eq!(wire.receive().unwrap().status, 504);
}

#[test]
fn an_authorization_that_the_gateway_did_not_use_is_the_apps() {
    let upstream = TestUpstream::start();
    let gateway = crate::support::gateway::TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    assert_eq!(ada.request("GET", "/", &[("Authorization", "Basic YWRhOng=")], b"").status, 401, "no login");
    ada.log_in("ada");
    for value in ["Basic YWRhOng=", "Bearer a.b.c", "Digest username=\"x\"", "whatever  it is"] {
        assert_eq!(ada.request("GET", "/", &[("Authorization", value)], b"").status, 200);
        assert_eq!(upstream.next().header("authorization"), Some(value));
    }
}

#[test]
fn repeated_fields_keep_their_order_and_values_both_ways() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 200 OK\r\nX-B: 2\r\nSet-Cookie: a=1\r\nX-B: 1\r\nSet-Cookie: b=\"2\"; Path=/\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = open(&upstream).start();
    let fields = [("X-A", "3"), ("Accept", "a/b;q=0.1, c/d"), ("X-A", "1 ,2"), ("X-A", "")];
    let answer = gateway.browser().request("GET", "/", &fields, b"");
    let seen = upstream.next();
    assert_eq!((seen.all("x-a"), seen.header("accept")), (vec!["3", "1 ,2", ""], Some("a/b;q=0.1, c/d")));
    assert_eq!(
        (answer.all("x-b"), answer.all("set-cookie")),
        (vec!["2", "1"], vec!["a=1", "b=\"2\"; Path=/"])
    );
}

#[test]
fn header_names_go_in_title_case_to_an_upstream_that_minds() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{0}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/old\"\nupstream = [\"{0}\"]\naccess = \"public\"\ntitle_case_headers = true\n",
        upstream.url()
    ))
    .start();
    for (path, name) in
        [("/", "x-my-field"), ("/old", "X-My-Field"), ("/", "x-my-field"), ("/old", "X-My-Field")]
    {
        gateway.browser().request("GET", path, &[("x-mY-field", "Value")], b"");
        let seen = upstream.next();
        let field = seen.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("x-my-field")).unwrap();
        assert_eq!(field, &(name.to_owned(), "Value".to_owned()), "{path}");
    }
}
