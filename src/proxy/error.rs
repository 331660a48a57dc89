//! Why there is no response.

use std::io;

use http::StatusCode;

use crate::proxy::UpstreamAddress;
use crate::proxy::connect::ConnectError;

/// Why there is no response. Whatever the variant, the upstream connection is closed, and the request was not sent again
/// once a byte of it may have reached the upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection: refused, unreachable, or the name has no address. Answer 502.
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
    /// No response head within the time limit. Answer 504.
    #[error("{upstream} did not answer in time")]
    ResponseTimeout {
        /// Who.
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
            Self::ConnectTimeout { .. } | Self::ResponseTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::NoMember => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestBody { .. } => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "upstream_connect",
            Self::ConnectTimeout { .. } => "upstream_connect_timeout",
            Self::ResponseTimeout { .. } => "upstream_response_timeout",
            Self::Closed { .. } => "upstream_closed",
            Self::Protocol { .. } => "upstream_protocol",
            Self::NoMember => "no_upstream",
            Self::RequestBody { .. } => "request_body",
        }
    }
}

/// No connection came about.
pub(super) fn unreachable_upstream(upstream: &UpstreamAddress, error: ConnectError) -> ForwardError {
    let upstream = upstream.clone();
    match error {
        ConnectError::Io(source) => ForwardError::Connect { upstream, source },
        ConnectError::Timeout => ForwardError::ConnectTimeout { upstream },
    }
}

/// Not a byte was taken, twice.
pub(super) fn closed_at_once(upstream: &UpstreamAddress) -> ForwardError {
    let source = io::Error::new(io::ErrorKind::ConnectionReset, "a fresh connection was closed at once");
    ForwardError::Connect { upstream: upstream.clone(), source }
}

/// Something was sent, and no whole response head came back.
pub(super) fn sent_and_failed(upstream: &UpstreamAddress, source: hyper::Error) -> ForwardError {
    let upstream = upstream.clone();
    if source.is_user() {
        ForwardError::RequestBody { upstream, source }
    } else if source.is_parse() {
        ForwardError::Protocol { upstream, problem: source.to_string() }
    } else {
        ForwardError::Closed { upstream, source }
    }
}
