//! TLS towards clients: certificates by name, replaced while connections go on; tickets, so that a client that comes back need not
//! shake hands in full; client certificates where asked for.
//!
//! One [`Tls`] serves all workers. A handshake takes the configuration in force; a reload builds a whole new one, or keeps the old.

mod by_name;
pub(in crate::server) mod certificate;
mod client;
mod status;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerConfig, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};
use sha2::{Digest, Sha256};

pub use self::certificate::{Certificate, CertificateFiles};
pub use self::client::ClientCertificate;
pub use self::status::{CertificateStatus, TlsStatus};
use crate::base::clock::Timestamp;
use crate::server::tls::by_name::ByName;

/// HTTP/2's name in ALPN (RFC 9113 section 3.2).
pub(super) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Sessions of clients that take no tickets, kept here for them.
const SESSION_CACHE: usize = 8192;

/// Checked settings of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At least one; the first is for clients that name no host, or one that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version spoken. Default 1.2.
    pub min_version: Version,
    /// Whether HTTP/2 is offered. Default true.
    pub http2: bool,
    /// Whether clients are asked for a certificate. Default no.
    pub client: ClientAuth,
    /// How long browsers are to come by https only (Strict-Transport-Security). Default `None`: nothing is said.
    pub hsts: Option<Duration>,
}

impl Settings {
    /// Every file that they name.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let authority = match &self.client {
            ClientAuth::None => None,
            ClientAuth::Optional(path) | ClientAuth::Required(path) => Some(path),
        };
        let certificates =
            self.certificates.iter().flat_map(|c| [Some(&c.certificate), Some(&c.key), c.ocsp.as_ref()]);
        certificates.chain([authority]).flatten().map(PathBuf::as_path)
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    None,
    /// Those that have one of these authorities show it; the others go on without.
    Optional(PathBuf),
    /// No handshake without one of these authorities.
    Required(PathBuf),
}

impl ClientAuth {
    /// Reads the authorities.
    ///
    /// # Errors
    /// When their file cannot be used.
    pub fn check(&self) -> Result<(), TlsError> {
        ClientRules::read(self).map(drop)
    }
}

/// Why TLS cannot be served as it is set.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not, in words.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{}: it cannot be read: {source}", path.display())]
    Unread {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that no file is to blame for.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } | Self::Unread { path, .. } => Some(path),
            Self::Setup(_) => None,
        }
    }
}

/// What a new connection goes by.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: Arc<ServerConfig>,
    /// The field that every answer gets.
    pub(super) hsts: Option<HeaderValue>,
}

/// TLS as it is served now.
#[derive(Debug)]
pub struct Tls {
    current: ArcSwap<Current>,
    resumption: Mutex<Resumption>,
    status: TlsStatus,
}

impl Tls {
    /// Reads everything that `settings` name; `now` judges the dates of certificates.
    ///
    /// # Errors
    /// With the first file that cannot be used.
    pub fn load(settings: &Settings, now: Timestamp) -> Result<Arc<Self>, TlsError> {
        let certificates = read_certificates(settings, now)?;
        let client = ClientRules::read(&settings.client)?;
        let resumption = Resumption::new(client.fingerprint)?;
        let status = TlsStatus::new(&certificates);
        let config = build(settings, certificates, client, &resumption)?;
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(config),
            resumption: Mutex::new(resumption),
            status,
        }))
    }

    /// Reads everything again. Handshakes from now on use it; connections go on as they are.
    ///
    /// # Errors
    /// With the first file that cannot be used; what was in force stays so.
    pub fn reload(&self, settings: &Settings, now: Timestamp) -> Result<(), TlsError> {
        let replaced = self.replace(settings, now);
        self.status.reloaded(replaced.is_ok());
        replaced
    }

    fn replace(&self, settings: &Settings, now: Timestamp) -> Result<(), TlsError> {
        let served = self.status.certificates();
        let certificates: Result<Vec<_>, _> =
            settings.certificates.iter().map(|files| read_again(files, now, &served)).collect();
        let certificates = certificates?;
        let client = ClientRules::read(&settings.client)?;
        let mut resumption = self.resumption.lock().unwrap_or_else(PoisonError::into_inner);
        // A session from before stands for a client that was judged by other rules: none of them is resumed.
        let fresh = if resumption.rules == client.fingerprint {
            resumption.clone()
        } else {
            Resumption::new(client.fingerprint)?
        };
        let listed = status::list(&certificates);
        let config = build(settings, certificates, client, &fresh)?;
        *resumption = fresh;
        self.status.serves(listed);
        self.current.store(Arc::new(config));
        Ok(())
    }

    /// How reloading went, and until when the certificates are valid.
    pub fn status(&self) -> &TlsStatus {
        &self.status
    }

    /// What a new connection goes by.
    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }
}

