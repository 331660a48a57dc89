//! Upstreams through the whole program: how they are reached, how work is shared, what a reload changes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::tls::{Authority, Issued};
use crate::support::upstream::TestUpstream;

const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// A public route with `upstream` as its value, and more lines.
fn route(upstream: &str, lines: &str) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [{upstream}]\naccess = \"public\"\n{lines}\n"))
}

fn status(gateway: &TestGateway) -> u16 {
    gateway.browser().fetch("/").status
}

/// Asks until the answer has `wanted`.
fn until_status(gateway: &TestGateway, wanted: u16) {
    let deadline = Instant::now() + PATIENCE;
    while status(gateway) != wanted {
        assert!(Instant::now() < deadline, "never {wanted}");
    }
}

/// Answers 200 by TLS to one request on each connection.
fn tls_upstream(own: &Issued) -> SocketAddr {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(own.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
                let mut head = [0; 4096];
                if stream.read(&mut head).is_ok_and(|n| n > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecret";
                    let _ = stream.write_all(answer);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    address
}

#[test]
fn an_authority_of_an_upstream_that_is_replaced_counts_after_a_reload() {
    let (old, new) = (Authority::new(), Authority::new());
    let address = tls_upstream(&new.issue(&["app.internal"]));
    let setup = route(
        &format!("\"https://{address}\""),
        "upstream_tls = { ca = \"authority.pem\", server_name = \"app.internal\" }",
    );
    let authority = setup.folder.path().join("authority.pem");
    std::fs::write(&authority, old.pem()).unwrap();
    let gateway = setup.start();
    assert_eq!(status(&gateway), 502);
    std::fs::write(&authority, "nonsense").unwrap();
    assert!(!gateway.reload(), "what cannot be used is refused");
    assert_eq!(status(&gateway), 502);
    std::fs::write(&authority, new.pem()).unwrap();
    assert!(gateway.reload());
    assert_eq!(gateway.browser().fetch("/").text(), "secret");
}

#[test]
fn an_upstream_that_says_it_is_unwell_gets_no_requests_until_it_is_well() {
    let unwell = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (sick, well) = {
        let unwell = unwell.clone();
        let sick = TestUpstream::with(move |request, stream| {
            let asked = request.target() == "/up";
            let healthy = !unwell.load(std::sync::atomic::Ordering::Relaxed);
            let answer = match (asked, healthy) {
                (true, false) => UNWELL,
                (true, true) => "HTTP/1.1 204 No Content\r\n\r\n",
                (false, _) => "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n",
            };
            stream.write_all(answer.as_bytes()).map(|()| true)
        });
        (sick, TestUpstream::start())
    };
    let gateway = route(
        &format!("\"{}\", \"{}\"", sick.url(), well.url()),
        "balance = \"round_robin\"\nhealth = { path = \"/up\", interval = \"100ms\", unhealthy_after = 1, healthy_after = 1 }",
    )
    .start();
    // Both are taken for healthy until the first answer.
    let deadline = Instant::now() + PATIENCE;
    while (0..4).any(|_| status(&gateway) != 200) {
        assert!(Instant::now() < deadline, "the sick one still gets requests");
    }
    unwell.store(false, std::sync::atomic::Ordering::Relaxed);
    until_status(&gateway, 418);
}

#[test]
fn requests_above_the_cap_and_its_queue_are_told_when_to_come_again() {
    let upstream = TestUpstream::with(|_, _| Ok(true));
    let gateway = route(&format!("{{ url = \"{}\", max_connections = 1 }}", upstream.url()), "")
        .sections("[proxy]\nqueue = 0\n")
        .start();
    let mut held = gateway.wire();
    held.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    upstream.next();
    let answer = gateway.browser().fetch("/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    upstream.saw_nothing();
}

#[test]
fn the_limits_of_the_proxy_section_change_with_a_reload() {
    let upstream = TestUpstream::with(|_, _| Ok(true));
    let gateway = route(&format!("\"{}\"", upstream.url()), "").start();
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    upstream.next();
    gateway.advance(Duration::from_secs(61));
    assert_eq!(wire.receive().unwrap().status, 504);
    gateway.change_config(|text| format!("{text}[proxy]\nresponse_timeout = \"5s\"\n"));
    assert!(gateway.reload());
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    upstream.next();
    gateway.advance(Duration::from_secs(6));
    assert_eq!(wire.receive().unwrap().status, 504);
}

#[test]
fn an_upstream_that_is_taken_out_by_a_reload_loses_its_idle_connections_alone() {
    let closed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let leaving = listener.local_addr().unwrap();
    let count = closed.clone();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        while stream.read(&mut head).is_ok_and(|n| n > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        }
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let stays = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n[[routes]]\npath = \"/old\"\nupstream = [\"http://{leaving}\"]\naccess = \"public\"\n",
        stays.url()
    ))
    .start();
    assert_eq!(gateway.browser().fetch("/old").text(), "hi");
    gateway.change_config(|text| text.split("[[routes]]\npath = \"/old\"").next().unwrap().to_owned());
    assert!(gateway.reload());
    let deadline = Instant::now() + PATIENCE;
    while closed.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the connection is kept");
        assert_eq!(gateway.browser().fetch("/old").text(), "hello");
    }
}
