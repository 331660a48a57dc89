//! `access` of a route: who may.

use super::lint::Named;
use super::reader::Field;
use crate::policy::Access;
use crate::server::tls::{ClientAuth, Settings};

/// The rule, if it can be used. `tls` says whether clients are asked for certificates at all; the users and groups are noted in
/// `named`.
pub(super) fn read(field: &Field<'_>, tls: Option<&Settings>, named: &mut Vec<Named>) -> Option<Access> {
    if !field.is_table() {
        field.expect("\"public\", \"authenticated\" or { users = […], groups = […] }", field.as_text())?;
        let public = field.word(&[("public", true), ("authenticated", false)])?;
        return Some(if public { Access::Public } else { Access::Authenticated });
    }
    let mut table = field.table()?;
    let mut names = |key, group| {
        let texts = table.take(key).map(|f| f.texts().unwrap_or_default()).unwrap_or_default();
        for (entry, text) in &texts {
            named.push(Named { group, name: Box::from(*text), span: entry.span() });
        }
        texts.into_iter().map(|(_, text)| Box::from(text)).collect::<Vec<Box<str>>>()
    };
    let (users, groups) = (names("users", false), names("groups", true));
    let certificates = table.take("client_certificates").map_or(Some(Vec::new()), |f| certificates(&f, tls));
    table.finish();
    let certificates = certificates?;
    if users.is_empty() && groups.is_empty() && certificates.is_empty() {
        field.error(
            "this `access` names no user and no group, so nobody could pass",
            "name some, or remove the route",
        );
        return None;
    }
    Some(Access::Members { users, groups, certificates })
}

/// Names that certificates are issued to, and fingerprints.
fn certificates(field: &Field<'_>, tls: Option<&Settings>) -> Option<Vec<Box<str>>> {
    let texts = field.texts()?;
    let asked = tls.is_some_and(|tls| !matches!(tls.client, ClientAuth::None));
    if !asked && !field.list_is_empty() {
        let what = "no client is asked for a certificate, so none of these could pass";
        field.error(what, "set tls.client_ca and tls.client_certificates");
        return None;
    }
    let mut names = Vec::new();
    for (entry, text) in texts {
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                let what = format!("{text:?} is not a fingerprint");
                entry.error(what, "sha256: and 64 hexadecimal digits, without colons");
                return None;
            }
            Some(digits) => names.push(format!("sha256:{}", digits.to_ascii_lowercase()).into()),
            None => names.push(text.into()),
        }
    }
    Some(names)
}
