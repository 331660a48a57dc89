//! How the session cookie is written and read: `v1.<key id>.<token>.<MAC>`, its attributes, its removal (S2, S17, S20, S21).

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::HeaderValue;
use jiff::fmt::rfc2822;

use crate::base::clock::Timestamp;
use crate::session::id::{TOKEN_CHARS, Token, decode_32};
use crate::session::keys::{KEY_ID_CHARS, KeyRing, Verdict};
use crate::session::{CookieSettings, MaxAge, SameSite, SecureMode};

/// The default name where the cookie is Secure.
pub const HOST_NAME: &str = "__Host-fluidgate";
/// The default name where it is not.
pub const PLAIN_NAME: &str = "fluidgate";

/// Browsers keep no cookie longer than this (RFC 6265bis section 5.5).
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const VERSION: &[u8] = b"v1.";
/// Version, key id and token with their dots: what the MAC is over. It fits one SHA-256 block with its padding.
const SIGNED: usize = VERSION.len() + KEY_ID_CHARS + 1 + TOKEN_CHARS;
const _: () = assert!(SIGNED <= 55, "the MAC's message fits one block");
const VALUE: usize = SIGNED + 1 + TOKEN_CHARS;

/// Cookie options that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieProblem {
    /// The name holds bytes that no cookie name may hold.
    #[error("session.cookie.name may hold letters, digits and !#$%&'*+-.^_`|~ only, and not be empty")]
    Name,
    /// A prefixed name without Secure.
    #[error("session.cookie.secure cannot be false with a name that starts with __Host- or __Secure-")]
    PrefixWithoutSecure,
    /// `__Host-` with a domain.
    #[error(
        "session.cookie.domain cannot be set while the cookie's name starts with __Host- (the default name does): set session.cookie.name too"
    )]
    HostWithDomain,
    /// `__Host-` with another path.
    #[error(
        "session.cookie.path must be \"/\" while the cookie's name starts with __Host- (the default name does): set session.cookie.name too"
    )]
    HostWithPath,
    /// `SameSite=None` without Secure always.
    #[error("session.cookie.same_site = \"none\" needs session.cookie.secure = true")]
    NoneWithoutSecure,
    /// The path is no path.
    #[error("session.cookie.path must start with / and hold neither ; nor control characters")]
    Path,
    /// The domain is no domain.
    #[error("session.cookie.domain must be a host name")]
    Domain,
}

impl CookieSettings {
    /// Finds options that contradict each other, so that a browser would drop the cookie and every login silently fail.
    ///
    /// # Errors
    /// The first contradiction; its text names the key.
    pub fn check(&self) -> Result<(), CookieProblem> {
        let name = self.name.as_deref().unwrap_or(HOST_NAME);
        let prefixed =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        // The default name bends to the plain one where Secure is never set.
        let bends = self.name.is_none() && self.secure == SecureMode::Never;
        let host = prefixed("__Host-") && !bends;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(CookieProblem::Name);
        }
        if self.secure == SecureMode::Never && (host || prefixed("__Secure-") && !bends) {
            return Err(CookieProblem::PrefixWithoutSecure);
        }
        if host && self.domain.is_some() {
            return Err(CookieProblem::HostWithDomain);
        }
        if host && self.path != "/" {
            return Err(CookieProblem::HostWithPath);
        }
        if self.same_site == SameSite::None && self.secure != SecureMode::Always {
            return Err(CookieProblem::NoneWithoutSecure);
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';') {
            return Err(CookieProblem::Path);
        }
        let host_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if self.domain.as_ref().is_some_and(|d| d.is_empty() || !d.bytes().all(host_byte)) {
            return Err(CookieProblem::Domain);
        }
        Ok(())
    }
}

/// A genuine cookie value.
#[derive(Debug)]
pub struct Presented {
    /// The token it carries.
    pub token: Token,
    /// It was signed by an older key.
    pub older_key: bool,
}

/// Why a cookie value is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGenuine {
    /// It does not have the form of our cookie.
    Malformed,
    /// It has, but no key of ours made that MAC.
    BadMac,
}

/// Writes and reads the cookie by one set of settings.
#[derive(Debug)]
pub struct CookieCodec {
    keys: KeyRing,
    secure_mode: SecureMode,
    max_age: MaxAge,
    plain: Form,
    secure: Form,
}

/// The fixed parts for one scheme.
#[derive(Debug)]
struct Form {
    name: Box<str>,
    /// Everything after value and lifetime, each with a leading `; `.
    attributes: Box<str>,
    /// `; Expires=…` of the fixed date, or nothing.
    expires: Box<str>,
    removal: HeaderValue,
}

impl CookieCodec {
    /// A codec for checked settings.
    pub fn new(keys: KeyRing, settings: &CookieSettings) -> Self {
        Self {
            keys,
            secure_mode: settings.secure,
            max_age: settings.max_age,
            plain: Form::new(settings, false),
            secure: Form::new(settings, true),
        }
    }

    /// The cookie's name for a request that came securely or not.
    pub fn name(&self, secure: bool) -> &str {
        &self.form(secure).name
    }

