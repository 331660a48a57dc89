//! HTTP/2 clients.

use crate::support::gateway::Setup;
use crate::support::h2::Http2Client;
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::TestUpstream;

const HOST: &str = "https://wiki.test";

fn public(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

fn client(setup: Setup) -> (crate::support::gateway::TestGateway, Http2Client) {
    let authority = Authority::new();
    let gateway = setup.tls(&authority, &["wiki.test"]).start();
    let client = TlsClient::trusting(&authority).http2(gateway.tls_address(), "wiki.test");
    (gateway, client)
}

#[test]
fn a_request_over_http_2_reaches_an_upstream_of_http_1_with_its_authority_as_host() {
    let upstream = TestUpstream::start();
    let (_gateway, mut client) = client(public(&upstream));
    for path in ["/a", "/b?c=d"] {
        let answer = client.get(&format!("{HOST}{path}"), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let seen = upstream.next();
        assert_eq!(seen.line, format!("GET {path} HTTP/1.1"));
        assert_eq!(seen.header("host"), Some("wiki.test"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}
