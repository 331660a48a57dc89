//! TLS for tests: an authority that issues certificates, and a client that trusts it.
//!
//! ```ignore
//! let authority = Authority::new();
//! let gateway = Setup::protecting(&upstream).tls(&authority, &["wiki.test"]).start();
//! let mut wire = TlsClient::trusting(&authority).wire(gateway.tls_address(), "wiki.test");     // HTTP/1.1, as any Wire
//! let mut h2 = TlsClient::trusting(&authority).http2(gateway.tls_address(), "wiki.test");      // see support/h2.rs
//! ```
//!
//! `Setup::tls` adds a second listener on 127.0.0.1:0 to the plain one, and a `[tls]` section for certificates in the state folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::PATIENCE;
use super::h2::Http2Client;
use super::wire::Wire;

/// A certificate authority of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A store that holds it alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A server's certificate for `names`.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// The same, with something changed before it is signed.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// A client's certificate: `name` is the subject's common name, `names` the alternative names.
    pub fn issue_client(&self, name: &str, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        })
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key`, each by a rename.
    pub fn write(&self, folder: &Path, name: &str) {
        for (ending, text) in [("key", &self.key), ("pem", &self.certificate)] {
            let (fresh, path) = (folder.join("fresh"), folder.join(format!("{name}.{ending}")));
            fs::write(&fresh, text).unwrap();
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(&fresh, path).unwrap();
        }
    }
}

/// A client's side of TLS.
#[derive(Clone)]
pub struct TlsClient(pub ClientConfig);

/// A blocking TLS stream.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl TlsClient {
    /// One that trusts `authority` and has no certificate.
    pub fn trusting(authority: &Authority) -> Self {
        Self::new(authority, None)
    }

    /// One that has a certificate to show.
    pub fn showing(authority: &Authority, own: &Issued) -> Self {
        Self::new(authority, Some(own))
    }

    /// One that speaks these versions only.
    pub fn speaking(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::with(authority, None, versions)
    }

    fn new(authority: &Authority, own: Option<&Issued>) -> Self {
        Self::with(authority, own, rustls::ALL_VERSIONS)
    }

    fn with(
        authority: &Authority,
        own: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authority.roots());
        Self(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        })
    }

    /// Offers these protocols by ALPN.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shakes hands with `address`, which must show a certificate for `name`. The error is the handshake's.
    pub fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<TlsStream> {
        self.over(TcpStream::connect(address).expect("connect"), name)
    }

    /// The same over a connection that exists.
    pub fn over(&self, tcp: TcpStream, name: &str) -> std::io::Result<TlsStream> {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream =
            StreamOwned::new(ClientConnection::new(Arc::new(self.0.clone()), name).unwrap(), tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// HTTP/1.1 over TLS, in the way of [`Wire`].
    pub fn wire(&self, address: SocketAddr, name: &str) -> Wire {
        let stream = self.clone().offering(&["http/1.1"]).connect(address, name).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        Wire::over(stream)
    }

    /// HTTP/2 over TLS.
    pub fn http2(&self, address: SocketAddr, name: &str) -> Http2Client {
        Http2Client::over_tls(self.clone().offering(&["h2", "http/1.1"]).0, address, name)
    }
}

/// The certificate that the other side showed, as it went over the wire.
pub fn shown_certificate(stream: &TlsStream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Reads until the other side closes; the error when it broke off, as by an alert.
pub fn read_to_end(stream: &mut TlsStream) -> std::io::Result<Vec<u8>> {
    stream.flush()?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}
