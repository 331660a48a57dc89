//! Why there is no response, or no more of one.

use std::io;

use http::StatusCode;

use crate::proxy::UpstreamAddress;
use crate::proxy::connect::ConnectError;
use crate::proxy::waiting::Expired;

/// Why there is no response. Whatever the variant, the upstream connection is closed (of HTTP/2, the stream), and a request that
/// may have reached an upstream was not sent again unless it is one that may be (see [`forward`](super::forward)).
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection: refused, unreachable, no TLS, or the name has no address. Answer 502.
    #[error("cannot connect to {upstream}: {source}")]
    Connect {
        /// Whom.
        upstream: UpstreamAddress,
        /// Why.
        source: io::Error,
    },
    /// No connection within the time limit. Answer 504.
    #[error("{upstream} did not accept a connection in time")]
    ConnectTimeout {
        /// Who.
        upstream: UpstreamAddress,
    },
    /// It has all the connections it may have, and too many requests wait already, or this one has waited too long. Answer 503.
    #[error("{upstream} has all the connections it may have")]
    Busy {
        /// Who.
        upstream: UpstreamAddress,
    },
    /// No response head within the time limit. Answer 504.
    #[error("{upstream} did not answer in time")]
    ResponseTimeout {
        /// Who.
        upstream: UpstreamAddress,
    },
    /// The whole request took too long. Answer 504.
    #[error("the request to {upstream} took longer than it may")]
    RequestTimeout {
        /// To whom.
        upstream: UpstreamAddress,
    },
    /// The upstream closed or broke the connection before its response head was complete. Answer 502.
    #[error("{upstream} closed the connection without a response: {source}")]
    Closed {
        /// Who.
        upstream: UpstreamAddress,
        /// How.
        source: hyper::Error,
    },
    /// The upstream answered with something that is not one unambiguous response (RFC 9112 section 6.3). Answer 502.
    #[error("{upstream} sent a malformed response: {problem}")]
    Protocol {
        /// Who.
        upstream: UpstreamAddress,
        /// What was wrong.
        problem: String,
    },
    /// Every upstream of the route is drained: the configuration refuses this too. Answer 503.
    #[error("no upstream of the route takes requests")]
    NoMember,
    /// The client's own request body failed: malformed, or the client left. Answer 400, if anyone still listens.
    #[error("the request body failed on its way to {upstream}: {source}")]
    RequestBody {
        /// To whom.
        upstream: UpstreamAddress,
        /// How.
        source: hyper::Error,
    },
}

impl ForwardError {
    /// The status a client gets for it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect { .. } | Self::Closed { .. } | Self::Protocol { .. } => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout { .. } | Self::ResponseTimeout { .. } | Self::RequestTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::NoMember | Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestBody { .. } => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "upstream_connect",
            Self::ConnectTimeout { .. } => "upstream_connect_timeout",
            Self::Busy { .. } => "upstream_busy",
            Self::ResponseTimeout { .. } => "upstream_response_timeout",
            Self::RequestTimeout { .. } => "request_timeout",
            Self::Closed { .. } => "upstream_closed",
            Self::Protocol { .. } => "upstream_protocol",
            Self::NoMember => "no_upstream",
            Self::RequestBody { .. } => "request_body",
        }
    }

    /// After how many seconds trying again may help.
    pub fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy { .. }).then_some(1)
    }

    /// Whether the upstream is to blame, so that it may be left alone for a while.
    pub(super) fn is_upstreams_fault(&self) -> bool {
        !matches!(
            self,
            Self::Busy { .. } | Self::NoMember | Self::RequestBody { .. } | Self::RequestTimeout { .. }
        )
    }
}

/// Why a response body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream broke it off.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// It did not move for too long: the upstream sent nothing, or the client took nothing.
    #[error("the response body did not move for too long")]
    Stalled,
    /// The whole request took too long.
    #[error("the request took longer than it may")]
    TooLong,
}

impl From<Expired> for BodyError {
    fn from(expired: Expired) -> Self {
        match expired {
            Expired::Pause => Self::Stalled,
            Expired::Whole => Self::TooLong,
        }
    }
}

/// No connection came about.
pub(super) fn unreachable_upstream(upstream: &UpstreamAddress, error: ConnectError) -> ForwardError {
    let upstream = upstream.clone();
    match error {
        ConnectError::Io(source) => ForwardError::Connect { upstream, source },
        ConnectError::Timeout => ForwardError::ConnectTimeout { upstream },
        ConnectError::Busy => ForwardError::Busy { upstream },
        ConnectError::WholeRequest => ForwardError::RequestTimeout { upstream },
    }
}

/// Not a byte was taken, twice.
pub(super) fn closed_at_once(upstream: &UpstreamAddress) -> ForwardError {
    let source = io::Error::new(io::ErrorKind::ConnectionReset, "a fresh connection was closed at once");
    ForwardError::Connect { upstream: upstream.clone(), source }
}

/// Something was sent, and no whole response head came back. `broken`: the request body had failed, which hyper tells of its own
/// accord by HTTP/1.1 only.
pub(super) fn sent_and_failed(
    upstream: &UpstreamAddress,
    source: hyper::Error,
    broken: bool,
) -> ForwardError {
    let upstream = upstream.clone();
    if broken || source.is_user() {
        ForwardError::RequestBody { upstream, source }
    } else if source.is_parse() {
        ForwardError::Protocol { upstream, problem: source.to_string() }
    } else {
        ForwardError::Closed { upstream, source }
    }
}

/// No response head came in time.
pub(super) fn out_of_time(upstream: &UpstreamAddress, expired: Expired) -> ForwardError {
    let upstream = upstream.clone();
    match expired {
        Expired::Pause => ForwardError::ResponseTimeout { upstream },
        Expired::Whole => ForwardError::RequestTimeout { upstream },
    }
}
