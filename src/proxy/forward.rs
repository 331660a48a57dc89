//! One request to one upstream of a group, and its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::policy::Permit;
use crate::proxy::body::{ForwardedBody, RequestBody};
use crate::proxy::endpoint::Endpoint;
use crate::proxy::error::{ForwardError, closed_at_once, sent_and_failed, unreachable_upstream};
use crate::proxy::group::{Tried, UpstreamGroup};
use crate::proxy::pool::{Lease, Shared, UpstreamPool};
use crate::proxy::upgrade;
use crate::proxy::waiting::WaitKey;
use crate::proxy::{Limits, UpstreamAddress};
use crate::web::body::InboundBody;
use crate::web::hop_by_hop;

/// Forwards `request` to a member of `group` and answers with its response head; the body streams. Header fields are sent as
/// they are (hop-by-hop fields and identity are the caller's work, see [`hop_by_hop::strip_request`]); the target is sent byte
/// for byte. Dropping the future, or the body it yields, before its end aborts the exchange at the upstream.
///
/// A request that carries `Upgrade` (and `Connection: upgrade`) may be answered with 101: the response then has both fields
/// again, and [`ForwardedBody::take_tunnel`] the upstream's side of what follows.
///
/// # Errors
/// See [`ForwardError`]. A request is sent at most once: only one of which nothing was written is tried again, on a fresh
/// connection, and then on other members as often as the group allows.
pub async fn forward(
    pool: &Rc<UpstreamPool>,
    permit: Permit,
    group: &UpstreamGroup,
    request: Request<InboundBody>,
) -> Result<Response<ForwardedBody>, ForwardError> {
    // The permit is spent: one decision, one exchange.
    drop(permit);
    let asked = request.headers().get(UPGRADE).cloned();
    let wait = Wait::enter(pool.shared());
    let mut request = outbound(request);
    request.body_mut().note_progress(&wait.shared, wait.key);
    let exchange = Exchange { pool, limits: &group.limits, wait };
    let (lease, response) = exchange.with_a_member_of(group, request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Boxed: it is rare, and would make the future of every request larger.
        return Box::pin(upgrade::accept(response, lease, asked, &exchange.wait)).await;
    }
    inbound(response, lease)
}

/// How an attempt failed.
enum Failed {
    /// Not a byte was written; the request is where it was.
    Unsent(ForwardError),
    /// Something may have reached the upstream.
    Final(ForwardError),
}

type Answered = (Lease, Response<Incoming>);

/// One request on its way, whatever it takes.
struct Exchange<'a> {
    pool: &'a UpstreamPool,
    limits: &'a Limits,
    wait: Wait,
}

impl Exchange<'_> {
    /// Tries members until one has answered or taken the request, or no more may be tried.
    async fn with_a_member_of(
        &self,
        group: &UpstreamGroup,
        request: Request<RequestBody>,
    ) -> Result<Answered, ForwardError> {
        let mut request = Some(request);
        let mut tried = Tried::default();
        let mut retries = group.retries;
        let mut last = ForwardError::NoMember;
        while let Some(headers) = request.as_ref().map(Request::headers)
            && let Some((index, member)) = group.pick(headers, tried)
        {
            tried.insert(index);
            match self.with(member.endpoint(), &mut request).await {
                Ok(answered) => return Ok(answered),
                Err(Failed::Unsent(error)) if retries > 0 => last = error,
                Err(Failed::Unsent(error) | Failed::Final(error)) => return Err(error),
            }
            retries -= 1;
        }
        Err(last)
    }

    /// Tries one member: on an idle connection, and when that takes nothing of the request, on a fresh one.
    async fn with(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &mut Option<Request<RequestBody>>,
    ) -> Result<Answered, Failed> {
        let upstream = &endpoint.address;
        let unreachable = |error| Failed::Unsent(unreachable_upstream(upstream, error));
        let ticket = self.pool.ticket(endpoint, self.limits);
        let lease = self.pool.check_out(ticket, self.limits).await.map_err(unreachable)?;
        match self.on(lease, request, upstream).await {
            Err(Failed::Unsent(_)) => {}
            answered_or_sent => return answered_or_sent,
        }
        let ticket = self.pool.ticket(endpoint, self.limits);
        let fresh = self.pool.check_out_fresh(ticket, self.limits).await.map_err(unreachable)?;
        self.on(fresh, request, upstream).await
    }

    /// Sends the request on a connection and waits for the response head.
    async fn on(
        &self,
        mut lease: Lease,
        request: &mut Option<Request<RequestBody>>,
        upstream: &UpstreamAddress,
    ) -> Result<Answered, Failed> {
        let (Some(sender), Some(sent)) = (lease.sender(), request.take()) else {
            return Err(Failed::Unsent(closed_at_once(upstream)));
        };
        self.wait.expect(self.limits.response_timeout);
        let mut sending = pin!(sender.try_send_request(sent));
        let answered = poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => self.wait.poll_expired(cx).map(|()| None),
        })
        .await;
        match answered {
            Some(Ok(response)) => Ok((lease, response)),
            Some(Err(mut failed)) => Err(match failed.take_message() {
                Some(unsent) => {
                    *request = Some(unsent);
                    Failed::Unsent(closed_at_once(upstream))
                }
                None => Failed::Final(sent_and_failed(upstream, failed.into_error())),
            }),
            None => Err(Failed::Final(ForwardError::ResponseTimeout { upstream: upstream.clone() })),
        }
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
fn inbound(response: Response<Incoming>, lease: Lease) -> Result<Response<ForwardedBody>, ForwardError> {
    let (mut parts, body) = response.into_parts();
    if let Some(problem) = framing_problem(&parts.headers) {
        return Err(ForwardError::Protocol { upstream: lease.upstream().clone(), problem: problem.into() });
    }
    hop_by_hop::strip_response(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(parts, ForwardedBody::new(body, lease)))
}

/// What makes the response's end ambiguous, if anything does.
fn framing_problem(headers: &HeaderMap) -> Option<&'static str> {
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

/// A request's place among those that wait.
pub(super) struct Wait {
    shared: Rc<Shared>,
    key: WaitKey,
}

impl Wait {
    fn enter(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared), key: shared.waiting.enter(shared.now.get()) }
    }

    /// The time limit counts from now: connecting had its own.
    pub(super) fn expect(&self, limit: Duration) {
        self.shared.waiting.expect(self.key, self.shared.now.get(), limit);
    }

    /// Ready once the limit has passed.
    pub(super) fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        self.shared.waiting.poll_expired(self.key, cx)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.shared.waiting.leave(self.key);
    }
}
