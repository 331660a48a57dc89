//! What a route says of its upstreams, checked.

use std::time::Duration;

use http::HeaderName;

use crate::proxy::UpstreamAddress;

/// Most members of a group: those already tried are kept in one word.
pub const MAX_MEMBERS: usize = 128;

/// How often a request is tried again unless the configuration says otherwise.
pub const DEFAULT_RETRIES: u32 = 1;

/// The upstreams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The members; at least one, at most [`MAX_MEMBERS`].
    pub members: Vec<MemberSettings>,
    /// Which member takes a request.
    pub balance: Balance,
    /// On how many other members a request may be tried after the first. Default 1.
    pub retries: u32,
    /// Time and size limits.
    pub limits: Limits,
}

impl GroupSettings {
    /// One member at `address`, and the defaults.
    pub fn single(address: UpstreamAddress) -> Self {
        Self {
            members: vec![MemberSettings::new(address)],
            balance: Balance::default(),
            retries: DEFAULT_RETRIES,
            limits: Limits::default(),
        }
    }
}

/// One upstream of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// Where it listens.
    pub address: UpstreamAddress,
    /// Its share of the work. Default 1.
    pub weight: u32,
    /// Whether it takes no new requests. Default false.
    pub drain: bool,
}

impl MemberSettings {
    /// A member at `address` with the defaults.
    pub fn new(address: UpstreamAddress) -> Self {
        Self { address, weight: 1, drain: false }
    }
}

/// Which member takes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests in flight for its weight.
    #[default]
    LeastRequests,
    /// Each in its turn, as often as its weight says.
    RoundRobin,
    /// The less busy of two taken at random.
    RandomTwo,
    /// Always the same one for the same value of this cookie.
    HashCookie(Box<str>),
    /// Always the same one for the same value of this field.
    HashHeader(HeaderName),
}

/// Time and size limits of exchanges with a group's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to connect. Default 5 s.
    pub connect_timeout: Duration,
    /// Time from the request sent to the first byte of the response head. Default 60 s.
    pub response_timeout: Duration,
    /// Idle connections kept per worker and member. Default 64.
    pub max_idle: usize,
    /// How long an idle connection is kept. Default 30 s.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            max_idle: 64,
            idle_timeout: Duration::from_secs(30),
        }
    }
}
