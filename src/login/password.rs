//! Argon2id (RFC 9106) in PHC string form: new hashes take the settings' cost, stored ones keep their own.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::HashingSettings;
use crate::base::secret::{Random, Secret};

/// Longest password accepted, in bytes; refused before hashing (X15).
pub const MAX_PASSWORD: usize = 1024;
/// Shortest password that may be set, in characters (NIST SP 800-63B section 3.1.1.2).
pub const MIN_PASSWORD: usize = 8;

/// The most memory a stored hash may ask for, in KiB (1 GiB).
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// The most passes a stored hash may ask for.
const MAX_PASSES: u32 = 16;
/// The most lanes a stored hash may ask for.
const MAX_LANES: u32 = 16;
const SALT_LEN: usize = 16;
const OUTPUT_LEN: usize = 32;

/// Why a password cannot be stored, or a stored hash not be used. Never carries the password or the hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer characters than [`MIN_PASSWORD`].
    #[error("a password has at least {MIN_PASSWORD} characters")]
    TooShort,
    /// More bytes than [`MAX_PASSWORD`].
    #[error("a password has at most {MAX_PASSWORD} bytes")]
    TooLong,
    /// A NUL byte.
    #[error("a password holds no NUL byte")]
    Nul,
    /// Not an argon2id PHC string.
    #[error("not an argon2id hash in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")]
    Damaged,
    /// More memory, passes or lanes than a login may cost.
    #[error("a hash may ask for at most 1 GiB, {MAX_PASSES} passes and {MAX_LANES} lanes")]
    TooCostly,
    /// The settings' cost is outside Argon2's own limits, or the random generator failed.
    #[error("cannot hash: {0}")]
    Failed(String),
}

/// One stored hash, checked. `Debug` shows its cost, not its bytes.
#[derive(Clone)]
pub struct StoredHash {
    params: Params,
    salt: Box<[u8]>,
    output: Box<[u8]>,
    digest: [u8; 16],
}

impl StoredHash {
    /// Reads a PHC string. Only `argon2id`, version 19, salt of 8 bytes or more, output of 16 bytes or more.
    ///
    /// # Errors
    /// [`PasswordError::Damaged`] or [`PasswordError::TooCostly`].
    pub fn parse(phc: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(phc).map_err(|_| PasswordError::Damaged)?;
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
            return Err(PasswordError::Damaged);
        }
        let params = Params::try_from(&hash).map_err(|_| PasswordError::Damaged)?;
        // A key id or associated data would need material that the file does not hold.
        if !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(PasswordError::Damaged);
        }
        if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
            return Err(PasswordError::TooCostly);
        }
        let (Some(salt), Some(output)) = (&hash.salt, &hash.hash) else { return Err(PasswordError::Damaged) };
        if salt.len() < 8 || output.len() < 16 {
            return Err(PasswordError::Damaged);
        }
        let digest = digest(phc);
        Ok(Self { params, salt: salt.as_ref().into(), output: output.as_bytes().into(), digest })
    }

    /// A hash that no password matches and that costs as much as a new one: what an unknown name is checked against (X14).
    ///
    /// # Errors
    /// [`PasswordError::Failed`] when the cost is out of range or the generator fails.
    pub fn decoy(settings: HashingSettings, random: &dyn Random) -> Result<Self, PasswordError> {
        let mut salt = [0; SALT_LEN];
        let mut output = [0; OUTPUT_LEN];
        random.fill(&mut salt).and_then(|()| random.fill(&mut output)).map_err(failed)?;
        let params = params(settings)?;
        Ok(Self { params, salt: salt.into(), output: output.into(), digest: [0; 16] })
    }

    /// Whether `password` is the one. Runs one whole hash whatever the answer, compares in constant time, and works in
    /// `arena`, which it grows as needed. An error of the hash is a no.
    pub fn verify(&self, password: &Secret, arena: &mut Arena) -> bool {
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let mut computed = vec![0; self.output.len()];
        let memory = arena.blocks(self.params.block_count());
        let done = argon.hash_password_into_with_memory(password.expose(), &self.salt, &mut computed, memory);
        done.is_ok() && bool::from(computed.ct_eq(&self.output))
    }

    /// Whether a check costs less than a millisecond, which no hash of an honest file does.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_cheap(&self) -> bool {
        self.params.block_count() <= 256 && self.params.t_cost() <= 2
    }

    /// The digest a session remembers: changes with the hash, tells nothing of it (S33).
    pub fn credential(&self) -> [u8; 16] {
        self.digest
    }

    /// Whether a check costs the same as one against the decoy. If not, its time tells that the name exists.
    pub fn costs_as(&self, settings: HashingSettings) -> bool {
        let p = &self.params;
        (p.m_cost(), p.t_cost(), p.p_cost()) == (settings.memory_kib, settings.iterations, 1)
    }
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = &self.params;
        write!(f, "StoredHash(m={},t={},p={})", p.m_cost(), p.t_cost(), p.p_cost())
    }
}

/// The working memory of one hashing thread, kept between runs so that each run does not fault its pages in anew.
#[derive(Default)]
pub struct Arena(Vec<Block>);

impl Arena {
    /// Gives back what is above `blocks` KiB, so that one costly hash in the file does not hold memory for good.
    pub fn shrink_to(&mut self, blocks: usize) {
        self.0.truncate(blocks);
        self.0.shrink_to_fit();
    }

    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.resize_with(count, Block::new);
        }
        self.0.get_mut(..count).unwrap_or_default()
    }
}