    /// Whether `name` is the cookie's, in either spelling.
    pub fn is_name(&self, name: &[u8]) -> bool {
        [&self.plain, &self.secure].iter().any(|form| form.name.as_bytes() == name)
    }

    /// The same with the prefix in any case: browsers match `__Host-` and `__Secure-` without regard to case, so another
    /// spelling can stand beside ours (RFC 6265bis section 5.4).
    pub fn is_like_name(&self, name: &[u8]) -> bool {
        [&self.plain, &self.secure].iter().any(|form| {
            let own = form.name.as_bytes();
            let prefix = ["__Host-", "__Secure-"].iter().find(|prefix| starts_with_prefix(own, prefix));
            let at = prefix.map_or(0, |prefix| prefix.len());
            match (own.split_at_checked(at), name.split_at_checked(at)) {
                (Some((own, rest)), Some((start, end))) => own.eq_ignore_ascii_case(start) && rest == end,
                _ => false,
            }
        })
    }

    /// Reads a cookie value. The MAC is compared in constant time.
    ///
    /// # Errors
    /// When the value is not one that this gateway made.
    pub fn read(&self, value: &[u8]) -> Result<Presented, NotGenuine> {
        let parts = || {
            let (signed, mac) = (value.get(..SIGNED)?, value.get(SIGNED..)?.strip_prefix(b".")?);
            let (id, token) = signed.strip_prefix(VERSION)?.split_at_checked(KEY_ID_CHARS)?;
            Some((signed, id, Token::parse(token.strip_prefix(b".")?)?, decode_32(mac)?))
        };
        let (signed, id, token, mac) = parts().ok_or(NotGenuine::Malformed)?;
        match self.keys.verify(id, signed, &mac) {
            Verdict::Newest => Ok(Presented { token, older_key: false }),
            Verdict::Older => Ok(Presented { token, older_key: true }),
            Verdict::Refused => Err(NotGenuine::BadMac),
        }
    }

    /// The `Set-Cookie` value that hands `token` out, for a session that ends `remaining` from now at the latest.
    pub fn issue(&self, token: &Token, remaining: Duration, secure: bool) -> HeaderValue {
        let form = self.form(secure);
        let mut text =
            String::with_capacity(form.name.len() + VALUE + form.attributes.len() + form.expires.len() + 32);
        text.push_str(&form.name);
        text.push('=');
        self.write_value(token, &mut text);
        text.push_str(&form.attributes);
        let remaining = remaining.min(LONGEST);
        match self.max_age {
            MaxAge::Derived => push_max_age(&mut text, remaining),
            MaxAge::Ceiling(ceiling) => push_max_age(&mut text, remaining.min(ceiling)),
            MaxAge::BrowserSession => {}
        }
        text.push_str(&form.expires);
        sensitive(&text)
    }

    /// The `Set-Cookie` value that removes the cookie: the same attributes, so that the browser takes it for the same cookie.
    pub fn removal(&self, secure: bool) -> HeaderValue {
        self.form(secure).removal.clone()
    }

    fn form(&self, secure: bool) -> &Form {
        match self.secure_mode {
            SecureMode::Always => &self.secure,
            SecureMode::Never => &self.plain,
            SecureMode::Auto if secure => &self.secure,
            SecureMode::Auto => &self.plain,
        }
    }

    fn write_value(&self, token: &Token, out: &mut String) {
        let start = out.len();
        out.push_str("v1.");
        // A key id is base64url text.
        out.push_str(std::str::from_utf8(self.keys.signing_id()).unwrap_or_default());
        out.push('.');
        token.write_to(out);
        let mac = self.keys.sign(out.get(start..).unwrap_or_default().as_bytes());
        out.push('.');
        BASE64URL_NOPAD.encode_append(&mac, out);
    }
}

impl Form {
    fn new(settings: &CookieSettings, secure: bool) -> Self {
        let name: Box<str> = match &settings.name {
            Some(own) => own.as_str().into(),
            None if secure => HOST_NAME.into(),
            None => PLAIN_NAME.into(),
        };
        let mut attributes = format!("; Path={}", settings.path);
        if let Some(domain) = &settings.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if secure {
            attributes.push_str("; Secure");
        }
        if settings.http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str(match settings.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        let expires =
            settings.expires.and_then(http_date).map_or_else(String::new, |date| format!("; Expires={date}"));
        let removal = format!("{name}={attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        // Checked settings hold visible ASCII only.
        let removal = HeaderValue::from_str(&removal).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { name, attributes: attributes.into(), expires: expires.into(), removal }
    }
}

fn push_max_age(text: &mut String, span: Duration) {
    text.push_str("; Max-Age=");
    text.push_str(&span.as_secs().to_string());
}

fn sensitive(text: &str) -> HeaderValue {
    // Base64url and checked settings: visible ASCII.
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The IMF-fixdate of RFC 9110 section 5.6.7.
fn http_date(moment: Timestamp) -> Option<String> {
    let millis = i64::try_from(moment.as_millis()).ok()?;
    let moment = jiff::Timestamp::from_millisecond(millis).ok()?;
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).ok()
}

fn starts_with_prefix(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
