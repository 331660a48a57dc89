//! TLS listeners as clients see them.

use crate::support::gateway::Setup;
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::TestUpstream;

#[test]
fn a_request_over_tls_is_secure_whoever_sends_it() {
    let upstream = TestUpstream::start();
    let authority = Authority::new();
    let route = format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url());
    let gateway = Setup::routes(route).tls(&authority, &["wiki.test"]).start();
    let mut wire = TlsClient::trusting(&authority).wire(gateway.tls_address(), "wiki.test");
    for _ in 0..2 {
        wire.send("GET /a HTTP/1.1\r\nHost: wiki.test\r\nX-Forwarded-Proto: http\r\n\r\n");
        assert_eq!(wire.receive().unwrap().status, 200);
        let seen = upstream.next();
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.target(), "/a");
    }
}

#[test]
fn a_login_over_tls_gets_the_secure_cookie() {
    let upstream = TestUpstream::start();
    let authority = Authority::new();
    let gateway = Setup::protecting(&upstream).tls(&authority, &["wiki.test"]).start();
    let mut wire = TlsClient::trusting(&authority).wire(gateway.tls_address(), "wiki.test");
    wire.send("GET /_auth/login HTTP/1.1\r\nHost: wiki.test\r\n\r\n");
    let page = wire.receive().unwrap();
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Secure-") && cookie.contains("Secure"), "{cookie}");
}
