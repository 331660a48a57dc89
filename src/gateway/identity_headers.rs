//! The header firewall: strip every identity header and look-alike always, then inject from the permit (X1, X2, X3).

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::identity::{Identity, IdentityValues};
use crate::gateway::HeaderPreset;
use crate::policy::Permit;
use crate::web::fields::remove_all;

/// Names that carry an identity in the presets, plus those of the same families that upstreams trust.
const PRESET_NAMES: &[&str] = &[
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-groups",
    "x-remote-user",
    "x-remote-name",
    "x-remote-email",
    "x-remote-groups",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-fluidgate-assertion",
];

/// Names that the gateway itself sets, drops or frames by. Sent as they are they are dealt with where they belong; a look-alike
/// would stand beside ours in an upstream that folds names, so it is removed. So are the names under which servers of CGI and WSGI
/// keep what the request line said: gunicorn takes `SCRIPT_NAME` off the path.
const OWN_NAMES: &[&str] = &[
    "client-ip",
    "content-length",
    "front-end-https",
    "path-info",
    "query-string",
    "request-method",
    "request-uri",
    "script-name",
    "transfer-encoding",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-script-name",
    "x-url-scheme",
];
/// The family of names that proxies write, folded.
const FORWARDED: &[u8] = b"x-forwarded-";
/// Those of one connection to a proxy, which go where they are spelt plainly.
const PROXY: &[u8] = b"proxy-";

/// Signs that [`fold`] changes to `-`: looked up, as every name of every request is read through.
const ODD: [bool; 256] = {
    let mut odd = [false; 256];
    let mut at = 0;
    while at < odd.len() {
        #[expect(
            clippy::indexing_slicing,
            reason = "computed when compiled: out of bounds would not compile"
        )]
        {
            odd[at] = at as u8 != b'-' && fold(at as u8) == b'-';
        }
        at += 1;
    }
    odd
};

/// Which attribute of an identity a header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    User,
    Name,
    Email,
    Groups,
}

impl Attribute {
    fn of(self, values: &IdentityValues) -> Option<&HeaderValue> {
        match self {
            Self::User => Some(&values.user),
            Self::Name => values.name.as_ref(),
            Self::Email => values.email.as_ref(),
            Self::Groups => values.groups.as_ref(),
        }
    }
}

/// The headers one route's upstream receives.
#[derive(Clone, Debug)]
pub struct InjectedHeaders(Vec<(HeaderName, Attribute)>);

impl InjectedHeaders {
    /// The names of `preset`.
    pub fn new(preset: &HeaderPreset) -> Self {
        use Attribute::{Email, Groups, Name, User};
        let fixed = |names: [(&'static str, Attribute); 4]| {
            names.map(|(name, attribute)| (HeaderName::from_static(name), attribute)).to_vec()
        };
        Self(match preset {
            HeaderPreset::Remote => fixed([
                ("remote-user", User),
                ("remote-name", Name),
                ("remote-email", Email),
                ("remote-groups", Groups),
            ]),
            HeaderPreset::XForwarded => fixed([
                ("x-forwarded-user", User),
                ("x-forwarded-preferred-username", User),
                ("x-forwarded-email", Email),
                ("x-forwarded-groups", Groups),
            ]),
            HeaderPreset::XAuthRequest => fixed([
                ("x-auth-request-user", User),
                ("x-auth-request-preferred-username", User),
                ("x-auth-request-email", Email),
                ("x-auth-request-groups", Groups),
            ]),
            HeaderPreset::Own { user, name, email, groups } => {
                [(user, User), (name, Name), (email, Email), (groups, Groups)]
                    .into_iter()
                    .filter_map(|(header, attribute)| Some((header.clone()?, attribute)))
                    .collect()
            }
            HeaderPreset::None => Vec::new(),
        })
    }

    /// Sets the headers of the permit's identity. An absent attribute is an absent header. To be called after
    /// [`HeaderFirewall::strip`], never alone.
    pub fn inject(&self, headers: &mut HeaderMap, permit: &Permit) {
        let Some(values) = permit.identity().map(|identity| Identity::values(identity)) else { return };
        for (name, attribute) in &self.0 {
            if let Some(value) = attribute.of(values) {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// What becomes of odd header names (anything but letters, digits and `-`) that are no look-alike of ours: CGI folds `_`, PHP
/// `.` as well, and some servers every other sign, to names the client did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddNames {
    /// Removed. The default on routes that need a session.
    Drop,
    /// Passed on, for apps that need them.
    Pass,
}

/// Knows every identity header in use anywhere, folded: lower case, and all but letters and digits as `-`.
#[derive(Debug)]
pub struct HeaderFirewall {
    names: HashSet<Box<[u8]>>,
    /// Bit n: a name of n bytes exists (names of 63 bytes and more share the last bit).
    lengths: u64,
}

impl HeaderFirewall {
    /// A firewall over the presets' names and those that any route of `presets` uses.
    pub fn new<'a>(presets: impl Iterator<Item = &'a HeaderPreset>) -> Self {
        let mut names: HashSet<Box<[u8]>> = PRESET_NAMES.iter().map(|name| name.as_bytes().into()).collect();
        for preset in presets {
            for (name, _) in InjectedHeaders::new(preset).0 {
                names.insert(name.as_str().bytes().map(fold).collect());
            }
        }
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name.len()));
        Self { names, lengths }
    }

    /// Removes every identity header and look-alike, and, if so asked, every other odd name.
    pub fn strip(&self, headers: &mut HeaderMap, odd: OddNames) {
        remove_all(headers, |name| self.refuses(name, odd));
    }

    /// Whether an upstream might take `name` for an identity header, or for a field that the gateway sets.
    pub fn carries_identity(&self, name: &HeaderName) -> bool {
        self.refuses(name, OddNames::Pass)
    }

    /// Whether `name` is removed from what a client sends.
    pub fn refuses(&self, name: &HeaderName, odd: OddNames) -> bool {
        self.is_refused(name.as_str().as_bytes(), odd)
    }

    fn is_refused(&self, name: &[u8], odd: OddNames) -> bool {
        let is_odd = name.iter().any(|byte| ODD.get(usize::from(*byte)) != Some(&false));
        if !is_odd {
            return self.lengths & length_bit(name.len()) != 0 && self.names.contains(name);
        }
        let folded: Vec<u8> = name.iter().copied().map(fold).collect();
        odd == OddNames::Drop
            // Over HTTP/2 it gets as far as here, and in HTTP/1.1 it is no name at all.
            || name.contains(&b'"')
            || self.names.contains(&*folded)
            || folded.starts_with(FORWARDED)
            || folded.starts_with(PROXY)
            || OWN_NAMES.iter().any(|own| own.as_bytes() == folded)
    }
}

/// Whether an upstream that folds names reads both as the same one.
pub(super) fn reads_alike(one: &HeaderName, other: &HeaderName) -> bool {
    one.as_str().len() == other.as_str().len()
        && one.as_str().bytes().map(fold).eq(other.as_str().bytes().map(fold))
}

/// A sign of a name, as upstreams that fold names read it.
pub(crate) const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::{Access, Decision, Facts, decide};

