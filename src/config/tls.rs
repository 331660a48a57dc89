//! `[tls]`: the certificates that listeners with `tls = true` serve, and whom they ask for one. Every file is read here already, so
//! that `check` says what the start would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::reader::{Field, Section};
use crate::base::clock::{Clock, SystemClock};
use crate::server::ListenerSettings;
use crate::server::tls::{Certificate, CertificateFiles, ClientAuth, Settings, Version};

/// Longer than any browser asks for.
const LONGEST_HSTS: Duration = Duration::from_secs(3650 * 86400);

/// `[tls]`; `None` when no listener needs it.
pub(super) fn read(
    mut section: Section<'_>,
    base: &Path,
    listeners: &[ListenerSettings],
) -> Option<Settings> {
    let wanted = listeners.iter().any(|listener| listener.tls);
    let versions = [("1.2", Version::V12), ("1.3", Version::V13)];
    let certificates = certificates(&mut section, base, wanted);
    let settings = Settings {
        certificates,
        min_version: section.take("min_version").and_then(|f| f.word(&versions)).unwrap_or(Version::V12),
        http2: section.take("http2").and_then(|f| f.boolean()).unwrap_or(true),
        client: client(&mut section, base),
        hsts: section.take("hsts").and_then(|f| match f.as_boolean() {
            Some(false) => None,
            _ => f.duration(Duration::from_secs(1)..=LONGEST_HSTS),
        }),
    };
    let (present, span, report) = (section.is_present(), section.span(), section.report());
    section.finish();
    if present && !wanted {
        let mend = "write the listener as { address = \"0.0.0.0:443\", tls = true }";
        report.warn(span, "`tls` is set, and no listener has tls = true", mend);
    }
    wanted.then_some(settings)
}

fn certificates(section: &mut Section<'_>, base: &Path, wanted: bool) -> Vec<CertificateFiles> {
    let mend = "certificates = [{ certificate = \"cert.pem\", key = \"key.pem\" }]";
    let field = if wanted { section.require("certificates", mend) } else { section.take("certificates") };
    let Some(field) = field else { return Vec::new() };
    if field.list_is_empty() {
        field.error("`tls.certificates` is empty", mend);
    }
    field.list().unwrap_or_default().iter().filter_map(|entry| one(entry, base)).collect()
}

fn one(entry: &Field<'_>, base: &Path) -> Option<CertificateFiles> {
    let mut table = entry.table()?;
    let certificate = table.require("certificate", "the file of the certificate chain, in PEM");
    let key = table.require("key", "the file of its private key, in PEM");
    let ocsp = table.take("ocsp");
    table.finish();
    let path = |field: &Field<'_>| field.text().map(|text| base.join(text));
    let (certificate, key) = (certificate?, key?);
    let files = CertificateFiles {
        certificate: path(&certificate)?,
        key: path(&key)?,
        ocsp: ocsp.as_ref().and_then(path),
    };
    if let Err(error) = Certificate::read(&files, SystemClock::default().now()) {
        let at = match error.path() {
            Some(path) if path == files.certificate => &certificate,
            Some(path) if path == files.key => &key,
            Some(path) if Some(path) == files.ocsp.as_deref() => ocsp.as_ref().unwrap_or(&key),
            _ => &certificate,
        };
        at.error(
            error.to_string(),
            "name a file that holds it; `openssl x509 -in FILE -text` shows what is there",
        );
    }
    let everyone = fs::metadata(&files.key).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0);
    if everyone {
        let shown = files.key.display();
        key.warn(format!("everyone may use the private key in {shown}"), format!("chmod o= {shown}"));
    }
    Some(files)
}

fn client(section: &mut Section<'_>, base: &Path) -> ClientAuth {
    #[derive(Clone, Copy, PartialEq)]
    enum Asked {
        None,
        Optional,
        Required,
    }
    let words = [("none", Asked::None), ("optional", Asked::Optional), ("required", Asked::Required)];
    let (authority, asked) = (section.take("client_ca"), section.take("client_certificates"));
    let word = asked.as_ref().and_then(|f| f.word(&words)).unwrap_or(Asked::None);
    let path = authority.as_ref().and_then(Field::text).map(|text| base.join(text));
    let auth = match (word, path) {
        (Asked::None, None) => return ClientAuth::None,
        (Asked::None, Some(_)) => {
            if let Some(field) = authority.filter(|_| asked.is_none()) {
                let what = "`tls.client_ca` does nothing without `tls.client_certificates`";
                field.error(what, "client_certificates = \"optional\", or \"required\"");
            }
            return ClientAuth::None;
        }
        (_, None) => {
            if let Some(field) = asked {
                let what = "`tls.client_ca` is missing: nobody says whose certificates count";
                field.error(what, "name the file of your authority's certificate, in PEM");
            }
            return ClientAuth::None;
        }
        (Asked::Optional, Some(path)) => ClientAuth::Optional(path),
        (Asked::Required, Some(path)) => ClientAuth::Required(path),
    };
    if let (Err(error), Some(field)) = (auth.check(), authority) {
        field.error(error.to_string(), "name the file of your authority's certificate, in PEM");
    }
    auth
}
