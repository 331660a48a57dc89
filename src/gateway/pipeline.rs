//! The life of a request, top to bottom: normalise → match → identify → decide → dress → forward, or answer.
//!
//! Nothing here takes a lock that another request can hold, waits on a disk, hashes a password, or spawns.

use std::rc::Rc;
use std::time::Instant;

use http::header::ACCEPT;
use http::{HeaderMap, Request, StatusCode};

use crate::gateway::challenge;
use crate::gateway::connection::Connection;
use crate::gateway::endpoints::{self, Call};
use crate::gateway::navigation::accepts_html;
use crate::gateway::own_paths::OwnPath;
use crate::gateway::privacy;
use crate::gateway::reply::{OpenLine, Reply, ReplyBody};
use crate::gateway::respond::{Failure, STORE_UNREACHABLE, closing};
use crate::gateway::worker::Worker;
use crate::policy::{Decision, Facts, decide};
use crate::proxy;
use crate::web::body::InboundBody;
use crate::web::head_watch::HeadFacts;
use crate::web::hop_by_hop;
use crate::web::normalize::normalize;
use crate::web::route::RouteMatch;

const NOT_UNDERSTOOD: &str = "The request could not be understood.";
const NO_ROUTE: &str = "There is nothing at this address.";

/// Answers one request.
pub async fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<InboundBody>,
    facts: Option<HeadFacts>,
) -> Reply {
    let mut note = Note(worker.open_line(&request));
    let mut reply = walk(&worker, &connection, request, facts, &mut note).await;
    if let Some(mut line) = note.0 {
        line.status = reply.status().as_u16();
        reply.body_mut().log(line);
    }
    reply
}

