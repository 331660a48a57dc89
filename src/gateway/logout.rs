//! The logout page and what its form does: always 303, the removal cookie, Clear-Site-Data, no-store (S29).

use http::header::HeaderName;
use http::{HeaderValue, Request, StatusCode};

use crate::gateway::challenge::{text_value, with_cookie};
use crate::gateway::endpoints::Call;
use crate::gateway::form::Form;
use crate::gateway::form_token::Binding;
use crate::gateway::login::CROSS_SITE;
use crate::gateway::reply::Reply;
use crate::gateway::respond;
use crate::gateway::same_origin::{FormOrigin, form_origin};
use crate::pages::LogoutView;
use crate::web::body::InboundBody;

/// Cached pages and stored data of this host; not "cookies", which would take those of sibling hosts too.
const CLEAR: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\", \"storage\""));

/// GET: asks. Nothing changes, whoever sent the browser here.
pub fn ask(call: &Call<'_>) -> Reply {
    let (Some(identity), Some(session)) = (call.identity(), &call.managed.session) else {
        return respond::see_other(text_value(&call.gateway.own_paths.of("/login")));
    };
    let view = LogoutView {
        token: &call.gateway.form_tokens.issue(Binding::Session(session.stored_id().as_bytes()), call.now),
        user: identity.user(),
        name: identity.name(),
        return_to: "/",
    };
    respond::page(StatusCode::OK, call.gateway.pages.logout(&view))
}

/// POST: ends the session, and where two cookies of ours came, the sessions of both. It answers alike when there is none, so it can be repeated, and when the store cannot write: the
/// session is dead in memory at once and the write is retried.
pub async fn submit(call: Call<'_>, request: Request<InboundBody>) -> (Reply, Option<&'static str>) {
    let origin = form_origin(request.headers(), &call.host);
    if origin == FormOrigin::Other {
        return (call.fail(CROSS_SITE), Some("cross_site"));
    }
    let mut ending = call.presented.clone();
    if !ending.is_empty() {
        if origin == FormOrigin::Unsaid {
            let token = Form::read(request).await.map(|mut form| form.take("token")).unwrap_or_default();
            // The token proves something about the session it is bound to, and nothing about another.
            ending.retain(|id| {
                call.gateway.form_tokens.verify(&token, Binding::Session(id.as_bytes()), call.now)
            });
            if ending.is_empty() {
                return (call.fail(CROSS_SITE), Some("form_token"));
            }
        }
        if let Err(error) = call.gateway.sessions.log_out(ending).await {
            tracing::error!(request_id = %call.id, %error, "a logout could not be written yet; the session is revoked in memory");
        }
    }
    (signed_out(&call), Some("logout"))
}

/// The answer to somebody whose session has just ended by their own wish.
pub fn signed_out(call: &Call<'_>) -> Reply {
    let mut reply = respond::see_other(text_value(&call.gateway.own_paths.of("/login?signed_out=1")));
    if call.gateway.clear_site_data {
        let (name, value) = CLEAR;
        reply.headers_mut().insert(name, value);
    }
    let removal = call.gateway.sessions.removal_cookie(call.client.secure);
    with_cookie(reply, Some(removal))
}
