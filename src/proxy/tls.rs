//! TLS towards upstreams. Made when the configuration is read, so that a bad file is a problem of the configuration.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

/// Sessions kept for resumption per configuration; each is a few hundred bytes.
const RESUMED_SESSIONS: usize = 256;

/// Why TLS with an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The machine has no root certificates.
    #[error("this machine has no root certificates")]
    NoRoots,
    /// The own authority's certificate is none.
    #[error("{0}")]
    Authority(rustls::Error),
    /// Certificate and key do not belong together, or are of no kind we know.
    #[error("{0}")]
    Identity(rustls::Error),
}

/// A client certificate with its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// How TLS is spoken with the upstreams of a route.
#[derive(Clone)]
pub struct TlsClient {
    /// Offers HTTP/2 and HTTP/1.1.
    any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone: for upgrades.
    http1: Arc<ClientConfig>,
    fingerprint: [u8; 32],
}

impl TlsClient {
    /// Trusts the authorities of `roots`, or those of the machine, and shows `identity` to upstreams that ask for it.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(
        roots: Option<&[CertificateDer<'static>]>,
        identity: Option<&Identity>,
    ) -> Result<Self, TlsError> {
        let mut seen = Sha256::new();
        let mut see = |kind: u8, bytes: &[u8]| {
            seen.update([kind]);
            seen.update((bytes.len() as u64).to_be_bytes());
            seen.update(bytes);
        };
        let trusted = match roots {
            Some(roots) => {
                let mut store = RootCertStore::empty();
                for root in roots {
                    store.add(root.clone()).map_err(TlsError::Authority)?;
                    see(1, root);
                }
                Arc::new(store)
            }
            None => system_roots().ok_or(TlsError::NoRoots)?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?
            .with_root_certificates(trusted);
        let mut config = match identity {
            Some((chain, key)) => {
                chain.iter().for_each(|certificate| see(2, certificate));
                see(3, key.secret_der());
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(TlsError::Identity)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(RESUMED_SESSIONS);
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { any: Arc::new(config), http1: Arc::new(http1), fingerprint: seen.finalize().into() })
    }

    /// The same for one upstream, whose certificate must be for `name`; `None` when that is neither a DNS name nor an address.
    pub fn for_name(&self, name: &str) -> Option<UpstreamTls> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        Some(UpstreamTls { client: self.clone(), name })
    }
}

/// How TLS is spoken with one upstream. Two are equal when they trust, show and expect the same.
#[derive(Clone)]
pub struct UpstreamTls {
    client: TlsClient,
    pub(super) name: ServerName<'static>,
}

impl UpstreamTls {
    /// What to connect with; `upgradable` when HTTP/2 will not do.
    pub(super) fn config(&self, upgradable: bool) -> Arc<ClientConfig> {
        Arc::clone(if upgradable { &self.client.http1 } else { &self.client.any })
    }
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.client.fingerprint == other.client.fingerprint && self.name == other.name
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.client.fingerprint, &self.name).hash(state);
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// The machine's authorities, read once, and only where an upstream needs them.
fn system_roots() -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut store = RootCertStore::empty();
            // One that cannot be read is left out: what it has signed is then refused.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            (!store.is_empty()).then(|| Arc::new(store))
        })
        .clone()
}
