//! Values that must not be printed, copied about, or compared in variable time.

use std::fmt;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Secret bytes: `Debug` shows only the length, memory is wiped on drop, equality takes constant time for equal lengths.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Every call is a place to look at in a review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// HMAC-SHA-256 by a key that is derived from this secret for the one purpose that `domain` names.
    pub fn mac_for(&self, domain: &[u8]) -> Hmac<Sha256> {
        let mut digest = Sha256::new().chain_update(domain).chain_update(&*self.0).finalize();
        let mut key = Key::<Hmac<Sha256>>::default();
        key.iter_mut().zip(&digest).for_each(|(slot, byte)| *slot = *byte);
        let mac = Hmac::new(&key);
        key.as_mut_slice().zeroize();
        digest.as_mut_slice().zeroize();
        mac
    }
}

impl ZeroizeOnDrop for Secret {}

/// Whether two texts that hold secrets are the same, in a time that tells at most their lengths. By the provider of TLS, whose
/// comparison is fast enough for each request.
pub fn are_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A source of random bytes; an argument wherever randomness decides something.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` from a cryptographic generator.
    ///
    /// # Errors
    /// When the generator cannot answer; the caller must refuse what it was about to do.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random generator failed: {0}")]
pub struct RandomError(String);

impl RandomError {
    /// A failure that `cause` explains.
    pub fn new(cause: &str) -> Self {
        Self(cause.to_owned())
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|e| RandomError::new(&e.to_string()))
    }
}

#[cfg(test)]
mod tests;
