//! Signing secrets: read from a file or the environment, judged, never printed.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::reader::{Field, Section};
use crate::base::secret::Secret;
use crate::session::keys::KeyRing;

const LEAST: usize = 32;
const LARGEST_FILE: u64 = 64 * 1024;
/// Parts of texts that stand in examples and never in random bytes.
const SAMPLE_WORDS: [&str; 6] =
    ["change-me", "changeme", "replace-me", "replaceme", "example", "your-secret"];

/// `secrets` of `[session]`: at least one, all different.
pub(super) fn read(section: &mut Section<'_>, base: &Path) -> Vec<Secret> {
    let mend = "make one with `fluidgate secret > secret.key; chmod 600 secret.key`, then write secrets = [\"file:secret.key\"]";
    let Some(field) = section.require("secrets", mend) else { return Vec::new() };
    let Some(list) = field.list() else {
        field.mask();
        return Vec::new();
    };
    if list.is_empty() {
        field.error("`session.secrets` is empty", mend);
    }
    let mut secrets: Vec<Secret> = Vec::new();
    for entry in list {
        match one(&entry, base) {
            Some(secret) if secrets.contains(&secret) => {
                entry.error("this secret is listed twice", "take one out")
            }
            Some(secret) => secrets.push(secret),
            None => {}
        }
    }
    secrets
}

/// The text that `"file:PATH"` or `"env:NAME"` refers to, without white space around it; any other text is itself. For values
/// that may hold a password: whatever it is, it is masked in every message.
pub(super) fn text(entry: &Field<'_>, base: &Path) -> Option<Zeroizing<String>> {
    entry.mask();
    let text = entry.text()?;
    let found = match (text.strip_prefix("file:"), text.strip_prefix("env:")) {
        (Some(path), _) => from_file(&base.join(path)),
        (_, Some(name)) => from_env(name),
        _ => return Some(Zeroizing::new(text.to_owned())),
    };
    let found = found.and_then(|bytes| {
        let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.trim().to_owned()));
        text.map_err(|_| refusal("this is not text", "write it in UTF-8"))
    });
    // The general advice is how to make a signing secret.
    let mend = "put the value there, readable for the gateway's user alone";
    found.map_err(|refusal| entry.error(refusal.what, mend)).ok()
}

fn one(entry: &Field<'_>, base: &Path) -> Option<Secret> {
    let Some(text) = entry.as_text() else {
        entry.mask();
        return entry.expect("\"file:PATH\" or \"env:NAME\"", None);
    };
    let found = match (text.strip_prefix("file:"), text.strip_prefix("env:")) {
        (Some(path), _) => from_file(&base.join(path)),
        (_, Some(name)) => from_env(name),
        _ => {
            entry.mask();
            let mend =
                "write it to a file of its own and name that here: \"file:secret.key\", or \"env:NAME\"";
            entry.error("a secret stands in the configuration itself", mend);
            return None;
        }
    };
    found.and_then(|bytes| judged(&bytes)).map_err(|refusal| entry.error(refusal.what, refusal.mend)).ok()
}

/// Why a secret is refused, in words that do not contain it.
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) mend: String,
}

fn refusal(what: impl Into<String>, mend: impl Into<String>) -> Refusal {
    Refusal { what: what.into(), mend: mend.into() }
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| {
        let mend = format!("make it with `fluidgate secret > {shown}; chmod 600 {shown}`");
        refusal(format!("the secret file {shown} cannot be read: {e}"), mend)
    };
    // Before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(refusal(
            format!("{shown} is not a secret file"),
            "name the file that `fluidgate secret` filled",
        ));
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let what = format!("others may use the secret file {shown} (mode {:03o})", mode & 0o777);
        return Err(refusal(what, format!("chmod 600 {shown}")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LARGEST_FILE).unwrap_or_default()));
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn from_env(name: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let valid = !name.is_empty() && !name.contains(['=', '\0']);
    let value = valid.then(|| std::env::var_os(name)).flatten().map(OsString::into_vec);
    let missing =
        || refusal(format!("the environment has no {name:?}"), "set it to what `fluidgate secret` prints");
    value.map(Zeroizing::new).ok_or_else(missing)
}

/// The secret in `bytes`: base64url text (RFC 4648 section 5, no padding) as `fluidgate secret` prints it, else the bytes as they are.
pub(super) fn judged(bytes: &[u8]) -> Result<Secret, Refusal> {
    const MEND: &str = "use what `fluidgate secret` prints";
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    if let Some(text) = text {
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        if SAMPLE_WORDS.iter().any(|word| lower.contains(word)) {
            return Err(refusal("this secret is a sample that everyone knows", MEND));
        }
    }
    let decoded = text.and_then(|t| BASE64URL_NOPAD.decode(t.as_bytes()).ok()).filter(|d| d.len() >= LEAST);
    let secret = match (decoded, text) {
        (Some(decoded), _) => Secret::new(decoded),
        (None, Some(text)) => Secret::new(text.as_bytes().to_vec()),
        (None, None) => Secret::new(bytes.to_vec()),
    };
    if secret.len() < LEAST {
        return Err(refusal(
            format!("this secret has only {} bytes, at least {LEAST} are needed", secret.len()),
            MEND,
        ));
    }
    // 32 random bytes with fewer than 8 different ones do not happen: 1 in 2^140.
    let different = secret.expose().iter().collect::<std::collections::BTreeSet<_>>().len();
    if different < 8 {
        return Err(refusal("this secret is not random", MEND));
    }
    // What the session would refuse at the start is refused here, where it can be said in which line it stands.
    if KeyRing::new(std::slice::from_ref(&secret)).is_err() {
        return Err(refusal("this secret is a sample that everyone knows", MEND));
    }
    Ok(secret)
}
