//! What comes before the first request: each wait has its own limit, a drain waits for none of it, and a certificate comes along.

use tempfile::TempDir;

use super::support::tls::{Authority, TlsClient};
use super::support::wire::Wire;
use super::*;

#[test]
fn each_wait_of_a_connection_has_its_own_limit() {
    let mut settings = settings(1);
    settings.limits.first_byte = Duration::from_secs(10);
    settings.limits.head = Duration::from_secs(20);
    settings.limits.idle = Duration::from_secs(30);
    let server = Running::with(&settings, None);
    let (mut silent, mut dripping, mut idle) = (server.client(), server.client(), server.client());
    dripping.send("GET / HT");
    idle.get("/");
    server.client().get("/");
    server.clock.advance(Duration::from_secs(11));
    silent.rest();
    dripping.send("TP/1.1\r\n");
    server.client().get("/");
    server.clock.advance(Duration::from_secs(10));
    dripping.rest();
    idle.get("/");
    let mut silent = server.client();
    server.clock.advance(Duration::from_secs(29));
    silent.rest();
    idle.get("/");
    server.clock.advance(Duration::from_secs(31));
    idle.rest();
}

/// Settings of one listener with TLS, whose files live as long as the folder.
pub(super) fn with_tls(
    authority: &Authority,
    client: impl FnOnce(&std::path::Path) -> tls::ClientAuth,
) -> (TempDir, Settings) {
    let folder = TempDir::new().unwrap();
    authority.issue(&["wiki.test"]).write(folder.path(), "cert");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let mut settings = settings(1);
    for listener in &mut settings.listen {
        listener.tls = true;
    }
    settings.tls = Some(tls::Settings {
        certificates: vec![tls::CertificateFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("cert.key"),
            ocsp: None,
        }],
        min_version: tls::Version::V12,
        http2: true,
        client: client(&folder.path().join("ca.pem")),
        hsts: None,
    });
    (folder, settings)
}

/// The beginnings that a client gets stuck after.
fn stuck(server: &Running, beginnings: &[&[u8]]) -> Vec<Client> {
    let clients = beginnings.iter().map(|beginning| {
        let mut client = server.client();
        client.0.write_all(beginning).unwrap();
        client
    });
    clients.collect()
}

#[test]
fn silent_and_partial_handshakes_end_after_the_handshake_time() {
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |_| tls::ClientAuth::None);
    let server = Running::with(&settings, None);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let clients = stuck(&server, &[b"", b"\x16", hello]);
    // The worker has seen them all once a later one is served.
    let client = TlsClient::trusting(&authority);
    let mut wire = client.wire(server.address, "wiki.test");
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive().unwrap();
    server.clock.advance(Duration::from_secs(11));
    for mut client in clients {
        client.rest();
    }
    // Whoever is past it has other limits.
    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive().unwrap().text(), "hello");
}

#[test]
fn partial_proxy_headers_end_after_the_handshake_time() {
    let mut settings = settings(1);
    for listener in &mut settings.listen {
        listener.proxy_protocol = true;
    }
    let server = Running::with(&settings, None);
    let clients = stuck(&server, &[b"", b"PROXY TCP4 192.0.2.1", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]);
    let mut last = server.client();
    last.send("PROXY UNKNOWN\r\n");
    last.get("/");
    server.clock.advance(Duration::from_secs(11));
    for mut client in clients {
        client.rest();
    }
}

#[test]
fn a_drain_waits_for_no_handshake() {
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |_| tls::ClientAuth::None);
    let server = Running::with(&settings, None);
    let clients = stuck(&server, &[b"", b"\x16\x03\x01"]);
    TlsClient::trusting(&authority).wire(server.address, "wiki.test");
    assert_eq!(server.drain(Duration::from_secs(3600)).cut, 0);
    for mut client in clients {
        client.rest();
    }
}

#[test]
fn a_verified_client_certificate_reaches_the_service_with_its_names_and_fingerprint() {
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |ca| tls::ClientAuth::Optional(ca.to_owned()));
    let server = Running::with(&settings, None);
    let ask = |client: &TlsClient| {
        let mut wire: Wire = client.wire(server.address, "wiki.test");
        let first = wire.send("GET /certificate HTTP/1.1\r\nHost: a\r\n\r\n").receive().unwrap().text();
        let over_http2 = client.http2(server.address, "wiki.test").get("https://a/certificate", &[]).text();
        assert_eq!(first, over_http2);
        first
    };
    assert_eq!(ask(&TlsClient::trusting(&authority)), "None");
    let issued = authority.issue_client("ada", &["ada.test", "192.0.2.7"]);
    let client = TlsClient::showing(&authority, &issued);
    let seen = ask(&client);
    let expected = "common_name: Some(\"ada\"), alternative_names: [\"ada.test\", \"192.0.2.7\"]";
    assert!(seen.contains(expected), "{seen}");
    assert!(seen.contains("fingerprint: \""), "{seen}");
    // A session that is resumed is the same client's.
    assert_eq!(ask(&client), seen);
}

#[test]
fn a_session_is_not_resumed_beyond_the_end_of_the_clients_certificate() {
    let authority = Authority::new();
    let (_folder, settings) = with_tls(&authority, |ca| tls::ClientAuth::Optional(ca.to_owned()));
    let server = Running::with(&settings, None);
    let issued =
        authority.issue_with(&["ada.test"], |params| params.not_after = rcgen::date_time_ymd(2100, 1, 1));
    let client = TlsClient::showing(&authority, &issued);
    let ask = || {
        let mut wire = client.wire(server.address, "wiki.test");
        wire.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive().map(|answer| answer.text())
    };
    assert_eq!(ask().as_deref(), Some("hello"));
    let mut silent = server.client();
    assert_eq!(ask().as_deref(), Some("hello"));
    server.clock.advance(Duration::from_secs(135 * 365 * 86_400));
    // Its end shows that the sweep has been.
    silent.rest();
    assert_eq!(ask(), None);
}
