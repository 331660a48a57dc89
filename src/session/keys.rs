//! The signing keys: the first signs, all verify (S2, S3).

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::base::secret::Secret;

/// Fewest bytes of a secret.
pub const MIN_SECRET: usize = 32;

/// Characters of a key id.
pub const KEY_ID_CHARS: usize = 8;

type HmacSha256 = Hmac<Sha256>;

/// A secret that must not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    /// The list is empty.
    #[error(
        "session.secrets is empty: give at least one, for example \"file:secret.key\" written by `fluidgate secret`"
    )]
    Missing,
    /// One is too short to resist guessing.
    #[error(
        "secret {position} of session.secrets has {len} bytes, {MIN_SECRET} or more are needed: `fluidgate secret` prints one"
    )]
    TooShort {
        /// Place in the list, from 1.
        position: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// One byte over and over, or a text every reader of the samples knows.
    #[error(
        "secret {position} of session.secrets is a sample or a repeated byte: `fluidgate secret` prints a real one"
    )]
    Known {
        /// Place in the list, from 1.
        position: usize,
    },
    /// The same secret stands twice.
    #[error("secret {position} of session.secrets stands there twice")]
    Repeated {
        /// Place of the second one, from 1.
        position: usize,
    },
}

/// The keys of one gateway. Each keeps its HMAC state precomputed, so that a check costs two compressions.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Box<[Key]>,
}

impl KeyRing {
    /// Keys of `secrets`, in their order.
    ///
    /// # Errors
    /// When a secret is missing, shorter than [`MIN_SECRET`], known to everybody, or given twice.
    pub fn new(secrets: &[Secret]) -> Result<Self, SecretProblem> {
        if secrets.is_empty() {
            return Err(SecretProblem::Missing);
        }
        let mut keys: Vec<Key> = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            let position = index + 1;
            check(secret, position)?;
            let key = Key::new(secret).ok_or(SecretProblem::TooShort { position, len: secret.len() })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(SecretProblem::Repeated { position });
            }
            keys.push(key);
        }
        Ok(Self { keys: keys.into() })
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> &[u8] {
        self.keys.first().map_or(&[], |key| &key.id)
    }

    /// The MAC of `message` by the key that signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        // A ring is never empty; a ring that were would sign nothing anyone accepts.
        self.keys
            .first()
            .map_or([0; 32], |key| key.state.clone().chain_update(message).finalize().into_bytes().into())
    }

    /// Checks `mac` over `message` by the key called `id`, in constant time.
    pub fn verify(&self, id: &[u8], message: &[u8], mac: &[u8; 32]) -> Verdict {
        let Some(index) = self.keys.iter().position(|key| key.id == id) else { return Verdict::Refused };
        let Some(key) = self.keys.get(index) else { return Verdict::Refused };
        match key.state.clone().chain_update(message).verify_slice(mac) {
            Ok(()) if index == 0 => Verdict::Newest,
            Ok(()) => Verdict::Older,
            Err(_) => Verdict::Refused,
        }
    }
}

/// What [`KeyRing::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Genuine, by the key that signs today.
    Newest,
    /// Genuine, by an older key: issue it again.
    Older,
    /// Unknown key or wrong MAC.
    Refused,
}

#[derive(Clone)]
struct Key {
    /// Public: a short digest of the secret, so that a cookie names its key without an index that a reordering would break.
    id: [u8; KEY_ID_CHARS],
    state: HmacSha256,
}

impl Key {
    fn new(secret: &Secret) -> Option<Self> {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"fluidgate key id v1\0")
            .chain_update(secret.expose())
            .finalize()
            .into();
        let mut id = [0; KEY_ID_CHARS];
        BASE64URL_NOPAD.encode_mut(digest.get(..6)?, &mut id);
        Some(Self { id, state: HmacSha256::new_from_slice(secret.expose()).ok()? })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", String::from_utf8_lossy(&self.id))
    }
}

fn check(secret: &Secret, position: usize) -> Result<(), SecretProblem> {
    let bytes = secret.expose();
    if bytes.len() < MIN_SECRET {
        return Err(SecretProblem::TooShort { position, len: bytes.len() });
    }
    let sample =
        ["your-secret", "your_secret", "changeme", "change-me", "change_me", "replace-me", "replace_me"];
    // Looked at where it is: a copy in lower case would be left behind in memory.
    let has = |word: &str| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    if bytes.iter().all(|byte| Some(byte) == bytes.first()) || sample.into_iter().any(has) {
        return Err(SecretProblem::Known { position });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(fill: u8) -> Secret {
        Secret::new((0..32).map(|i| i ^ fill).collect())
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let old = KeyRing::new(&[secret(1)]).unwrap();
        let both = KeyRing::new(&[secret(2), secret(1)]).unwrap();
        let mac = old.sign(b"m");
        assert_eq!(old.verify(old.signing_id(), b"m", &mac), Verdict::Newest);
        assert_eq!(both.verify(old.signing_id(), b"m", &mac), Verdict::Older);
        assert_eq!(both.verify(both.signing_id(), b"m", &both.sign(b"m")), Verdict::Newest);
        assert_eq!(
            KeyRing::new(&[secret(2)]).unwrap().verify(old.signing_id(), b"m", &mac),
            Verdict::Refused
        );
    }

    #[test]
    fn a_changed_message_or_mac_is_refused() {
        let ring = KeyRing::new(&[secret(1)]).unwrap();
        let mut mac = ring.sign(b"m");
        assert_eq!(ring.verify(ring.signing_id(), b"n", &mac), Verdict::Refused);
        mac[31] ^= 1;
        assert_eq!(ring.verify(ring.signing_id(), b"m", &mac), Verdict::Refused);
        assert_eq!(ring.verify(b"", b"m", &mac), Verdict::Refused);
    }

    #[test]
    fn secrets_under_32_bytes_samples_and_repeats_refuse() {
        assert_eq!(KeyRing::new(&[]).unwrap_err(), SecretProblem::Missing);
        assert_eq!(
            KeyRing::new(&[secret(1), Secret::new(vec![7; 31])]).unwrap_err(),
            SecretProblem::TooShort { position: 2, len: 31 }
        );
        assert_eq!(
            KeyRing::new(&[Secret::new(vec![0; 32])]).unwrap_err(),
            SecretProblem::Known { position: 1 }
        );
        let sample = Secret::new(b"your-secret-key-your-secret-key-your".to_vec());
        assert_eq!(KeyRing::new(&[sample]).unwrap_err(), SecretProblem::Known { position: 1 });
        assert_eq!(
            KeyRing::new(&[secret(1), secret(1)]).unwrap_err(),
            SecretProblem::Repeated { position: 2 }
        );
    }

    #[test]
    fn debug_shows_no_secret_bytes() {
        let text = b"0123456789abcdef0123456789ABCDEF".to_vec();
        let shown = format!("{:?}", KeyRing::new(&[Secret::new(text)]).unwrap());
        assert!(!shown.contains("0123456789"), "{shown}");
    }
}
