//! `fluidgate secret`: a fresh secret for `[session] secrets`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::base::secret::{Random, RandomError, SystemRandom};

/// Print a fresh secret of 32 random bytes
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SecretCommand {}

impl SecretCommand {
    /// Runs the command: exit code 0, or 1 when the generator or standard output fails.
    pub(super) fn run(self) -> ExitCode {
        let printed = fresh(&SystemRandom)
            .map_err(|e| e.to_string())
            .and_then(|text| writeln!(std::io::stdout(), "{}", *text).map_err(|e| e.to_string()));
        match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// 32 random bytes as 43 characters of base64url without padding (RFC 4648 section 5).
///
/// # Errors
/// When the generator fails.
pub(super) fn fresh(random: &dyn Random) -> Result<Zeroizing<String>, RandomError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(bytes.as_mut())?;
    Ok(Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_43_base64url_characters_of_32_bytes_and_never_the_same() {
        let (one, two) = (fresh(&SystemRandom).unwrap(), fresh(&SystemRandom).unwrap());
        assert_eq!(one.len(), 43);
        assert_eq!(BASE64URL_NOPAD.decode(one.as_bytes()).unwrap().len(), 32);
        assert_ne!(*one, *two);
    }
}