/// What sessions are resumed by. Shared only between configurations that judge clients alike.
#[derive(Clone, Debug)]
struct Resumption {
    rules: [u8; 32],
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn new(rules: [u8; 32]) -> Result<Self, TlsError> {
        // Its keys are random, replaced every six hours, and forgotten after twelve.
        let tickets = aws_lc_rs::Ticketer::new()?;
        Ok(Self { rules, tickets, sessions: ServerSessionMemoryCache::new(SESSION_CACHE) })
    }
}

fn read_certificates(settings: &Settings, now: Timestamp) -> Result<Vec<Certificate>, TlsError> {
    settings.certificates.iter().map(|files| Certificate::read(files, now)).collect()
}

/// Reads one that may be served already. If it has run out meanwhile it stays as it is: it must not keep the others from being
/// replaced, which would end them too.
fn read_again(
    files: &CertificateFiles,
    now: Timestamp,
    served: &[CertificateStatus],
) -> Result<Certificate, TlsError> {
    Certificate::read(files, now).or_else(|error| {
        let known = served.iter().find(|known| known.path == files.certificate && known.not_after < now);
        let Some(known) = known else { return Err(error) };
        let again = Certificate::read(files, known.not_after).ok();
        again.filter(|again| again.not_after == known.not_after).ok_or(error)
    })
}

/// How clients are judged.
struct ClientRules {
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    /// Another one when clients are judged otherwise.
    fingerprint: [u8; 32],
}

impl ClientRules {
    fn read(auth: &ClientAuth) -> Result<Self, TlsError> {
        let (path, word) = match auth {
            ClientAuth::None => return Ok(Self { verifier: Arc::new(NoClientAuth), fingerprint: [0; 32] }),
            ClientAuth::Optional(path) => (path, 1_u8),
            ClientAuth::Required(path) => (path, 2),
        };
        let failed = |reason: String| TlsError::File { path: path.clone(), reason };
        let authorities = certificate::read_chain(path)?;
        let mut roots = RootCertStore::empty();
        let mut hash = Sha256::new_with_prefix([word]);
        for authority in authorities {
            hash.update(&authority);
            roots.add(authority).map_err(|e| failed(format!("it holds no certificate authority: {e}")))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = if word == 1 { builder.allow_unauthenticated() } else { builder };
        let verifier = builder.build().map_err(|e| failed(e.to_string()))?;
        Ok(Self { verifier, fingerprint: hash.finalize().into() })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn build(
    settings: &Settings,
    certificates: Vec<Certificate>,
    client: ClientRules,
    resumption: &Resumption,
) -> Result<Current, TlsError> {
    let versions: &[&SupportedProtocolVersion] = match settings.min_version {
        Version::V12 => &[&TLS13, &TLS12],
        Version::V13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(client.verifier)
        .with_cert_resolver(Arc::new(ByName::new(certificates)));
    config.ticketer = Arc::clone(&resumption.tickets);
    config.session_storage = Arc::clone(&resumption.sessions);
    // No early data: it can be replayed, and a request that is may act twice.
    config.max_early_data_size = 0;
    config.alpn_protocols =
        if settings.http2 { vec![H2.to_vec(), HTTP1.to_vec()] } else { vec![HTTP1.to_vec()] };
    let hsts = settings.hsts.and_then(|time| format!("max-age={}", time.as_secs()).parse().ok());
    Ok(Current { config: Arc::new(config), hsts })
}

#[cfg(test)]
mod tests;
