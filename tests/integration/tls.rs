//! TLS listeners as clients see them (P20).

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::tls::{Authority, Issued, TlsClient, TlsStream, read_to_end, shown_certificate};
use crate::support::upstream::TestUpstream;
use crate::support::wire::Wire;

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.test\r\n\r\n";

fn public(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

/// The name that the certificate shown to a client of `name` was issued to first.
fn shown(gateway: &TestGateway, client: &TlsClient, name: &str) -> Option<String> {
    client.connect(gateway.tls_address(), name).ok().map(|stream| first_name(&stream))
}

fn first_name(stream: &TlsStream) -> String {
    let certificate = shown_certificate(stream);
    let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    match names.value.general_names.first().unwrap() {
        x509_parser::prelude::GeneralName::DNSName(name) => (*name).to_owned(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_request_over_tls_is_secure_whoever_sends_it() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
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
fn a_login_over_tls_gets_secure_cookies() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = Setup::protecting(&upstream).tls(&authority, &["wiki.test"]).start();
    let mut wire = TlsClient::trusting(&authority).wire(gateway.tls_address(), "wiki.test");
    wire.send("GET /_auth/login HTTP/1.1\r\nHost: wiki.test\r\n\r\n");
    let page = wire.receive().unwrap();
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Secure-") && cookie.contains("Secure"), "{cookie}");
}

/// A gateway with a certificate for each of `names`, in order.
fn with_certificates(upstream: &TestUpstream, authority: &Authority, names: &[&str]) -> TestGateway {
    let setup = public(upstream);
    let entries: String =
        (0..names.len()).map(|n| format!("{{ certificate = \"{n}.pem\", key = \"{n}.key\" }}, ")).collect();
    for (n, name) in names.iter().enumerate() {
        authority.issue(&[name]).write(setup.folder.path(), &n.to_string());
    }
    setup.tls_section(&format!("certificates = [{entries}]\n")).start()
}

#[test]
fn each_host_gets_its_own_certificate_and_every_other_client_the_first() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let names = ["first.test", "wiki.test", "*.example.test", "exact.example.test"];
    let gateway = with_certificates(&upstream, &authority, &names);
    let client = TlsClient::trusting(&authority);
    for (asked, expected) in [
        ("first.test", Some("first.test")),
        ("wiki.test", Some("wiki.test")),
        ("WIKI.test", Some("wiki.test")),
        ("a.example.test", Some("*.example.test")),
        ("exact.example.test", Some("exact.example.test")),
        // The first is shown, and is not for this name: the client gives up.
        ("a.b.example.test", None),
        ("example.test", None),
        ("other.test", None),
    ] {
        assert_eq!(shown(&gateway, &client, asked).as_deref(), expected, "{asked}");
    }
    let mut nameless = client;
    nameless.0.enable_sni = false;
    assert_eq!(shown(&gateway, &nameless, "first.test").as_deref(), Some("first.test"));
}

/// Waits until a client is shown a certificate for `name`.
fn wait_for(gateway: &TestGateway, client: &TlsClient, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while shown(gateway, client, name).is_none() {
        assert!(Instant::now() < deadline, "the new certificate is never served");
    }
}

#[test]
fn a_replaced_certificate_is_served_by_itself_and_no_connection_is_dropped() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["old.test"]).start();
    let client = TlsClient::trusting(&authority);
    let mut kept = client.wire(gateway.tls_address(), "old.test");
    assert_eq!(kept.send(GET).receive().unwrap().status, 200);
    authority.issue(&["new.test"]).write(gateway.folder().path(), "cert");
    wait_for(&gateway, &client, "new.test");
    assert_eq!(kept.send(GET).receive().unwrap().status, 200);
    // A client without a session to resume: that one would be shown nothing.
    assert_eq!(shown(&gateway, &TlsClient::trusting(&authority), "old.test"), None);
}

#[test]
fn a_reload_reads_the_certificates_and_the_list_of_them() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["old.test"]).start();
    let client = TlsClient::trusting(&authority);
    authority.issue(&["more.test"]).write(gateway.folder().path(), "more");
    gateway.change_config(|text| {
        text.replace(
            "certificates = [",
            "certificates = [{ certificate = \"more.pem\", key = \"more.key\" }, ",
        )
    });
    assert!(gateway.reload());
    for name in ["old.test", "more.test"] {
        assert_eq!(shown(&gateway, &client, name).as_deref(), Some(name));
    }
}

