//! WebSockets and other upgrades (P3, X11), byte for byte on the wire.

use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::{Wire, WireResponse};

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";

/// Asks for a WebSocket with these fields besides.
fn ask(gateway: &TestGateway, path: &str, fields: &[&str]) -> Wire {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let mut wire = gateway.wire();
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n",
        gateway.address()
    ));
    wire
}

fn answered(gateway: &TestGateway, path: &str, fields: &[&str]) -> WireResponse {
    ask(gateway, path, fields).receive().expect("an answer")
}

fn cookie(browser: &TestBrowser) -> String {
    let (name, value) = browser.session_cookie().unwrap();
    format!("Cookie: {name}={value}")
}

fn open(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

#[test]
fn a_websocket_without_a_session_is_401_and_never_reaches_the_upstream() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
    let gateway = TestGateway::protecting(&upstream);
    let origin = format!("Origin: http://{}", gateway.address());
    for fields in
        [vec![], vec![origin.as_str()], vec!["Accept: text/html"], vec!["Cookie: fluidgate=v1.a.b.c"]]
    {
        assert_eq!(answered(&gateway, "/", &fields).status, 401, "{fields:?}");
    }
    upstream.saw_nothing();
}

#[test]
fn a_websocket_with_a_session_needs_a_page_of_the_same_host() {
    let upstream = TestUpstream::answering(PLAIN);
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (cookie, host) = (cookie(&ada), gateway.address());
    for origin in [
        "Origin: https://evil.test".to_owned(),
        "Origin: null".to_owned(),
        format!("Origin: http://{}.evil.test", host.ip()),
        format!("Origin: http://{}:1", host.ip()),
        format!("Origin: http://{host}\r\nOrigin: http://{host}"),
        format!("Origin: http://{host}@evil.test"),
        "X-Origin: none at all".to_owned(),
        format!("Sec-Fetch-Site: same-origin\r\nReferer: http://{host}/"),
    ] {
        let refused = answered(&gateway, "/", &[&cookie, &origin]);
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (403, Some("websocket_origin")),
            "{origin}"
        );
        assert_eq!(refused.header("cache-control"), Some("no-store"));
    }
    upstream.saw_nothing();
    // A page of the host over the other scheme is that host's own.
    for scheme in ["http", "https"] {
        assert_eq!(answered(&gateway, "/", &[&cookie, &format!("Origin: {scheme}://{host}")]).status, 200);
        assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    }
}

#[test]
fn a_route_can_let_pages_of_other_origins_open_its_websockets() {
    let upstream = TestUpstream::answering(PLAIN);
    let setup = Setup::protecting(&upstream);
    let routes = setup.routes.clone() + "websocket_origins = [\"https://app.example.com\"]\n";
    let gateway = Setup { routes, ..setup }.start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let status = |origin: &str| answered(&gateway, "/", &[&cookie(&ada), origin]).status;
    assert_eq!(status("Origin: https://app.example.com"), 200);
    for origin in
        ["http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.test"]
    {
        assert_eq!(status(&format!("Origin: {origin}")), 403, "{origin}");
    }
}

#[test]
fn a_websocket_without_our_cookie_is_left_to_the_app() {
    let upstream = TestUpstream::answering(PLAIN);
    let gateway = open(&upstream).start();
    assert_eq!(answered(&gateway, "/", &["Origin: https://elsewhere.test"]).status, 200);
    let seen = upstream.next();
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (Some("websocket"), Some("Upgrade")));
    assert_eq!(seen.header("origin"), Some("https://elsewhere.test"));
}

#[test]
fn an_upstream_that_does_not_switch_is_answered_as_it_is() {
    let upstream = TestUpstream::answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let gateway = open(&upstream).start();
    let refused = answered(&gateway, "/", &[]);
    assert_eq!((refused.status, refused.text().as_str(), refused.header("upgrade")), (426, "no", None));
}

#[test]
fn what_would_carry_requests_past_the_gateway_is_no_upgrade_at_all() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    for (method, fields) in [
        (
            "GET",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("GET", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"),
        ("GET", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"),
        ("GET", "Upgrade: websocket\r\n"),
        ("POST", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n"),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n"),
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("{method} / HTTP/1.1\r\nHost: {}\r\n{fields}\r\nx", gateway.address()));
        assert_eq!(wire.receive().unwrap().status, 200, "{fields}");
        let seen = upstream.next();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{fields}");
        }
    }
}

#[test]
fn identity_headers_and_look_alikes_are_stripped_from_an_upgrade_and_ours_set() {
    let upstream = TestUpstream::answering(PLAIN);
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let origin = format!("Origin: http://{}", gateway.address());
    let forged = ["Remote-User: bob", "remote_groups: admins", "X-Forwarded-User: bob"];
    let cookie = cookie(&ada);
    let fields = [&[cookie.as_str(), origin.as_str()][..], &forged[..]].concat();
    assert_eq!(answered(&gateway, "/", &fields).status, 200);
    let seen = upstream.next();
    assert_eq!((seen.header("remote-user"), seen.header("cookie")), (Some("ada"), None));
    assert!(seen.headers.iter().all(|(_, value)| value != "bob" && value != "admins"), "{seen:?}");
}
