//! The token a browser carries, and the hash of it that is all a store ever sees (S1).

use std::fmt;
use std::hash::{Hash, Hasher};

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::secret::{Random, RandomError};

/// Characters of a token in base64url without padding (RFC 4648 section 5).
pub const TOKEN_CHARS: usize = 43;

/// Keeps this hash apart from every other SHA-256 in the world. With the 32 token bytes it stays within one block.
const DOMAIN: &[u8] = b"fluidgate session v1\0";

/// A session's secret: 32 bytes of a cryptographic generator. Never printed, wiped on drop.
pub struct Token(Zeroizing<[u8; 32]>);

impl Token {
    /// A fresh token.
    ///
    /// # Errors
    /// When the generator cannot answer.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// Reads the 43 characters of a cookie; `None` for anything but their one canonical form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(decode_32(text)?)))
    }

    /// Appends the 43 characters to `out`.
    pub fn write_to(&self, out: &mut String) {
        BASE64URL_NOPAD.encode_append(&*self.0, out);
    }

    /// The hash under which the session is stored.
    pub fn stored_id(&self) -> StoredId {
        StoredId(Sha256::new().chain_update(DOMAIN).chain_update(self.0.as_slice()).finalize().into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Reads 32 bytes in base64url without padding; `None` for another length, another alphabet, or stray trailing bits.
pub(crate) fn decode_32(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != TOKEN_CHARS {
        return None;
    }
    let written = BASE64URL_NOPAD.decode_mut(text, &mut bytes).ok()?;
    (written == bytes.len()).then_some(bytes)
}

/// The key of a session in every store and table: a domain-separated SHA-256 of the token. Knowing it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredId([u8; 32]);

impl StoredId {
    /// The id of these 32 stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a number: uniform, and nobody can choose them without a valid MAC.
    pub(crate) fn start(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Reads what [`fmt::Display`] prints: 64 lower-case hexadecimal digits. For the commands that name a session.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        data_encoding::HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl Hash for StoredId {
    /// The bytes already are a uniform hash that nobody can choose without a valid MAC: eight of them are enough.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.start());
    }
}

impl fmt::Display for StoredId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoredId {
    /// A short form: enough to tell two sessions apart, too little to name one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "StoredId({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::base::secret::SystemRandom;

    #[test]
    fn a_million_tokens_are_distinct_and_43_characters_long() {
        let mut text = String::new();
        let mut seen = HashSet::with_capacity(1_000_000);
        for _ in 0..1_000_000 {
            let token = Token::random(&SystemRandom).unwrap();
            assert!(seen.insert(*token.0), "a token came twice");
        }
        Token::random(&SystemRandom).unwrap().write_to(&mut text);
        assert_eq!(text.len(), TOKEN_CHARS);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn only_the_canonical_form_of_a_token_is_read() {
        let mut text = String::new();
        let token = Token::random(&SystemRandom).unwrap();
        token.write_to(&mut text);
        assert_eq!(Token::parse(text.as_bytes()).unwrap().stored_id(), token.stored_id());
        // The last character carries two unused bits: set, they would be a second spelling.
        assert!(Token::parse(format!("{}B", "A".repeat(42)).as_bytes()).is_none());
        assert!(Token::parse(b"").is_none());
        assert!(Token::parse(format!("{text}=").as_bytes()).is_none());
        assert!(Token::parse("+".repeat(43).as_bytes()).is_none());
    }

    #[test]
    fn the_stored_id_is_domain_separated_from_a_plain_hash_of_the_token() {
        let token = Token::random(&SystemRandom).unwrap();
        let plain: [u8; 32] = Sha256::digest(token.0.as_slice()).into();
        assert_ne!(token.stored_id().as_bytes(), &plain);
    }

    #[test]
    fn debug_shows_neither_the_token_nor_the_whole_id() {
        let token = Token::random(&SystemRandom).unwrap();
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert_eq!(format!("{:?}", token.stored_id()).chars().count(), "StoredId(01020304…)".chars().count());
    }

    #[test]
    fn an_id_survives_print_and_parse() {
        let id = Token::random(&SystemRandom).unwrap().stored_id();
        assert_eq!(StoredId::parse(&id.to_string()), Some(id));
        assert_eq!(StoredId::parse("zz"), None);
    }
}
