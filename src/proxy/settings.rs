//! What a route says of its upstreams, checked.

use std::time::Duration;

use http::HeaderName;

use crate::proxy::UpstreamAddress;
use crate::proxy::tls::UpstreamTls;

/// Most members of a group: those already tried are kept in one word.
pub const MAX_MEMBERS: usize = 128;

/// The upstreams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The members; at least one, at most [`MAX_MEMBERS`].
    pub members: Vec<MemberSettings>,
    /// Which member takes a request.
    pub balance: Balance,
    /// Requests that ask each member whether it is well; `None` asks none.
    pub health: Option<HealthSettings>,
    /// When a member that fails is left alone for a while; `None` never.
    pub ejection: Option<Ejection>,
    /// Time and size limits.
    pub limits: Limits,
}

impl GroupSettings {
    /// One member at `address`, and the defaults.
    pub fn single(address: UpstreamAddress) -> Self {
        Self {
            members: vec![MemberSettings::new(address)],
            balance: Balance::default(),
            health: None,
            ejection: Some(Ejection::default()),
            limits: Limits::default(),
        }
    }
}

/// One upstream of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// Where it listens.
    pub address: UpstreamAddress,
    /// How TLS is spoken with it; `None` without TLS.
    pub tls: Option<UpstreamTls>,
    /// Its share of the work. Default 1.
    pub weight: u32,
    /// Most connections to it over all workers; of one that speaks HTTP/2, most requests in flight. Default any number.
    pub max_connections: Option<usize>,
    /// Whether it takes no new requests. Default false.
    pub drain: bool,
    /// Whether header names go out by HTTP/1.1 as `Content-Type` and not as `content-type`. Default false.
    pub title_case: bool,
}

impl MemberSettings {
    /// A member at `address`, without TLS, with the defaults.
    pub fn new(address: UpstreamAddress) -> Self {
        Self { address, tls: None, weight: 1, max_connections: None, drain: false, title_case: false }
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

/// How a member is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthSettings {
    /// What is asked for, by GET. 2xx and 3xx are well.
    pub path: Box<str>,
    /// From one question to the next, give or take a tenth. Default 5 s.
    pub interval: Duration,
    /// Longest wait for an answer. Default 2 s.
    pub timeout: Duration,
    /// Good answers in a row that make it healthy. Default 2.
    pub healthy_after: u32,
    /// Bad or missing ones in a row that make it unhealthy. Default 3.
    pub unhealthy_after: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            path: "/".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// When a member is left alone for a while because requests failed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row: no connection, no response, or none in time. Default 5.
    pub failures: u32,
    /// For how long. Default 10 s.
    pub period: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, period: Duration::from_secs(10) }
    }
}

/// Time and size limits of exchanges with a group's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to connect, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// Time from the request sent to the first byte of the response head. Default 60 s.
    pub response_timeout: Duration,
    /// Longest pause within a response body, whoever causes it. Default 10 min.
    pub body_timeout: Duration,
    /// Longest time from a request's arrival to the end of its response. Default none.
    pub request_timeout: Option<Duration>,
    /// On how many other members a request may be tried after the first. Default 1.
    pub retries: u32,
    /// Idle connections kept per worker and member. Default 64.
    pub max_idle: usize,
    /// How long an idle connection is kept. Default 30 s.
    pub idle_timeout: Duration,
    /// How long a connection is used at all. Default 1 h.
    pub max_lifetime: Duration,
    /// Requests that may wait for a connection to a member that has all it may have. Default 256.
    pub queue: usize,
    /// How long. Default 5 s.
    pub queue_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(600),
            request_timeout: None,
            retries: 1,
            max_idle: 64,
            idle_timeout: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(3600),
            queue: 256,
            queue_timeout: Duration::from_secs(5),
        }
    }
}