/// A new PHC string of `password` at the settings' cost, with a salt of 16 random bytes.
///
/// # Errors
/// When the password is out of bounds, the cost out of range, or the generator fails.
pub fn hash_new(
    password: &Secret,
    settings: HashingSettings,
    random: &dyn Random,
) -> Result<String, PasswordError> {
    if password.len() > MAX_PASSWORD {
        return Err(PasswordError::TooLong);
    }
    if password.expose().contains(&0) {
        return Err(PasswordError::Nul);
    }
    if String::from_utf8_lossy(password.expose()).chars().count() < MIN_PASSWORD {
        return Err(PasswordError::TooShort);
    }
    let mut salt = [0; SALT_LEN];
    random.fill(&mut salt).map_err(failed)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params(settings)?);
    let hash: PasswordHash = argon.hash_password_with_salt(password.expose(), &salt).map_err(failed)?;
    Ok(hash.to_string())
}

fn params(settings: HashingSettings) -> Result<Params, PasswordError> {
    Params::new(settings.memory_kib, settings.iterations, 1, Some(OUTPUT_LEN)).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn failed(error: impl ToString) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

/// The first 16 bytes of SHA-256 over a domain prefix and the stored string.
fn digest(phc: &str) -> [u8; 16] {
    let whole =
        Sha256::new().chain_update(b"fluidgate credential v1\0").chain_update(phc.as_bytes()).finalize();
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(whole) {
        *to = from;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::SystemRandom;
    use proptest::prelude::*;

    const CHEAP: HashingSettings = HashingSettings { memory_kib: 64, iterations: 1, threads: 1, queue: 4 };

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn the_right_password_matches_and_another_does_not() {
        let phc = hash_new(&secret("correct horse"), CHEAP, &SystemRandom).unwrap();
        let stored = StoredHash::parse(&phc).unwrap();
        let mut arena = Arena::default();
        assert!(stored.verify(&secret("correct horse"), &mut arena));
        assert!(!stored.verify(&secret("correct horsE"), &mut arena));
        assert!(stored.costs_as(CHEAP));
    }

    #[test]
    fn a_stored_hash_keeps_its_own_cost_and_length() {
        let other = HashingSettings { memory_kib: 128, iterations: 3, ..CHEAP };
        let phc = hash_new(&secret("correct horse"), other, &SystemRandom).unwrap();
        let stored = StoredHash::parse(&phc).unwrap();
        assert!(!stored.costs_as(CHEAP));
        assert!(stored.verify(&secret("correct horse"), &mut Arena::default()));
    }

    #[test]
    fn passwords_under_8_characters_over_1_kib_or_with_nul_are_not_stored() {
        let set = |text: &str| hash_new(&secret(text), CHEAP, &SystemRandom).unwrap_err();
        assert_eq!(set("ööööööö"), PasswordError::TooShort);
        assert_eq!(set(&"x".repeat(MAX_PASSWORD + 1)), PasswordError::TooLong);
        assert_eq!(set("12345678\0"), PasswordError::Nul);
    }

    #[test]
    fn hashes_that_ask_for_too_much_are_refused() {
        let tail = "$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for cost in ["m=1048577,t=2,p=1", "m=19456,t=17,p=1", "m=19456,t=2,p=17"] {
            let parsed = StoredHash::parse(&format!("$argon2id$v=19${cost}{tail}"));
            assert_eq!(parsed.unwrap_err(), PasswordError::TooCostly, "{cost}");
        }
        assert!(StoredHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1{tail}")).is_ok());
    }

    #[test]
    fn other_algorithms_and_cut_hashes_are_damaged() {
        let phc = hash_new(&secret("correct horse"), CHEAP, &SystemRandom).unwrap();
        let no_output = phc.rsplit_once('$').unwrap().0;
        for bad in ["", "plain", &phc.replace("argon2id", "argon2i"), &phc.replace("v=19", "v=16"), no_output]
        {
            assert_eq!(StoredHash::parse(bad).unwrap_err(), PasswordError::Damaged, "{bad}");
        }
    }

    #[test]
    fn the_credential_digest_changes_with_the_hash_although_the_password_stays() {
        let one =
            StoredHash::parse(&hash_new(&secret("correct horse"), CHEAP, &SystemRandom).unwrap()).unwrap();
        let two =
            StoredHash::parse(&hash_new(&secret("correct horse"), CHEAP, &SystemRandom).unwrap()).unwrap();
        assert_ne!(one.credential(), two.credential());
    }

    #[test]
    fn debug_shows_the_cost_only() {
        let stored = StoredHash::decoy(CHEAP, &SystemRandom).unwrap();
        assert_eq!(format!("{stored:?}"), "StoredHash(m=64,t=1,p=1)");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,120}") {
            let _ = StoredHash::parse(&text);
        }

        #[test]
        fn no_near_hash_makes_the_reader_panic(m in any::<u64>(), t in any::<u64>(), p in any::<u64>(), tail in "[$a-zA-Z0-9+/]{0,90}") {
            let _ = StoredHash::parse(&format!("$argon2id$v=19$m={m},t={t},p={p}${tail}"));
        }
    }
}
