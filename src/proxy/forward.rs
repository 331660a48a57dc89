//! One request to the members of a group, and its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::header::{HOST, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::policy::Permit;
use crate::proxy::address::{Scheme, UpstreamAddress};
use crate::proxy::body::{ForwardedBody, RequestBody};
use crate::proxy::check_out::Need;
use crate::proxy::error::{ForwardError, closed_at_once, out_of_time, sent_and_failed, unreachable_upstream};
use crate::proxy::group::{Member, Tried, UpstreamGroup};
use crate::proxy::pool::{Carrier, Lease, UpstreamPool};
use crate::proxy::retry::Copy;
use crate::proxy::waiting::Wait;
use crate::proxy::{message, upgrade};
use crate::web::body::InboundBody;

/// Forwards `request` to a member of `group` and answers with its response head; the body streams. Header fields are sent as
/// they are (hop-by-hop fields and identity are the caller's work, see
/// [`hop_by_hop::strip_request`](crate::web::hop_by_hop::strip_request)); the target is sent byte for byte. Dropping the future,
/// or the body it yields, before its end aborts the exchange at the upstream.
///
/// A request that carries `Upgrade` (and `Connection: upgrade`) goes by HTTP/1.1 and may be answered with 101: the response then
/// has both fields again, and [`ForwardedBody::take_tunnel`] the upstream's side of what follows.
///
/// # Errors
/// See [`ForwardError`]. A request is delivered at most once, with two exceptions that [`UpstreamGroup`] bounds: one of which
/// nothing was written is tried on a fresh connection and then on other members; a GET, HEAD, OPTIONS or TRACE without a body is
/// tried there as well when its connection broke before a response, on a fresh connection only if the broken one had lain idle.
pub fn forward(
    pool: &Rc<UpstreamPool>,
    permit: Permit,
    group: &UpstreamGroup,
    request: Request<InboundBody>,
) -> impl Future<Output = Result<Response<ForwardedBody>, ForwardError>> {
    // The permit is spent: one decision, one exchange.
    drop(permit);
    let asked = request.headers().get(UPGRADE).cloned();
    let wait = Wait::enter(pool.shared(), group.limits.request_timeout);
    let mut request = request.map(|body| RequestBody::new(body, &wait));
    message::outbound(&mut request);
    // It stays in this one place until it is sent: every move copies it, and every future that it is handed to grows by it.
    let mut request = Some(request);
    async move {
        let exchange = Exchange { pool, group, upgradable: asked.is_some(), wait };
        let (lease, mut response) = exchange.with_a_member(&mut request).await?;
        let wait = exchange.wait;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Boxed: it is rare, and would make the future of every request larger.
            return Box::pin(upgrade::accept(response, lease, asked, &wait)).await;
        }
        match message::inbound(&mut response) {
            Ok(()) => Ok(response.map(|body| ForwardedBody::new(body, lease, wait))),
            Err(problem) => {
                Err(ForwardError::Protocol { upstream: lease.upstream().clone(), problem: problem.into() })
            }
        }
    }
}

