//! Form tokens for browsers that send neither Sec-Fetch-Site nor Origin: a MAC over what the form is bound to, and its hour.
//!
//! Stateless, so that a million visitors who never log in leave nothing behind. The login form is bound to a nonce cookie, the
//! forms of a signed-in user to their session.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::clock::Timestamp;
use crate::base::secret::Secret;

/// How long a form of a signed-in user may stay open.
pub const FORM_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How long a login form may stay open (S46). One sent later is shown again, with the name still in it.
pub const LOGIN_LIFETIME: Duration = Duration::from_secs(3600);

/// What a form is bound to.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// The login form: the value of the nonce cookie.
    Nonce(&'a str),
    /// Forms of a signed-in user: the stored id of the session.
    Session(&'a [u8]),
}

impl Binding<'_> {
    fn lifetime(self) -> Duration {
        match self {
            Self::Nonce(_) => LOGIN_LIFETIME,
            Self::Session(_) => FORM_LIFETIME,
        }
    }
}

/// Issues and checks form tokens.
#[derive(Clone)]
pub struct FormTokens(Hmac<Sha256>);

impl FormTokens {
    /// Tokens under a key derived from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self(secret.mac_for(b"fluidgate form token v1"))
    }

    /// A token for a form shown at `now`.
    pub fn issue(&self, binding: Binding<'_>, now: Timestamp) -> String {
        let mac = self.mac(binding, now.as_secs()).finalize().into_bytes();
        format!("{}.{}", now.as_secs(), BASE64URL_NOPAD.encode(&mac))
    }

    /// Whether `token` was issued for `binding` within its lifetime before `now`. Compared in constant time.
    pub fn verify(&self, token: &str, binding: Binding<'_>, now: Timestamp) -> bool {
        let Some((issued, mac)) = token.split_once('.') else { return false };
        let (Ok(issued), Ok(mac)) = (issued.parse::<u64>(), BASE64URL_NOPAD.decode(mac.as_bytes())) else {
            return false;
        };
        let age = now.since(Timestamp::from_secs(issued));
        let genuine = self.mac(binding, issued).verify_slice(&mac).is_ok();
        genuine && age <= binding.lifetime() && issued <= now.as_secs()
    }

    fn mac(&self, binding: Binding<'_>, issued: u64) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&issued.to_be_bytes());
        match binding {
            Binding::Nonce(nonce) => {
                mac.update(b"nonce");
                mac.update(nonce.as_bytes());
            }
            Binding::Session(id) => {
                mac.update(b"session");
                mac.update(id);
            }
        }
        mac
    }
}

impl std::fmt::Debug for FormTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FormTokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> FormTokens {
        FormTokens::new(&Secret::new(vec![7; 32]))
    }

    #[test]
    fn a_token_holds_for_its_own_binding_and_time_only() {
        let (tokens, now) = (tokens(), Timestamp::from_secs(1_000_000));
        let token = tokens.issue(Binding::Nonce("n"), now);
        assert!(tokens.verify(&token, Binding::Nonce("n"), now));
        assert!(tokens.verify(&token, Binding::Nonce("n"), now + LOGIN_LIFETIME));
        assert!(!tokens.verify(&token, Binding::Nonce("n"), now + LOGIN_LIFETIME + Duration::from_secs(1)));
        assert!(!tokens.verify(&token, Binding::Nonce("n"), now.before(Duration::from_secs(1))));
        assert!(!tokens.verify(&token, Binding::Nonce("m"), now));
        assert!(!tokens.verify(&token, Binding::Session(b"n"), now));
        let token = tokens.issue(Binding::Session(b"s"), now);
        assert!(tokens.verify(&token, Binding::Session(b"s"), now + FORM_LIFETIME));
        assert!(!tokens.verify(&token, Binding::Session(b"s"), now + FORM_LIFETIME + Duration::from_secs(1)));
    }

    #[test]
    fn garbage_and_tokens_of_another_secret_are_refused() {
        let now = Timestamp::from_secs(5);
        let other = FormTokens::new(&Secret::new(vec![8; 32])).issue(Binding::Nonce("n"), now);
        for token in ["", ".", "5.", "5.AAAA", "x.y", "99999999999999999999.AA", &other] {
            assert!(!tokens().verify(token, Binding::Nonce("n"), now), "{token}");
        }
    }
}