fn metric(gateway: &TestGateway, name: &str) -> u64 {
    let mut wire = Wire::connect(gateway.management());
    let text = wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").receive().unwrap().text();
    let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_old_one_and_shows_until_a_good_one() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    let client = TlsClient::trusting(&authority);
    let good = |gateway: &TestGateway| metric(gateway, "fluidgate_tls_certificates_last_reload_successful");
    assert_eq!(good(&gateway), 1);
    let stray = authority.issue(&["wiki.test"]);
    Issued { certificate: authority.issue(&["wiki.test"]).certificate, key: stray.key }
        .write(gateway.folder().path(), "cert");
    let deadline = Instant::now() + PATIENCE;
    while good(&gateway) == 1 {
        assert!(Instant::now() < deadline, "the bad certificate is never looked at");
    }
    assert_eq!(metric(&gateway, "fluidgate_tls_certificate_reload_failures_total"), 1);
    assert!(!gateway.reload(), "a bad certificate is a problem of the configuration");
    assert_eq!(shown(&gateway, &client, "wiki.test").as_deref(), Some("wiki.test"));
    authority.issue(&["new.test"]).write(gateway.folder().path(), "cert");
    wait_for(&gateway, &client, "new.test");
    assert_eq!(good(&gateway), 1);
}

#[test]
fn a_certificate_that_has_run_out_keeps_no_other_from_being_renewed() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let setup = public(&upstream);
    let folder = setup.folder.path().to_owned();
    authority.issue(&["old.test"]).write(&folder, "0");
    // Two weeks behind the moment at which the tests' clock stands.
    let short = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2027, 2, 1);
    authority.issue_with(&["short.test"], short).write(&folder, "1");
    let entries =
        "{ certificate = \"0.pem\", key = \"0.key\" }, { certificate = \"1.pem\", key = \"1.key\" }";
    let gateway = setup.tls_section(&format!("certificates = [{entries}]\n")).start();
    gateway.advance(Duration::from_secs(30 * 86400));
    authority.issue(&["new.test"]).write(&folder, "0");
    wait_for(&gateway, &TlsClient::trusting(&authority), "new.test");
}

/// How the handshake of a second connection went.
fn second_handshake(gateway: &TestGateway, client: &TlsClient) -> HandshakeKind {
    let mut kind = None;
    for _ in 0..2 {
        let mut stream = client.connect(gateway.tls_address(), "wiki.test").unwrap();
        kind = stream.conn.handshake_kind();
        // Tickets come with the first bytes that are read.
        use std::io::{Read, Write};
        stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.starts_with(b"HTTP/1.1 200"));
    }
    kind.unwrap()
}

#[test]
fn a_client_that_comes_back_resumes_its_session_with_every_version() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let client = TlsClient::speaking(&authority, versions);
        assert_eq!(second_handshake(&gateway, &client), HandshakeKind::Resumed, "{versions:?}");
    }
}

#[test]
fn a_session_is_not_resumed_once_clients_are_judged_by_other_rules() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let setup = public(&upstream).tls(&authority, &["wiki.test"]);
    std::fs::write(setup.folder.path().join("clients.pem"), authority.pem()).unwrap();
    let gateway = setup.start();
    let client = TlsClient::showing(&authority, &authority.issue_client("ada", &[]));
    assert_eq!(second_handshake(&gateway, &client), HandshakeKind::Resumed);
    gateway.change_config(|text| {
        text.replace("[tls]\n", "[tls]\nclient_ca = \"clients.pem\"\nclient_certificates = \"required\"\n")
    });
    assert!(gateway.reload());
    let again = client.connect(gateway.tls_address(), "wiki.test").unwrap();
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn the_oldest_version_can_be_set() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let old = TlsClient::speaking(&authority, &[&TLS12]);
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    assert!(shown(&gateway, &old, "wiki.test").is_some());
    let gateway =
        public(&upstream).tls(&authority, &["wiki.test"]).sections("min_version = \"1.3\"\n").start();
    assert!(shown(&gateway, &old, "wiki.test").is_none());
    assert!(shown(&gateway, &TlsClient::trusting(&authority), "wiki.test").is_some());
}

#[test]
fn http_2_is_offered_unless_it_is_switched_off() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let both = TlsClient::trusting(&authority).offering(&["h2", "http/1.1"]);
    let chosen = |gateway: &TestGateway, client: &TlsClient| {
        let stream = client.connect(gateway.tls_address(), "wiki.test").ok()?;
        stream.conn.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    assert_eq!(chosen(&gateway, &both).as_deref(), Some("h2"));
    assert_eq!(chosen(&gateway, &TlsClient::trusting(&authority).offering(&["http/0.9"])), None);
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).sections("http2 = false\n").start();
    assert_eq!(chosen(&gateway, &both).as_deref(), Some("http/1.1"));
}

#[test]
fn only_answers_over_tls_tell_browsers_to_come_by_https() {
    let upstream = TestUpstream::start();
    let authority = Authority::new();
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).sections("hsts = \"365d\"\n").start();
    let client = TlsClient::trusting(&authority);
    let mut wire = client.wire(gateway.tls_address(), "wiki.test");
    for request in [GET, "GET /_auth/login HTTP/1.1\r\nHost: wiki.test\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let answer = wire.send(request).receive().unwrap();
        assert_eq!(answer.all("strict-transport-security"), ["max-age=31536000"], "{request}");
    }
    let mut http2 = client.http2(gateway.tls_address(), "wiki.test");
    let answer = http2.get("https://wiki.test/", &[]);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    let plain = gateway.wire().send(GET).receive().unwrap();
    assert_eq!(plain.header("strict-transport-security"), None);
}