/// Makes the request one for the host of `member`.
fn name_member(request: &mut Request<RequestBody>, member: &Member) {
    // An attempt by HTTP/2 has left the host of another member in the target.
    message::by_http1(request);
    if let Ok(host) = HeaderValue::from_str(&member.endpoint().address.authority()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// How an attempt failed.
enum Failed {
    /// Not a byte was written; the request is where it was.
    Unsent(ForwardError),
    /// Something may have reached the upstream.
    Sent(ForwardError),
}

type Answered = (Lease, Response<Incoming>);

/// One request on its way, whatever it takes.
struct Exchange<'a> {
    pool: &'a UpstreamPool,
    group: &'a UpstreamGroup,
    upgradable: bool,
    wait: Wait,
}

impl Exchange<'_> {
    /// Tries members until one has answered or no more may be tried.
    async fn with_a_member(
        &self,
        request: &mut Option<Request<RequestBody>>,
    ) -> Result<Answered, ForwardError> {
        let group = self.group;
        let retries = if group.has_alternatives() { group.limits.retries } else { 0 };
        let mut copy = None;
        if retries > 0 {
            group.budget.note_request(self.pool.shared().now.get());
            copy = request.as_ref().and_then(|request| Copy::of(request, self.pool.shared()));
            copy = copy.filter(|_| !self.upgradable);
        }
        // A request without Host is for whichever member gets it.
        let names_member = request.as_ref().is_some_and(|request| !request.headers().contains_key(HOST));
        let (mut tried, mut attempts) = (Tried::default(), 0);
        loop {
            let now = self.pool.shared().now.get();
            let Some(headers) = request.as_ref().map(Request::headers) else {
                return Err(ForwardError::NoMember);
            };
            let Some((index, member)) = group.pick(headers, tried, now) else {
                return Err(ForwardError::NoMember);
            };
            tried.insert(index);
            if let (true, Some(request)) = (names_member, request.as_mut()) {
                name_member(request, member);
            }
            let failed = match self.with(member, request, copy.as_ref()).await {
                Ok(answered) => {
                    member.endpoint().note_answer();
                    return Ok(answered);
                }
                Err(failed) => failed,
            };
            let again = match &failed {
                Failed::Unsent(_) => request.is_some(),
                Failed::Sent(ForwardError::Closed { .. }) => copy.is_some(),
                Failed::Sent(_) => false,
            };
            let (Failed::Unsent(error) | Failed::Sent(error)) = failed;
            let now = self.pool.shared().now.get();
            if error.is_upstreams_fault() {
                group.note_failure(member, now);
            }
            if !again || attempts == retries || !group.has_another(tried) || !group.budget.take() {
                return Err(error);
            }
            attempts += 1;
            tracing::debug!(%error, "trying another upstream");
            if request.is_none() {
                *request = copy.as_ref().map(Copy::request);
            }
        }
    }

    /// Tries one member: on a connection that is there, and when that takes nothing of the request, on another. So, too, when the
    /// request may be sent twice and went to a connection that had lain idle: as a rule its upstream had just let go of it.
    async fn with(
        &self,
        member: &Member,
        request: &mut Option<Request<RequestBody>>,
        copy: Option<&Copy>,
    ) -> Result<Answered, Failed> {
        let (endpoint, limits) = (member.endpoint(), &self.group.limits);
        let upstream = &endpoint.address;
        let unreachable = |error| Failed::Unsent(unreachable_upstream(upstream, error));
        let need = Need { upgradable: self.upgradable, limits, wait: &self.wait };
        let (lease, rested) =
            self.pool.ticket(endpoint, limits).check_out(need).await.map_err(unreachable)?;
        let rested = rested && !self.upgradable;
        let own = request.as_ref().filter(|_| rested && copy.is_none());
        let own = own.and_then(|request| Copy::of(request, self.pool.shared()));
        match (self.on(lease, request, upstream).await, copy.or(own.as_ref())) {
            (Err(Failed::Unsent(_)), _) => {}
            (Err(Failed::Sent(ForwardError::Closed { .. })), Some(copy)) if rested => {
                let mut again = copy.request();
                // The copy may be older than the choice of a member.
                if !again.headers().contains_key(HOST) {
                    name_member(&mut again, member);
                }
                *request = Some(again);
            }
            (answered_or_sent, _) => return answered_or_sent,
        }
        let another = Box::pin(self.pool.ticket(endpoint, limits).check_out_another(need));
        let lease = another.await.map_err(unreachable)?;
        self.on(lease, request, upstream).await
    }

    /// Sends the request on a connection and waits for the response head.
    async fn on(
        &self,
        mut lease: Lease,
        request: &mut Option<Request<RequestBody>>,
        upstream: &UpstreamAddress,
    ) -> Result<Answered, Failed> {
        let Some(mut sent) = request.take() else { return Err(Failed::Unsent(closed_at_once(upstream))) };
        self.wait.expect(self.group.limits.response_timeout);
        let answered = match &mut lease.carrier {
            Carrier::Http1(connection) => {
                message::by_http1(&mut sent);
                let sending = pin!(connection.sender.try_send_request(sent));
                self.answered(sending, request, upstream).await
            }
            Carrier::Http2(stream) => {
                message::by_http2(&mut sent, upstream.scheme == Scheme::Https);
                let mut sender = stream.on.sender.clone();
                // Boxed: it would make the future of every request by HTTP/1.1 larger.
                let mut sending = Box::pin(sender.try_send_request(sent));
                let answered = self.answered(sending.as_mut(), request, upstream).await;
                if matches!(answered, Err(Failed::Unsent(_))) {
                    stream.refused();
                }
                answered
            }
        };
        answered.map(|response| (lease, response))
    }

    /// Waits for the response head; a request of which nothing was written is put back.
    async fn answered(
        &self,
        mut sending: Pin<
            &mut impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
        >,
        request: &mut Option<Request<RequestBody>>,
        upstream: &UpstreamAddress,
    ) -> Result<Response<Incoming>, Failed> {
        let answered = poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => self.wait.poll_expired(cx).map(Err),
        })
        .await;
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut failed)) => Err(match failed.take_message() {
                Some(unsent) => {
                    *request = Some(unsent);
                    Failed::Unsent(closed_at_once(upstream))
                }
                None => Failed::Sent(sent_and_failed(upstream, failed.into_error(), self.wait.is_broken())),
            }),
            Err(expired) => Err(Failed::Sent(out_of_time(upstream, expired))),
        }
    }
}
