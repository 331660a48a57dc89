//! The life of a request, top to bottom: normalise → match → identify → decide → dress → forward, or answer.
//!
//! Nothing here takes a lock that another request can hold, waits on a disk, hashes a password, or spawns.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::base::identity::Identity;
use crate::gateway::body_limit::{TOO_LARGE, bound};
use crate::gateway::challenge;
use crate::gateway::connection::Connection;
use crate::gateway::dress::{Passage, dress};
use crate::gateway::endpoints::{self, BAD_COOKIES, Call, caller, too_many_bad_cookies};
use crate::gateway::navigation::accepts_html;
use crate::gateway::note::Note;
use crate::gateway::open_streams::poll_while_live;
use crate::gateway::own_paths::OwnPath;
use crate::gateway::privacy;
use crate::gateway::reply::{Reply, ReplyBody, SESSION_OVER, fit};
use crate::gateway::request_id::X_REQUEST_ID;
use crate::gateway::respond::{
    self, Failure, INTERNAL, LOOP, METHOD, STORE_UNREACHABLE, UNREWRITABLE, closing,
};
use crate::gateway::rewrite::{Unrewritable, restore_location};
use crate::gateway::to_https::https_location;
use crate::gateway::upgrade::{
    FOREIGN_PAGE, Passing, UNKNOWN_PROTOCOL, comes_from_no_foreign_page, comes_from_our_page,
};
use crate::gateway::worker::Worker;
use crate::observe::metrics::Verdict;
use crate::policy::{Access, Decision, Facts, decide};
use crate::proxy::{self, ForwardError};
use crate::web::body::InboundBody;
use crate::web::head_watch::HeadFacts;
use crate::web::normalize::normalize;
use crate::web::route::RouteMatch;
use crate::web::upgrade::Asked;

const READS: [Method; 2] = [Method::GET, Method::HEAD];
const NOT_UNDERSTOOD: &str = "The request could not be understood.";
const SIGNED_OUT: &str = "Your session has ended. Sign in again.";
const NO_ROUTE: &str = "There is nothing at this address.";

/// Answers one request.
pub async fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    mut request: Request<InboundBody>,
    facts: Option<HeadFacts>,
) -> Reply {
    let mut note = Note::default();
    let to_head = request.method() == Method::HEAD;
    let mut reply = walk(&worker, &connection, &mut request, facts, &mut note).await;
    fit(&mut reply, to_head);
    if let Some(id) = note.id.take() {
        reply.headers_mut().insert(X_REQUEST_ID, id);
    }
    worker.counts.count(note.route, note.verdict, reply.status());
    if let Some(mut line) = note.line.take() {
        line.noted.status = reply.status().as_u16();
        reply.body_mut().log(line);
    }
    reply
}

