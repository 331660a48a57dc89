//! Who someone is, with the header values that say so to an upstream built once, at login or reload, not per request.

use std::sync::Arc;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// How an identity was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginMethod {
    /// A password of the local user file.
    Password,
}

impl LoginMethod {
    /// The stable code used in records and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Password => "password",
        }
    }
}

/// A proven user: what the user directory knows about them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Box<str>,
    name: Option<Box<str>>,
    email: Option<Box<str>>,
    groups: Box<[Box<str>]>,
    values: IdentityValues,
}

/// What a login proves: who it is, how that was proved, and a digest of the credential that proved it. A session whose
/// credential has changed since is ended (S33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Who it is, as the user directory knows them now.
    pub identity: Arc<Identity>,
    /// How it was proved.
    pub method: LoginMethod,
    /// Digest of the stored credential (for a password: of its stored hash), not secret, compared whole.
    pub credential: [u8; 16],
}

/// The encoded values for identity headers. An absent attribute is `None`: the header is then absent.
///
/// Encoding: visible ASCII and inner spaces stand as they are; `%`, every other byte of the UTF-8 form, and, inside a group
/// name, `,` are percent-encoded (RFC 3986 section 2.1), so a value can neither inject, split nor truncate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityValues {
    /// The user name.
    pub user: HeaderValue,
    /// The display name.
    pub name: Option<HeaderValue>,
    /// The e-mail address.
    pub email: Option<HeaderValue>,
    /// All groups, joined by commas; `None` without groups.
    pub groups: Option<HeaderValue>,
}

impl Identity {
    /// An identity of the given parts. Empty `name` and `email` count as absent, empty groups are left out.
    pub fn new(user: &str, name: Option<&str>, email: Option<&str>, groups: &[&str]) -> Self {
        let name = name.filter(|n| !n.is_empty());
        let email = email.filter(|e| !e.is_empty());
        let groups: Box<[Box<str>]> = groups.iter().filter(|g| !g.is_empty()).map(|g| (*g).into()).collect();
        let joined = groups.iter().map(|g| encode(g, GROUP)).collect::<Vec<_>>().join(",");
        let values = IdentityValues {
            user: value(&encode(user, TEXT)),
            name: name.map(|n| value(&encode(n, TEXT))),
            email: email.map(|e| value(&encode(e, TEXT))),
            groups: (!groups.is_empty()).then(|| value(&joined)),
        };
        Self { user: user.into(), name: name.map(Into::into), email: email.map(Into::into), groups, values }
    }

    /// The unique user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The display name, if the directory has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The e-mail address, if the directory has one.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The groups, in the directory's order.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(AsRef::as_ref)
    }

    /// Whether the user is in `group`, compared exactly.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| &**g == group)
    }

    /// The prebuilt header values.
    pub fn values(&self) -> &IdentityValues {
        &self.values
    }
}

const TEXT: &AsciiSet = &CONTROLS.add(b'%');
const GROUP: &AsciiSet = &TEXT.add(b',');

/// Percent-encodes what `set` names and all non-ASCII bytes, and spaces at either end, which a reader would trim.
fn encode(text: &str, set: &'static AsciiSet) -> String {
    let inner = text.trim_matches(' ');
    let lead = text.len() - text.trim_start_matches(' ').len();
    let (lead, trail) =
        if inner.is_empty() { (0, text.len()) } else { (lead, text.len() - lead - inner.len()) };
    let mut out = "%20".repeat(lead);
    out.extend(utf8_percent_encode(inner, set));
    out.push_str(&"%20".repeat(trail));
    out
}

/// A header value of encoded text. The encoding leaves visible ASCII and spaces only, which is always a valid value.
fn value(encoded: &str) -> HeaderValue {
    HeaderValue::from_str(encoded).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_nul_and_non_ascii_cannot_inject_split_or_truncate() {
        let ada = Identity::new("a\r\nX-Admin: 1\0", Some("Zoë 100%"), None, &["a,b", "c"]);
        assert_eq!(ada.values().user, "a%0D%0AX-Admin: 1%00");
        assert_eq!(ada.values().name.as_ref().unwrap(), "Zo%C3%AB 100%25");
        assert_eq!(ada.values().groups.as_ref().unwrap(), "a%2Cb,c");
    }

    #[test]
    fn an_absent_attribute_is_an_absent_value() {
        let ada = Identity::new("ada", Some(""), None, &[]);
        assert_eq!(ada.values().name, None);
        assert_eq!(ada.values().email, None);
        assert_eq!(ada.values().groups, None);
    }

    #[test]
    fn spaces_at_the_ends_survive_a_reader_that_trims() {
        assert_eq!(Identity::new(" ada ", None, None, &[]).values().user, "%20ada%20");
        assert_eq!(Identity::new("  ", None, None, &[]).values().user, "%20%20");
    }
}
