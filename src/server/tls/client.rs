//! Who a client is by its certificate.

use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::base::clock::Timestamp;

/// A client's certificate: its owner was proven in the handshake, and its authority is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name; the first when there are several.
    pub common_name: Option<String>,
    /// The DNS names, e-mail addresses, URIs and addresses that it is issued to.
    pub alternative_names: Vec<String>,
    /// When it ends.
    pub not_after: Timestamp,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

impl ClientCertificate {
    /// Reads one that a handshake has verified. `None` when it cannot be read, and then the client has none.
    pub(in crate::server) fn read(der: &CertificateDer<'_>) -> Option<Arc<Self>> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|names| &names.value.general_names);
        Some(Arc::new(Self {
            common_name: common_name.map(str::to_owned),
            alternative_names: names.filter_map(text).collect(),
            not_after: Timestamp::from_secs(
                u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0),
            ),
            fingerprint: HEXLOWER.encode(&Sha256::digest(der)),
        }))
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|v4| IpAddr::from(v4).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    }
}