async fn walk(
    worker: &Worker,
    connection: &Connection,
    request: &mut Request<InboundBody>,
    facts: Option<HeadFacts>,
    note: &mut Note,
) -> Reply {
    let gateway = worker.gateway();
    let (now, instant) = gateway.clock.now_and_instant();
    let client = connection.client(&gateway, request.headers());
    let id = connection.name(worker.next_id(), request.headers());
    let id_field = id.header();
    note.id = Some(id_field.clone());
    note.line = worker.lines.as_ref().map(|lines| lines.open(request, &id_field, &client, (now, instant)));
    let refuse_as = |status, code, headers: &HeaderMap| {
        let failure = Failure::new(status, code, NOT_UNDERSTOOD);
        closing(failure.reply(&gateway.pages, accepts_html(headers), id))
    };

    let refuse = |code, headers: &HeaderMap| refuse_as(StatusCode::BAD_REQUEST, code, headers);

    // Normalise: one reading of the message, or a refusal that ends the connection.
    let normal = match gateway.head.judge(request).and_then(|()| normalize(request, facts)) {
        Ok(normal) => normal,
        Err(refusal) => {
            note.decision(Verdict::Refuse, Some(refusal.code()));
            return refuse_as(refusal.status(), refusal.code(), request.headers());
        }
    };
    let asked = Asked::by(request);
    if asked == Some(Asked::UnknownConnect) {
        note.decision(Verdict::Refuse, Some(UNKNOWN_PROTOCOL.code));
        return UNKNOWN_PROTOCOL.reply(&gateway.pages, false, id);
    }
    if worker.via().has_passed(request.headers()) {
        note.decision(Verdict::Refuse, Some(LOOP.code));
        return LOOP.reply(&gateway.pages, false, id);
    }

    if let Some(port) = connection.to_https() {
        if !gateway.routes.serves(&normal.host.name) {
            note.decision(Verdict::Refuse, Some("no_route"));
            let failure = Failure::new(StatusCode::NOT_FOUND, "no_route", NO_ROUTE);
            return failure.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
        note.decision(Verdict::Own, Some("to_https"));
        return match https_location(&normal.host, port, request.uri()) {
            Some(location) => respond::permanently(location),
            None => refuse("target_form", request.headers()),
        };
    }

    // Our own paths exist on every host we serve; an upstream never sees them, whichever way it reads the path.
    let own = match gateway.own_paths.read(&normal.path) {
        OwnPath::Other => None,
        OwnPath::Own(endpoint) if gateway.routes.serves(&normal.host.name) => Some(endpoint.to_owned()),
        OwnPath::Own(_) => {
            note.decision(Verdict::Refuse, Some("no_route"));
            let failure = Failure::new(StatusCode::NOT_FOUND, "no_route", NO_ROUTE);
            return failure.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
        OwnPath::Ambiguous => {
            note.decision(Verdict::Refuse, Some("ambiguous_path"));
            return refuse("ambiguous_path", request.headers());
        }
    };
    let opens_a_tunnel = asked == Some(Asked::ExtendedConnect);
    if own.is_some() && opens_a_tunnel {
        note.decision(Verdict::Refuse, Some(METHOD.code));
        return respond::allowing(METHOD.reply(&gateway.pages, false, id), &READS);
    }
    if let Some(endpoint) = own {
        let call = Call::new(&gateway, client, &normal.host, request, id, now).await;
        note.line(|line| line.draft.names(None, call.identity().as_deref().map(Identity::user)));
        // Boxed: it is large and rare, and would make the future of every request as large.
        let (reply, reason) = Box::pin(endpoints::answer(call, &endpoint, taken(request))).await;
        note.decision(Verdict::Own, reason);
        return reply;
    }

    // Match: the most specific route, the same for every reading of the path.
    let method = match asked {
        // A WebSocket over HTTP/2 is what a GET with an upgrade is over HTTP/1.1.
        Some(Asked::ExtendedConnect) => &Method::GET,
        _ => request.method(),
    };
    let route = match gateway.routes.find(&normal.host.name, &normal.path, method) {
        RouteMatch::One(route) if normal.path.encoded_slash && !route.allow_encoded_slashes => {
            note.decision(Verdict::Refuse, Some("encoded_slash"));
            return refuse("encoded_slash", request.headers());
        }
        RouteMatch::One(route) => route,
        RouteMatch::Ambiguous => {
            note.decision(Verdict::Refuse, Some("ambiguous_path"));
            return refuse("ambiguous_path", request.headers());
        }
        RouteMatch::Method(taken) => {
            note.decision(Verdict::Refuse, Some(METHOD.code));
            let reply = METHOD.reply(&gateway.pages, accepts_html(request.headers()), id);
            return respond::allowing(reply, &taken);
        }
        RouteMatch::None => {
            note.decision(Verdict::Refuse, Some("no_route"));
            let failure = Failure::new(StatusCode::NOT_FOUND, "no_route", NO_ROUTE);
            return failure.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
    };

    // Identify: a live session's user as the directory knows them now, or nobody.
    let recall = &connection.recall;
    // Up to the upstream nothing waits but for a shared store: it is asked at this moment, as far as a log can tell.
    let mut waited = instant;
    let (headers, caller, activity) = (request.headers(), caller(&client), route.activity);
    let (mut managed, withheld) = recall.manage(&gateway.sessions, headers, caller, activity, now);
    if managed.unresolved.is_some() {
        // A shared store only: the table cannot tell, the store is asked once for all who wait. Boxed: it is rare.
        managed = Box::pin(gateway.sessions.resolve(managed, headers, caller, activity, now)).await;
        waited = Instant::now();
    }
    let identity = managed.session.as_ref().and_then(|session| session.identity());
    note.route = route.counted_as;
    note.line(|line| {
        line.draft.names(Some(&route.name), identity.as_deref().map(Identity::user));
        line.reason = managed.rejected.map(|rejection| rejection.code());
    });
    if let Some(after) = managed.retry_after {
        note.decision(Verdict::Refuse, Some(BAD_COOKIES));
        let reply = too_many_bad_cookies(after).reply(&gateway.pages, accepts_html(request.headers()), id);
        return challenge::with_cookie(reply, managed.set_cookie);
    }

    // Decide: the route's rule over the facts, nothing else.
    let facts = Facts { identity: identity.as_ref(), certificate: connection.certificate_names() };
    let permit = match decide(&route.access, &facts) {
        Decision::Allow(permit) => permit,
        // The session may be a good one, and nobody can say: no login page, which would end it, and no way through.
        Decision::Challenge if managed.unresolved.is_some() => {
            note.decision(Verdict::Refuse, Some(STORE_UNREACHABLE.code));
            return STORE_UNREACHABLE.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
        Decision::Challenge => {
            note.decide(Verdict::Challenge);
            return challenge::log_in_first(&gateway, request, managed.set_cookie, id);
        }
        Decision::Deny(reason) => {
            note.decision(Verdict::Deny, Some(reason.code()));
            return challenge::denied(&gateway, request, identity.as_deref(), reason, managed.set_cookie, id);
        }
    };
    let needs_session = route.access != Access::Public;
    // A cookie or a certificate goes along with whatever page opens a WebSocket, so it must be one of ours.
    let page = (request.headers(), &normal.host, &*route.websocket_origins);
    let foreign = match (asked.as_ref().filter(|asked| asked.is_websocket()), &managed.session) {
        (None, _) => false,
        (Some(_), Some(_)) => !comes_from_our_page(page.0, page.1, page.2),
        (Some(_), None) => needs_session && !comes_from_no_foreign_page(page.0, page.1, page.2),
    };
    if foreign {
        note.decision(Verdict::Deny, Some(FOREIGN_PAGE.code));
        return challenge::with_cookie(FOREIGN_PAGE.reply(&gateway.pages, false, id), managed.set_cookie);
    }
    note.decide(Verdict::Allow);
    // Without a user, but by a certificate, it is for its holder alone.
    let personal = identity.is_some() || needs_session;

    // On a route that needs a session the exchange lives no longer than that; a public one goes on.
    let mut watch = managed.session.as_ref().filter(|_| needs_session).map(|s| worker.streams.watch(s));

    // Answer here: a route may need no upstream.
    if let Some(answer) = &route.answer {
        let reply = Box::pin(answer.reply(request, &normal.path, &route.path, route.rewrite.as_ref())).await;
        let mut reply = match reply {
            // A client would take any success for an open tunnel.
            Ok(reply) if opens_a_tunnel && reply.status().is_success() => Err(METHOD),
            reply => reply,
        }
        .unwrap_or_else(|failure| {
            note.line(|line| line.reason = Some(failure.code));
            let reply = failure.reply(&gateway.pages, accepts_html(request.headers()), id);
            if failure.status == METHOD.status { respond::allowing(reply, &READS) } else { reply }
        });
        route.response_headers.apply(reply.headers_mut());
        reply.body_mut().end_with(watch);
        privacy::guard(&gateway.sessions, reply.headers_mut(), personal, managed.set_cookie, id);
        return reply;
    }

    // Dress: strip always, then inject from the permit.
    let accept = request.headers().get(ACCEPT).cloned();
    let passage = Passage {
        gateway: &gateway,
        connection,
        client: &client,
        route,
        via: worker.via(),
        id,
        id_field,
        withheld,
    };
    if let Err(Unrewritable) = dress(request, passage, &permit) {
        note.decision(Verdict::Refuse, Some(UNREWRITABLE.code));
        return UNREWRITABLE.reply(&gateway.pages, wants_page(accept), id);
    }
    if let Some(permitted) = &route.trailers {
        request.body_mut().allow_trailers(permitted.clone());
    }
    let exceeded = match bound(request.body_mut(), route.max_body) {
        Ok(exceeded) => exceeded,
        Err(failure) => {
            note.decision(Verdict::Refuse, Some(failure.code));
            return failure.reply(&gateway.pages, wants_page(accept), id);
        }
    };
    let passing = match asked.map(|asked| Passing::dress(asked, request, &*gateway.random)).transpose() {
        Ok(passing) => passing,
        Err(error) => {
            tracing::error!(request_id = %id, %error, "no randomness for a handshake");
            note.decision(Verdict::Refuse, Some(INTERNAL.code));
            return INTERNAL.reply(&gateway.pages, false, id);
        }
    };

    // Forward: only a permit gets through here.
    let mut exchange = pin!(proxy::forward(&worker.pool, permit, route.upstream(), taken(request)));
    let Ok(answered) = poll_fn(|cx| poll_while_live(&mut watch, exchange.as_mut(), cx)).await else {
        note.line(|line| line.reason = Some(SESSION_OVER));
        let failure = Failure::new(StatusCode::UNAUTHORIZED, SESSION_OVER, SIGNED_OUT);
        return closing(failure.reply(&gateway.pages, wants_page(accept), id));
    };
    match answered {
        Ok(response) => {
            note.line(|line| line.upstream = Some(waited.elapsed()));
            let mut reply = match passing {
                None => response.map(|body| ReplyBody::forwarded(body, watch)),
                Some(passing) => {
                    let answered = passing.answer(response, watch, gateway.keep_alive(route.activity));
                    answered.unwrap_or_else(|failure| {
                        let route = &route.name;
                        tracing::warn!(request_id = %id, %route, "the upstream did not shake hands");
                        note.line(|line| line.reason = Some(failure.code));
                        failure.reply(&gateway.pages, false, id)
                    })
                }
            };
            let headers = reply.headers_mut();
            if route.rewrite.is_some() || !route.own_hosts.is_empty() {
                restore_location(headers, route.rewrite.as_ref(), &route.own_hosts);
            }
            route.response_headers.apply(headers);
            privacy::guard(&gateway.sessions, headers, personal, managed.set_cookie, id);
            reply
        }
        Err(error) => {
            let failure = if exceeded.get() { TOO_LARGE } else { Failure::of_forwarding(&error) };
            // What a client broke off is nobody's fault here, and must not fill the log.
            if matches!(error, ForwardError::RequestBody { .. }) {
                tracing::debug!(request_id = %id, route = %route.name, %error, "the client broke off");
            } else {
                tracing::warn!(request_id = %id, route = %route.name, %error, "cannot forward");
            }
            note.line(|line| line.reason = Some(failure.code));
            challenge::with_cookie(failure.reply(&gateway.pages, wants_page(accept), id), managed.set_cookie)
        }
    }
}

/// The request, for whoever takes it from here; what is left in its place is empty. Every step before lends it on: it is large, and a
/// move would copy it.
fn taken(request: &mut Request<InboundBody>) -> Request<InboundBody> {
    std::mem::replace(request, Request::new(InboundBody::default()))
}

fn wants_page(accept: Option<HeaderValue>) -> bool {
    accept.is_some_and(|accept| accepts_html(&HeaderMap::from_iter([(ACCEPT, accept)])))
}
