//! What a permitted request looks like to the upstream: nothing that a client could have made up, and what we say ourselves.
//!
//! Hop-by-hop fields go first, so that a client cannot nominate ours away; then strip, then inject.

use http::{HeaderValue, Request};

use crate::gateway::connection::Connection;
use crate::gateway::recall::Withheld;
use crate::gateway::request_id::{RequestId, X_REQUEST_ID};
use crate::gateway::rewrite::Unrewritable;
use crate::gateway::{Gateway, RouteTarget, method_override};
use crate::policy::Permit;
use crate::web::forwarded::ClientView;
use crate::web::hop_by_hop;
use crate::web::trace_context::continue_trace;
use crate::web::via::ViaName;

/// What a request gets of us at the most, by the usual configuration: five forwarding fields, id, Via and four of an identity.
const ADDED: usize = 11;

/// Where a request comes from, where it goes, and what it is called.
pub struct Passage<'a> {
    /// The snapshot it was judged by.
    pub gateway: &'a Gateway,
    /// The connection it came by.
    pub connection: &'a Connection,
    /// Who sent it.
    pub client: &'a ClientView,
    /// The route it takes.
    pub route: &'a RouteTarget,
    /// What we call ourselves.
    pub via: &'a ViaName,
    /// Its id.
    pub id: RequestId,
    /// The same as the value of a field.
    pub id_field: HeaderValue,
    /// What its Cookie field becomes.
    pub withheld: Withheld,
}

/// Dresses `request` in what `permit` says.
///
/// # Errors
/// When its target cannot be rewritten as the route has it: it must not be sent.
pub fn dress<B>(request: &mut Request<B>, passage: Passage<'_>, permit: &Permit) -> Result<(), Unrewritable> {
    let Passage { gateway, connection, client, route, via, id, id_field, withheld } = passage;
    let version = request.version();
    let headers = request.headers_mut();
    // Over HTTP/2 the map is made for what the client sent: growing once is cheaper than growing by doubling.
    headers.reserve(ADDED);
    match route.trailers {
        Some(_) => hop_by_hop::strip_request_but_trailer(headers),
        None => hop_by_hop::strip_request(headers),
    }
    gateway.firewall.strip(headers, route.odd_names);
    if route.by_method {
        method_override::strip(headers);
    }
    withheld.apply(&gateway.sessions, headers);
    connection.set_forwarded(client, headers);
    headers.insert(X_REQUEST_ID, id_field);
    continue_trace(headers, id.number());
    via.pass(headers, version);
    route.request_headers.apply_to_request(headers);
    route.host_header.set(headers);
    if let Some(rewrite) = &route.rewrite {
        rewrite.set_prefix(headers);
        *request.uri_mut() = rewrite.target(request.uri())?;
    }
    route.injected.inject(request.headers_mut(), permit);
    Ok(())
}