#[test]
fn an_app_that_says_hsts_itself_has_the_word() {
    let upstream = TestUpstream::answering("HTTP/1.1 204 No\r\nStrict-Transport-Security: max-age=1\r\n\r\n");
    let authority = Authority::new();
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).sections("hsts = \"365d\"\n").start();
    let mut wire = TlsClient::trusting(&authority).wire(gateway.tls_address(), "wiki.test");
    assert_eq!(wire.send(GET).receive().unwrap().all("strict-transport-security"), ["max-age=1"]);
}

fn asking(upstream: &TestUpstream, authority: &Authority, clients: &Authority, word: &str) -> TestGateway {
    let setup = public(upstream).tls(authority, &["wiki.test"]);
    std::fs::write(setup.folder.path().join("clients.pem"), clients.pem()).unwrap();
    setup.sections(&format!("client_ca = \"clients.pem\"\nclient_certificates = \"{word}\"\n")).start()
}

/// Whether a request over this handshake is answered: with TLS 1.3 a client learns of a refusal only behind it.
fn answered(gateway: &TestGateway, client: &TlsClient) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = client.connect(gateway.tls_address(), "wiki.test") else { return false };
    let mut first = [0; 12];
    stream.write_all(GET.as_bytes()).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && &first == b"HTTP/1.1 200"
}

#[test]
fn client_certificates_are_asked_for_as_set_and_count_only_from_our_authority() {
    let upstream = TestUpstream::start();
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let none = TlsClient::trusting(&authority);
    let ours = TlsClient::showing(&authority, &clients.issue_client("ada", &["ada.test"]));
    let foreign = TlsClient::showing(&authority, &strangers.issue_client("ada", &["ada.test"]));
    for (word, expected) in [("required", [false, true, false]), ("optional", [true, true, false])] {
        let gateway = asking(&upstream, &authority, &clients, word);
        for (client, expected) in [&none, &ours, &foreign].into_iter().zip(expected) {
            assert_eq!(answered(&gateway, client), expected, "{word}");
        }
    }
}

/// Verifies as usual, and keeps the OCSP response that came along.
#[derive(Debug)]
struct Keeping(Arc<WebPkiServerVerifier>, Mutex<Vec<u8>>);

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.1.lock().unwrap() = ocsp.to_vec();
        self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[test]
fn the_ocsp_response_beside_a_certificate_is_handed_on() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let setup = public(&upstream);
    authority.issue(&["wiki.test"]).write(setup.folder.path(), "cert");
    std::fs::write(setup.folder.path().join("cert.ocsp"), b"as it is").unwrap();
    let gateway = setup
        .tls_section(
            "certificates = [{ certificate = \"cert.pem\", key = \"cert.key\", ocsp = \"cert.ocsp\" }]\n",
        )
        .start();
    let mut client = TlsClient::trusting(&authority);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(authority.roots()), provider);
    let keeping = Arc::new(Keeping(usual.build().unwrap(), Mutex::default()));
    client.0.dangerous().set_certificate_verifier(keeping.clone());
    assert!(shown(&gateway, &client, "wiki.test").is_some());
    assert_eq!(*keeping.1.lock().unwrap(), b"as it is");
}

#[test]
fn bytes_that_are_no_handshake_get_an_alert_and_the_listener_goes_on() {
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    for nonsense in [GET, "\x16\x03\x01\x40\x01", "\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n"] {
        let mut wire = Wire::connect(gateway.tls_address());
        wire.try_send(nonsense).try_send(vec![b'x'; 20_000]);
        assert!(wire.receive().is_none(), "{nonsense:?}");
    }
    assert!(shown(&gateway, &TlsClient::trusting(&authority), "wiki.test").is_some());
    upstream.saw_nothing();
}

#[test]
fn an_end_of_a_connection_over_tls_is_said_by_an_alert_so_that_nobody_can_cut_an_answer_short() {
    use std::io::Write;
    let (upstream, authority) = (TestUpstream::start(), Authority::new());
    let gateway = public(&upstream).tls(&authority, &["wiki.test"]).start();
    let client = TlsClient::trusting(&authority);
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: test\r\n"] {
        let tcp = TcpStream::connect(gateway.tls_address()).unwrap();
        let mut stream = client.over(tcp, "wiki.test").unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: wiki.test\r\nConnection: close\r\n{upgrade}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // rustls reports an end without the alert as an error.
        let all = read_to_end(&mut stream).unwrap();
        assert!(String::from_utf8_lossy(&all).ends_with("hello"));
    }
}
