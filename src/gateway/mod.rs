//! Layer 3: one request, from head to answer. Imports everything below.

pub mod form_token;
pub mod identity_headers;
pub mod navigation;
pub mod same_origin;

use ipnet::IpNet;

use crate::policy::Access;
use crate::proxy::UpstreamAddress;

/// Checked settings of the gateway itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one reserved prefix, without a slash at the end. Default `/_auth`.
    pub prefix: String,
    /// Whose forwarding headers count. Default nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins (`https://host[:port]`) that `return_to` may lead to besides the gateway's own.
    pub return_origins: Vec<String>,
    /// Whether logout sends Clear-Site-Data. Default true.
    pub clear_site_data: bool,
    /// The routes, in file order.
    pub routes: Vec<RouteSettings>,
}

/// One `[[routes]]` entry.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// What logs call it: `name`, or host and path.
    pub name: String,
    /// Exact host or `*.suffix`, lower case; `None` matches any host.
    pub host: Option<String>,
    /// Path prefix by segment, starting with `/`, without a slash at the end but for `/` itself.
    pub path: String,
    /// The upstreams; this version uses the first.
    pub upstream: Vec<UpstreamAddress>,
    /// Who may.
    pub access: Access,
    /// The identity headers that the upstream receives.
    pub headers: HeaderPreset,
    /// Pass `%2F` and `%5C` in the path through. Default false.
    pub allow_encoded_slashes: bool,
    /// Pass header names with `_` or `.` through (never a look-alike of an identity header). Default false.
    pub allow_odd_header_names: bool,
}

/// Which names the identity headers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderPreset {
    /// `Remote-User`, `Remote-Name`, `Remote-Email`, `Remote-Groups`. The default.
    Remote,
    /// `X-Forwarded-User`, `-Preferred-Username`, `-Email`, `-Groups`.
    XForwarded,
    /// `X-Auth-Request-User`, `-Preferred-Username`, `-Email`, `-Groups`.
    XAuthRequest,
    /// Own names; an absent one is not sent.
    Own {
        /// For the user name.
        user: Option<http::HeaderName>,
        /// For the display name.
        name: Option<http::HeaderName>,
        /// For the e-mail address.
        email: Option<http::HeaderName>,
        /// For the groups, comma-joined.
        groups: Option<http::HeaderName>,
    },
    /// No identity headers; the client's are stripped all the same.
    None,
}
