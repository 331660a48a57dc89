//! One certificate with its key, read from files and judged: every refusal names the file and the reason.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::server::tls::{TlsError, provider};

const LARGEST_FILE: u64 = 1024 * 1024;

/// Where a certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the host's own first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// The authority's word that it is not revoked (an OCSP response in DER), handed on to clients.
    pub ocsp: Option<PathBuf>,
}

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// The file it was read from.
    pub path: PathBuf,
    /// The DNS names in it, lower case; a wildcard as `*.example.com`.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: Timestamp,
    pub(super) key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads `files`.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, the two do not belong together, or the time of the certificate is not `now`.
    pub fn read(files: &CertificateFiles, now: Timestamp) -> Result<Self, TlsError> {
        let Judged { chain, names, not_after } =
            judged(&files.certificate, &read_file(&files.certificate)?, now)?;
        let mut key = certified(chain, files, &read_file(&files.key)?)?;
        if let Some(path) = &files.ocsp {
            key.ocsp = Some(read_file(path)?.to_vec());
        }
        Ok(Self { path: files.certificate.clone(), names, not_after, key: Arc::new(key) })
    }
}

const NO_CERTIFICATE: &str = "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)";
const NO_KEY: &str = "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or an encrypted one";

/// What can be known of a certificate without its key.
pub(in crate::server) struct Judged {
    pub(in crate::server) chain: Vec<CertificateDer<'static>>,
    pub(in crate::server) names: Vec<String>,
    pub(in crate::server) not_after: Timestamp,
}

/// The chain in `pem`, the content of the file at `path`, if the first one is good `now`.
pub(in crate::server) fn judged(path: &Path, pem: &[u8], now: Timestamp) -> Result<Judged, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain = chain_in(path, pem)?;
    let own = chain.first().ok_or_else(|| failed(NO_CERTIFICATE.into()))?;
    let (_, parsed) = X509Certificate::from_der(own)
        .map_err(|error| failed(format!("its first certificate cannot be read: {error}")))?;
    let (from, until) = (parsed.validity().not_before, parsed.validity().not_after);
    let seconds = |time: i64| Timestamp::from_secs(u64::try_from(time).unwrap_or(0));
    let (not_before, not_after) = (seconds(from.timestamp()), seconds(until.timestamp()));
    if now > not_after {
        return Err(failed(format!("the certificate expired at {not_after}")));
    }
    if now < not_before {
        return Err(failed(format!("the certificate is not valid before {not_before}")));
    }
    let names = dns_names(&parsed);
    Ok(Judged { chain, names, not_after })
}

/// Every certificate in the PEM file at `path`; at least one.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    chain_in(path, &read_file(path)?)
}

fn chain_in(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| failed(format!("its PEM is broken: {error}")))?;
    if chain.is_empty() { Err(failed(NO_CERTIFICATE.into())) } else { Ok(chain) }
}

/// `chain` with the key in `pem`, the content of the key's file.
pub(in crate::server) fn certified(
    chain: Vec<CertificateDer<'static>>,
    files: &CertificateFiles,
    pem: &[u8],
) -> Result<CertifiedKey, TlsError> {
    let failed = |reason: String| TlsError::File { path: files.key.clone(), reason };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => failed(NO_KEY.into()),
        error => failed(format!("its PEM is broken: {error}")),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            failed(format!("the key does not belong to the certificate in {}", files.certificate.display()))
        }
        error => failed(format!("the key cannot be used: {error}")),
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let unreadable = |source| TlsError::Unread { path: path.to_owned(), source };
    // Before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(failed("it is no file of at most 1 MiB".into()));
    }
    // In full, so that no smaller copy of a key is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len() + 1).unwrap_or(0)));
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}