    fn permit(identity: Option<Identity>) -> Permit {
        let identity = identity.map(Arc::new);
        match decide(&Access::Public, &Facts { identity: identity.as_ref(), ..Facts::default() }) {
            Decision::Allow(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn own(user: &'static str) -> HeaderPreset {
        HeaderPreset::Own { user: Some(HeaderName::from_static(user)), name: None, email: None, groups: None }
    }

    fn headers(names: &[&str]) -> HeaderMap {
        names
            .iter()
            .map(|name| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static("forged")))
            .collect()
    }

    #[test]
    fn every_preset_every_own_name_and_every_spelling_is_stripped() {
        let firewall = HeaderFirewall::new([HeaderPreset::Remote, own("x-my_user")].iter());
        let forged = [
            "Remote-User",
            "remote_user",
            "Remote.User",
            "REMOTE_GROUPS",
            "X-Forwarded-User",
            "x_forwarded.user",
            "X-Auth-Request-Email",
            "X-Remote-User",
            "X.Remote.User",
            "x_remote_user",
            "X-My-User",
            "X_My.User",
            "x-my_user",
            "X-Fluidgate-Assertion",
            "x-forwarded-preferred_username",
            "Remote!User",
            "remote'user",
            "Remote~Groups",
            "x|remote^user",
        ];
        for odd in [OddNames::Drop, OddNames::Pass] {
            let mut map = headers(&forged);
            firewall.strip(&mut map, odd);
            assert!(map.is_empty(), "{map:?}");
        }
    }

    #[test]
    fn other_headers_stay_and_odd_names_stay_only_where_allowed() {
        let firewall = HeaderFirewall::new(std::iter::empty());
        let mut map = headers(&["accept", "x-forwarded-for", "remote-userx", "x_api_key", "x.y"]);
        firewall.strip(&mut map, OddNames::Pass);
        assert_eq!(map.len(), 5);
        firewall.strip(&mut map, OddNames::Drop);
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn look_alikes_of_the_fields_the_gateway_sets_itself_are_stripped_even_where_odd_names_pass() {
        let firewall = HeaderFirewall::new(std::iter::empty());
        let mut map = headers(&[
            "x_forwarded_for",
            "X_Forwarded.Ssl",
            "X.Real.IP",
            "transfer_encoding",
            "Content_Length",
            "Proxy_Authorization",
            "SCRIPT_NAME",
            "path_info",
            "X.Script.Name",
            "x-real-ip",
        ]);
        firewall.strip(&mut map, OddNames::Pass);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-real-ip"]);
    }

    #[test]
    fn what_is_no_name_in_http_1_passes_nowhere() {
        let mut map = headers(&["x_y"]);
        map.insert(HeaderName::from_lowercase(b"x\"y").unwrap(), HeaderValue::from_static("from HTTP/2"));
        HeaderFirewall::new(std::iter::empty()).strip(&mut map, OddNames::Pass);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x_y"]);
    }

    #[test]
    fn an_absent_attribute_leaves_no_header_behind() {
        let preset = HeaderPreset::Remote;
        let mut map = headers(&["Remote-Email", "Remote-Groups"]);
        HeaderFirewall::new(std::iter::once(&preset)).strip(&mut map, OddNames::Drop);
        InjectedHeaders::new(&preset).inject(&mut map, &permit(Some(Identity::new("ada", None, None, &[]))));
        assert_eq!(map.len(), 1);
        assert_eq!(map["remote-user"], "ada");
    }

    #[test]
    fn an_anonymous_permit_injects_nothing() {
        let mut map = HeaderMap::new();
        InjectedHeaders::new(&HeaderPreset::Remote).inject(&mut map, &permit(None));
        assert!(map.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_name_that_folds_to_an_identity_header_survives(
            name in "(remote|x[-_.]forwarded|x[-_.~]auth[-_.!]request)[-_.!#$%&'*+^`|~](user|email|groups)",
            upper in proptest::bits::u64::ANY,
        ) {
            let spelt: String = name.chars().enumerate()
                .map(|(i, c)| if upper >> (i % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
            let mut map = headers(&[&spelt]);
            HeaderFirewall::new(std::iter::empty()).strip(&mut map, OddNames::Pass);
            proptest::prop_assert!(map.is_empty());
        }
    }
}
