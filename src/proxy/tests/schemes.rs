//! Upstreams by TLS and unix socket.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// A certificate for `name` that is its own authority.
pub(super) struct Certified {
    pub(super) certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certified {
    pub(super) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    fn identity(&self) -> Identity {
        (vec![self.certificate.clone()], self.key())
    }

    /// A server's side of TLS that asks clients for `client`'s certificate, if that is given.
    pub(super) fn acceptor(&self, protocols: &[&str], client: Option<&Certified>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.certificate.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], self.key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A group of one `https://` upstream at `address`, whose certificate must be `trusted`'s and for `name`.
pub(super) fn https(
    address: std::net::SocketAddr,
    trusted: &Certified,
    name: &str,
    identity: Option<&Identity>,
) -> GroupSettings {
    let client = TlsClient::new(Some(std::slice::from_ref(&trusted.certificate)), identity).unwrap();
    let mut settings = GroupSettings::single(UpstreamAddress { scheme: Scheme::Https, ..http(address) });
    settings.members[0].tls = client.for_name(name);
    settings
}

/// The next connection whose handshake succeeds.
async fn accept_tls(listener: &TcpListener, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            return stream;
        }
    }
}

#[test]
fn an_upstream_by_tls_is_asked_for_by_its_name_and_its_connection_is_used_again() {
    local(async {
        let (own, (listener, address)) = (Certified::of("app.test"), upstream().await);
        let front = Front::of(https(address, &own, "app.test", None)).await;
        let acceptor = own.acceptor(&["http/1.1"], None);
        tokio::task::spawn_local(async move {
            let mut up = accept_tls(&listener, &acceptor).await;
            assert_eq!(up.get_ref().1.server_name(), Some("app.test"));
            for _ in 0..2 {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
            }
            closed(&mut up).await;
        });
        for _ in 0..2 {
            assert!(front.exchange(GET).await.ends_with("hello"));
        }
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 1, in_use: 0 });
    });
}

#[test]
fn an_upstream_whose_certificate_is_of_others_or_for_others_is_502() {
    local(async {
        let (own, stranger) = (Certified::of("app.test"), Certified::of("app.test"));
        for (trusted, name) in [(&stranger, "app.test"), (&own, "other.test")] {
            let (listener, address) = upstream().await;
            let mut front = Front::of(https(address, trusted, name, None)).await;
            let acceptor = own.acceptor(&[], None);
            tokio::task::spawn_local(async move {
                accept_tls(&listener, &acceptor).await;
                panic!("a handshake with the wrong certificate succeeded");
            });
            assert!(front.exchange(GET).await.starts_with("HTTP/1.1 502"));
            assert_eq!(front.outcome().await, "upstream_connect");
        }
    });
}

#[test]
fn an_upstream_that_asks_for_a_client_certificate_gets_ours() {
    local(async {
        let (own, ours) = (Certified::of("app.test"), Certified::of("gateway.test"));
        for (identity, status) in [(Some(ours.identity()), "200"), (None, "502")] {
            let (listener, address) = upstream().await;
            let front = Front::of(https(address, &own, "app.test", identity.as_ref())).await;
            let acceptor = own.acceptor(&[], Some(&ours));
            tokio::task::spawn_local(async move {
                let mut up = accept_tls(&listener, &acceptor).await;
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
                closed(&mut up).await;
            });
            let answer = front.exchange(GET).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    });
}

#[test]
fn an_upgrade_never_goes_by_http2() {
    local(async {
        let (own, (listener, address)) = (Certified::of("app.test"), upstream().await);
        let front = Front::of(https(address, &own, "app.test", None)).await;
        let acceptor = own.acceptor(&["h2", "http/1.1"], None);
        let mut client = front.client().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let mut up = accept_tls(&listener, &acceptor).await;
        assert_eq!(up.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst").await;
        read_to(&mut client, "first").await;
        write(&mut client, "second").await;
        read_to(&mut up, "second").await;
    });
}

#[test]
fn an_upstream_by_unix_socket_is_reached() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let front = Front::of(GroupSettings::single(UpstreamAddress {
            scheme: Scheme::Http,
            place: Place::Unix(path),
        }))
        .await;
        tokio::task::spawn_local(async move {
            let (mut up, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                let head = read_to(&mut up, "\r\n\r\n").await;
                assert!(head.contains("host: a\r\n"), "{head}");
                write(&mut up, HELLO).await;
            }
            closed(&mut up).await;
        });
        for _ in 0..2 {
            assert!(front.exchange(GET).await.ends_with("hello"));
        }
        assert_eq!(front.pool.counters().opened, 1);
    });
}

#[test]
fn a_request_that_waits_for_anothers_connection_is_bounded_by_its_own_time() {
    local(async {
        let own = Certified::of("app.test");
        // It takes connections and never says a word of TLS.
        let (_silent, address) = upstream().await;
        let mut settings = https(address, &own, "app.test", None);
        settings.limits.request_timeout = Some(Duration::from_secs(5));
        let mut front = Front::of(settings).await;
        let mut clients = Vec::new();
        for waiting in 1..=3 {
            let mut client = front.client().await;
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            clients.push(client);
            while front.pool.counters().in_use < waiting {
                tokio::task::yield_now().await;
            }
        }
        front.pass_time(Duration::from_secs(6));
        for _ in &clients {
            assert_eq!(front.outcome().await, "request_timeout");
        }
    });
}
