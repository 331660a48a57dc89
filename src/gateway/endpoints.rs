//! Our own paths below the reserved prefix: which method and name leads where.

use std::sync::Arc;
use std::time::Duration;

use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::gateway::challenge::with_cookie;
use crate::gateway::navigation::accepts_html;
use crate::gateway::reply::Reply;
use crate::gateway::request_id::RequestId;
use crate::gateway::respond::{self, Failure, METHOD};
use crate::gateway::{Gateway, account, login, logout};
use crate::session::{Activity, Caller, Managed, StoredId};
use crate::web::body::InboundBody;
use crate::web::forwarded::ClientView;
use crate::web::host::Host;

/// What an endpoint knows of the request it answers, apart from its body.
pub struct Call<'a> {
    /// The snapshot that answers.
    pub gateway: &'a Gateway,
    /// The client, resolved.
    pub client: ClientView,
    /// Host and port the client asked for.
    pub host: Host<'static>,
    /// The session presented, if any, and what its cookie needs.
    pub managed: Managed,
    /// Every session that a cookie of the request opens: more than one where two cookies of ours came.
    pub presented: Vec<StoredId>,
    /// The request's id.
    pub id: RequestId,
    /// When it arrived.
    pub now: Timestamp,
    /// Whether the client takes pages.
    pub wants_page: bool,
}

impl<'a> Call<'a> {
    /// Identifies the caller of an own path. Asking for our pages is no activity that keeps a session alive.
    pub async fn new<B>(
        gateway: &'a Gateway,
        client: ClientView,
        host: &Host<'_>,
        request: &Request<B>,
        id: RequestId,
        now: Timestamp,
    ) -> Self {
        let (headers, caller) = (request.headers(), caller(&client));
        let mut managed = gateway.sessions.manage(headers, caller, Activity::Ignored, now);
        if managed.unresolved.is_some() {
            managed = gateway.sessions.resolve(managed, headers, caller, Activity::Ignored, now).await;
        }
        let presented = gateway.sessions.presented(headers, caller.secure, now);
        let host = Host { name: host.name.clone().into_owned().into(), port: host.port };
        Self {
            gateway,
            client,
            host,
            managed,
            presented,
            id,
            now,
            wants_page: accepts_html(request.headers()),
        }
    }

    /// Whose session was presented.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.managed.session.as_ref().and_then(|session| session.identity())
    }

    /// The response to a failure.
    pub fn fail(&self, failure: Failure) -> Reply {
        failure.reply(&self.gateway.pages, self.wants_page, self.id)
    }

    /// The host as a person reads it.
    pub fn host_text(&self) -> String {
        match self.host.port {
            Some(port) => format!("{}:{port}", self.host.name),
            None => self.host.name.to_string(),
        }
    }
}

/// Answers a request for the own path `endpoint` (what follows the prefix), and says why for the access log.
pub async fn answer(
    call: Call<'_>,
    endpoint: &str,
    request: Request<InboundBody>,
) -> (Reply, Option<&'static str>) {
    let method = request.method().clone();
    let read = method == Method::GET || method == Method::HEAD;
    let cookie = call.managed.set_cookie.clone();
    if let Some(after) = call.managed.retry_after {
        return (with_cookie(call.fail(too_many_bad_cookies(after)), cookie), Some(BAD_COOKIES));
    }
    match endpoint {
        // Whose they are cannot be said now; login and logout do not depend on it.
        "/whoami" | account::PATH if call.managed.unresolved.is_some() => {
            (call.fail(respond::STORE_UNREACHABLE), Some(respond::STORE_UNREACHABLE.code))
        }
        "/login" if read => (with_cookie(login::show(&call, &request), cookie), None),
        "/login" if method == Method::POST => login::submit(call, request).await,
        "/logout" if read => (with_cookie(logout::ask(&call), cookie), None),
        "/logout" if method == Method::POST => logout::submit(call, request).await,
        "/whoami" if read => (with_cookie(whoami(&call), cookie), None),
        account::PATH if read => (with_cookie(account::show(&call, &request).await, cookie), None),
        account::PATH if method == Method::POST => account::submit(call, request).await,
        "/login" | "/logout" | account::PATH => (not_allowed(&call, "GET, HEAD, POST"), Some("method")),
        "/whoami" => (not_allowed(&call, "GET, HEAD"), Some("method")),
        _ => match call.gateway.pages.asset(request.uri().path()) {
            Some(asset) if read => (respond::asset(asset.content_type, asset.bytes), None),
            Some(_) => (not_allowed(&call, "GET, HEAD"), Some("method")),
            None => {
                let failure = Failure::new(StatusCode::NOT_FOUND, "not_found", "There is no such page.");
                (with_cookie(call.fail(failure), cookie), Some("not_found"))
            }
        },
    }
}

/// The reason code of [`too_many_bad_cookies`].
pub const BAD_COOKIES: &str = "bad_cookies";

/// 429 for a request with a bad cookie from a source that has sent too many of them (S40). It removes the cookie, so that the
/// next request of an honest browser comes without one and is answered as usual.
pub fn too_many_bad_cookies(after: Duration) -> Failure {
    let text = "Too many requests with an invalid session cookie came from your network.";
    let seconds = after.as_secs().max(1);
    Failure { retry_after: Some(seconds), ..Failure::new(StatusCode::TOO_MANY_REQUESTS, BAD_COOKIES, text) }
}

/// What the session layer is told of a client.
pub fn caller(client: &ClientView) -> Caller {
    Caller { secure: client.secure, address: client.address }
}

fn whoami(call: &Call<'_>) -> Reply {
    match (call.identity(), &call.managed.session) {
        (Some(identity), Some(session)) => respond::json(
            StatusCode::OK,
            &json!({
                "user": identity.user(), "name": identity.name(), "email": identity.email(),
                "groups": identity.groups().collect::<Vec<_>>(),
                "expires_at": session.expires_at().to_string(),
            }),
        ),
        _ => {
            let login_url = call.gateway.own_paths.of("/login");
            let body = json!({ "title": "Unauthorized", "status": 401, "code": "login_required", "login_url": login_url });
            respond::json(StatusCode::UNAUTHORIZED, &body)
        }
    }
}

fn not_allowed(call: &Call<'_>, allow: &'static str) -> Reply {
    let mut reply = call.fail(METHOD);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}
