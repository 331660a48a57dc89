//! One request to one upstream, and its answer.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::policy::Permit;
use crate::proxy::UpstreamAddress;
use crate::proxy::body::{ForwardedBody, RequestBody};
use crate::proxy::connect::ConnectError;
use crate::proxy::pool::{Lease, Shared, UpstreamPool};
use crate::proxy::waiting::WaitKey;
use crate::web::body::InboundBody;
use crate::web::hop_by_hop;

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
            Self::RequestBody { .. } => "request_body",
        }
    }
}

/// Forwards `request` and answers with the upstream's response head; the body streams. Header fields are sent as they are
/// (hop-by-hop fields and identity are the caller's work, see [`hop_by_hop::strip_request`]); the target is sent byte for byte.
/// Dropping the future, or the body it yields, before its end aborts the exchange at the upstream.
///
/// # Errors
/// See [`ForwardError`]. A request is sent at most once: only one that was never written is tried again, on a fresh connection.
pub async fn forward(
    pool: &Rc<UpstreamPool>,
    permit: Permit,
    upstream: &UpstreamAddress,
    request: Request<InboundBody>,
) -> Result<Response<ForwardedBody>, ForwardError> {
    // The permit is spent: one decision, one exchange.
    drop(permit);
    let mut request = outbound(request);
    let wait = Wait::enter(pool.shared());
    request.body_mut().note_progress(&wait.shared, wait.key);
    let lease = pool.check_out(upstream).await.map_err(|e| unreachable_upstream(upstream, e))?;
    let (lease, response) = match exchange(lease, request, &wait, upstream).await {
        Ok(answered) => answered,
        Err(Failed::Unsent(request)) => {
            let fresh =
                pool.check_out_fresh(upstream).await.map_err(|e| unreachable_upstream(upstream, e))?;
            exchange(fresh, *request, &wait, upstream).await.map_err(|failed| match failed {
                Failed::Final(error) => error,
                Failed::Unsent(_) => closed_at_once(upstream),
            })?
        }
        Err(Failed::Final(error)) => return Err(error),
    };
    inbound(response, lease, upstream)
}

/// How an exchange failed.
enum Failed {
    /// Not a byte was written; here is the request.
    Unsent(Box<Request<RequestBody>>),
    Final(ForwardError),
}

async fn exchange(
    mut lease: Lease,
    request: Request<RequestBody>,
    wait: &Wait,
    upstream: &UpstreamAddress,
) -> Result<(Lease, Response<Incoming>), Failed> {
    let Some(sender) = lease.sender() else { return Err(Failed::Unsent(Box::new(request))) };
    wait.restart();
    let mut sending = pin!(sender.try_send_request(request));
    let answered = poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending => wait.shared.waiting.poll_expired(wait.key, cx).map(|()| None),
    })
    .await;
    match answered {
        Some(Ok(response)) => Ok((lease, response)),
        Some(Err(mut failed)) => Err(match failed.take_message() {
            Some(request) => Failed::Unsent(Box::new(request)),
            None => Failed::Final(sent_and_failed(upstream, failed.into_error())),
        }),
        None => Err(Failed::Final(ForwardError::ResponseTimeout { upstream: upstream.clone() })),
    }
}

/// The request as the upstream gets it: HTTP/1.1, origin-form, framed by us.
fn outbound(request: Request<InboundBody>) -> Request<RequestBody> {
    let (mut parts, body) = request.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if parts.uri.authority().is_some() {
        parts.uri = parts.uri.into_parts().path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    parts.headers.remove(TRANSFER_ENCODING);
    // hyper would leave a GET of unknown length without a body; the client's own framing said there is one.
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Request::from_parts(parts, RequestBody::new(body))
}

/// The response as the client gets it, if it can be read in one way only.
fn inbound(
    response: Response<Incoming>,
    lease: Lease,
    upstream: &UpstreamAddress,
) -> Result<Response<ForwardedBody>, ForwardError> {
    let (mut parts, body) = response.into_parts();
    if let Some(problem) = framing_problem(parts.status, &parts.headers) {
        return Err(ForwardError::Protocol { upstream: upstream.clone(), problem: problem.into() });
    }
    hop_by_hop::strip_response(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(parts, ForwardedBody::new(body, lease)))
}

/// What makes the response's end ambiguous, if anything does.
fn framing_problem(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    if status.is_informational() {
        return Some("it switched protocols unasked");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => Some("both Content-Length and Transfer-Encoding"),
        (Some(_), None) if lengths.next().is_some() => Some("more than one Content-Length"),
        (None, Some(_)) if encodings.next().is_some() => Some("more than one Transfer-Encoding"),
        (None, Some(encoding)) if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some("a Transfer-Encoding other than chunked")
        }
        _ => None,
    }
}

fn unreachable_upstream(upstream: &UpstreamAddress, error: ConnectError) -> ForwardError {
    let upstream = upstream.clone();
    match error {
        ConnectError::Io(source) => ForwardError::Connect { upstream, source },
        ConnectError::Timeout => ForwardError::ConnectTimeout { upstream },
    }
}

fn closed_at_once(upstream: &UpstreamAddress) -> ForwardError {
    let source = io::Error::new(io::ErrorKind::ConnectionReset, "a fresh connection was closed at once");
    ForwardError::Connect { upstream: upstream.clone(), source }
}

fn sent_and_failed(upstream: &UpstreamAddress, source: hyper::Error) -> ForwardError {
    let upstream = upstream.clone();
    if source.is_user() {
        ForwardError::RequestBody { upstream, source }
    } else if source.is_parse() {
        ForwardError::Protocol { upstream, problem: source.to_string() }
    } else {
        ForwardError::Closed { upstream, source }
    }
}

/// A request's place among those that wait for a response.
struct Wait {
    shared: Rc<Shared>,
    key: WaitKey,
}

impl Wait {
    fn enter(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared), key: shared.waiting.enter(shared.now.get()) }
    }

    /// The time limit counts from now: connecting had its own.
    fn restart(&self) {
        self.shared.waiting.progress(self.key, self.shared.now.get(), false);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.shared.waiting.leave(self.key);
    }
}