async fn walk(
    worker: &Worker,
    connection: &Connection,
    mut request: Request<InboundBody>,
    facts: Option<HeadFacts>,
    note: &mut Note,
) -> Reply {
    let gateway = worker.gateway();
    let now = gateway.clock.now();
    let id = worker.next_id();
    note.line(|line| line.begin(id, now));
    let refuse = |code, headers: &HeaderMap| {
        let failure = Failure::new(StatusCode::BAD_REQUEST, code, NOT_UNDERSTOOD);
        closing(failure.reply(&gateway.pages, accepts_html(headers), id))
    };

    // Normalise: one reading of the message, or a refusal that ends the connection.
    let normal = match normalize(&request, facts) {
        Ok(normal) => normal,
        Err(refusal) => {
            note.decision("refuse", Some(refusal.code()));
            return refuse(refusal.code(), request.headers());
        }
    };
    let client = connection.client(&gateway, request.headers());
    note.line(|line| line.client = client.address);

    // Our own paths exist on every host we serve; an upstream never sees them, whichever way it reads the path.
    let own = match gateway.own_paths.read(&normal.path) {
        OwnPath::Other => None,
        OwnPath::Own(endpoint) if gateway.routes.serves(&normal.host.name) => Some(endpoint.to_owned()),
        OwnPath::Own(_) => {
            note.decision("refuse", Some("no_route"));
            let failure = Failure::new(StatusCode::NOT_FOUND, "no_route", NO_ROUTE);
            return failure.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
        OwnPath::Ambiguous => {
            note.decision("refuse", Some("ambiguous_path"));
            return refuse("ambiguous_path", request.headers());
        }
    };
    if let Some(endpoint) = own {
        let call = Call::new(&gateway, client, &normal.host, &request, id, now).await;
        note.line(|line| line.identity = call.identity());
        let (reply, reason) = endpoints::answer(call, &endpoint, request).await;
        note.decision("own", reason);
        return reply;
    }

    // Match: the most specific route, the same for every reading of the path.
    let route = match gateway.routes.find(&normal.host.name, &normal.path) {
        RouteMatch::One(route) if normal.path.encoded_slash && !route.allow_encoded_slashes => {
            note.decision("refuse", Some("encoded_slash"));
            return refuse("encoded_slash", request.headers());
        }
        RouteMatch::One(route) => route.clone(),
        RouteMatch::Ambiguous => {
            note.decision("refuse", Some("ambiguous_path"));
            return refuse("ambiguous_path", request.headers());
        }
        RouteMatch::None => {
            note.decision("refuse", Some("no_route"));
            let failure = Failure::new(StatusCode::NOT_FOUND, "no_route", NO_ROUTE);
            return failure.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
    };

    // Identify: a live session's user as the directory knows them now, or nobody.
    let mut managed = gateway.sessions.manage(request.headers(), client.secure, route.activity, now);
    if managed.unresolved.is_some() {
        // A shared store only: the table cannot tell, the store is asked once for all who wait.
        let (headers, activity) = (request.headers(), route.activity);
        managed = gateway.sessions.resolve(managed, headers, client.secure, activity, now).await;
    }
    let identity = managed.session.as_ref().and_then(|session| session.identity());
    note.line(|line| {
        line.identity.clone_from(&identity);
        line.route = Some(route.clone());
        line.reason = managed.rejected.map(|rejection| rejection.code());
    });

    // Decide: the route's rule over the facts, nothing else.
    let permit = match decide(&route.access, &Facts { identity: identity.as_ref() }) {
        Decision::Allow(permit) => permit,
        // The session may be a good one, and nobody can say: no login page, which would end it, and no way through.
        Decision::Challenge if managed.unresolved.is_some() => {
            note.decision("refuse", Some(STORE_UNREACHABLE.code));
            return STORE_UNREACHABLE.reply(&gateway.pages, accepts_html(request.headers()), id);
        }
        Decision::Challenge => {
            note.line(|line| line.decision = "challenge");
            return challenge::log_in_first(&gateway, &request, managed.set_cookie, id);
        }
        Decision::Deny(reason) => {
            note.decision("deny", Some(reason.code()));
            return challenge::denied(
                &gateway,
                &request,
                identity.as_deref(),
                reason,
                managed.set_cookie,
                id,
            );
        }
    };
    note.line(|line| line.decision = "allow");

    // Dress: hop-by-hop fields first, so that a client cannot nominate ours away; then strip, then inject.
    let accept = request.headers().get(ACCEPT).cloned();
    let headers = request.headers_mut();
    hop_by_hop::strip_request(headers);
    gateway.firewall.strip(headers, route.odd_names);
    gateway.sessions.withhold_cookie(headers);
    connection.set_forwarded(&client, headers);
    route.injected.inject(headers, &permit);

    // Forward: only a permit gets through here.
    let sent = note.started();
    match proxy::forward(&worker.pool, permit, route.upstream(), request).await {
        Ok(response) => {
            note.line(|line| line.upstream = sent.map(|sent| sent.elapsed()));
            let mut reply = response.map(ReplyBody::forwarded);
            privacy::guard(&gateway.sessions, reply.headers_mut(), identity.is_some(), managed.set_cookie);
            reply
        }
        Err(error) => {
            let failure = Failure::of_forwarding(&error);
            tracing::warn!(request_id = %id, route = %route.name, %error, "cannot forward");
            note.line(|line| line.reason = Some(failure.code));
            let wants_page =
                accept.is_some_and(|accept| accepts_html(&HeaderMap::from_iter([(ACCEPT, accept)])));
            challenge::with_cookie(failure.reply(&gateway.pages, wants_page, id), managed.set_cookie)
        }
    }
}

/// The access log line while the request is walked; nothing when the log is off.
struct Note(Option<Box<OpenLine>>);

impl Note {
    fn line(&mut self, change: impl FnOnce(&mut OpenLine)) {
        if let Some(line) = &mut self.0 {
            change(line);
        }
    }

    fn decision(&mut self, decision: &'static str, reason: Option<&'static str>) {
        self.line(|line| {
            line.decision = decision;
            line.reason = reason;
        });
    }

    fn started(&self) -> Option<Instant> {
        self.0.is_some().then(Instant::now)
    }
}
