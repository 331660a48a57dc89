//! `upstream_tls`: how TLS is spoken with the upstreams of a route. Its files are read here already, so that `check` says what a
//! start or a reload would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::reader::Field;
use crate::proxy::{Identity, TlsClient, TlsError};

const LARGEST_FILE: u64 = 1024 * 1024;
const MEND: &str = "name a file that holds it in PEM; `openssl x509 -in FILE -text` shows what is there";

/// TLS of a route, and the name that certificates must be for instead of the host of each upstream.
pub(super) struct Tls {
    pub(super) client: TlsClient,
    pub(super) server_name: Option<String>,
}

/// What the table in `field` says; `None` after an error.
pub(super) fn read(field: &Field<'_>, base: &Path) -> Option<Tls> {
    let mut table = field.table()?;
    let (authority, certificate, key, name) =
        (table.take("ca"), table.take("certificate"), table.take("key"), table.take("server_name"));
    table.finish();
    let roots = match &authority {
        Some(field) => Some(chain(field, base)?),
        None => None,
    };
    let identity: Option<Identity> = match (&certificate, &key) {
        (Some(certificate), Some(key)) => Some((chain(certificate, base)?, private_key(key, base)?)),
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => {
            only.error(
                "a client certificate needs its key, and a key its certificate",
                "set both, or neither",
            );
            return None;
        }
    };
    let client = TlsClient::new(roots.as_deref(), identity.as_ref());
    let client = client.map_err(|error| {
        let at = match &error {
            TlsError::Authority(_) => authority.as_ref(),
            TlsError::Identity(_) => certificate.as_ref(),
            TlsError::NoRoots => None,
        };
        at.unwrap_or(field).error(format!("TLS cannot be set up with this: {error}"), MEND);
    });
    let server_name = match name {
        Some(field) => {
            let text = field.text()?;
            if !super::address::is_host(text) {
                field.error(format!("{text:?} is not a host name"), "for example \"app.internal\"");
                return None;
            }
            Some(text.to_owned())
        }
        None => None,
    };
    Some(Tls { client: client.ok()?, server_name })
}

/// TLS as it is without the table: the machine's authorities, no client certificate. `at` is the first upstream that needs it.
pub(super) fn usual(at: &Field<'_>) -> Option<Tls> {
    let client = TlsClient::new(None, None).map_err(|error| {
        at.error(
            format!("TLS cannot be set up: {error}"),
            "install the machine's root certificates (Debian: ca-certificates), or name your authority: upstream_tls = { ca = \"ca.pem\" }",
        );
    });
    Some(Tls { client: client.ok()?, server_name: None })
}

fn chain(field: &Field<'_>, base: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let path = base.join(field.text()?);
    let found = read_file(&path).and_then(|bytes| {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err("it holds no certificate".to_owned()),
            chain => chain.map_err(|error| format!("its PEM is broken: {error}")),
        }
    });
    found.map_err(|reason| field.error(format!("{}: {reason}", path.display()), MEND)).ok()
}

fn private_key(field: &Field<'_>, base: &Path) -> Option<PrivateKeyDer<'static>> {
    let path = base.join(field.text()?);
    let found = read_file(&path).and_then(|bytes| {
        PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|_| "it holds no private key, or an encrypted one".into())
    });
    let found = found.map_err(|reason| field.error(format!("{}: {reason}", path.display()), MEND)).ok()?;
    if fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
        let shown = path.display();
        field.warn(format!("everyone may use the private key in {shown}"), format!("chmod o= {shown}"));
    }
    Some(found)
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    // Before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err("it is no file of at most 1 MiB".into());
    }
    fs::read(path).map(Zeroizing::new).map_err(unreadable)
}
