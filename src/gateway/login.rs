//! The login page and what its form does. State changes on POST only, with proof of same origin (S28); a granted login mints a
//! new token and ends the session that was presented, in one durable write (S27).

use http::header::{COOKIE, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use data_encoding::BASE64URL_NOPAD;

use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::gateway::challenge::{acceptable_return, text_value, with_cookie};
use crate::gateway::endpoints::Call;
use crate::gateway::form::{Form, query_field};
use crate::gateway::form_token::Binding;
use crate::gateway::reply::Reply;
use crate::gateway::respond::{self, Failure};
use crate::gateway::same_origin::{FormOrigin, form_origin};
use crate::login::Outcome;
use crate::pages::{LoginMessage, LoginView};
use crate::session::{Origin, SessionError};
use crate::web::body::InboundBody;
use crate::web::return_to::ReturnTo;

/// GET: the page, for somebody signed in too, so that they can switch account.
pub fn show<B>(call: &Call<'_>, request: &Request<B>) -> Reply {
    let query = request.uri().query();
    let field = |name| query_field(query, name);
    let (Ok(None), Ok(None), Ok(return_to)) = (field("username"), field("password"), field("return_to"))
    else {
        // Credentials in a URL end up in histories and logs: refuse, and do not repeat them.
        let failure = Failure::new(
            StatusCode::BAD_REQUEST,
            "login_query",
            "The address of the login page is not valid.",
        );
        return call.fail(failure);
    };
    let return_to = acceptable_return(call.gateway, return_to.as_deref().unwrap_or("/"));
    // Anybody can make such a link: it is believed only by who has no session any more.
    let signed_out = matches!(field("signed_out"), Ok(Some(_))) && call.identity().is_none();
    let nonce = FormNonce::of(request.headers(), call);
    let message = signed_out.then_some(LoginMessage::SignedOut);
    page(call, StatusCode::OK, &return_to, "", message, &nonce)
}

/// POST: one attempt.
pub async fn submit(call: Call<'_>, request: Request<InboundBody>) -> (Reply, Option<&'static str>) {
    let origin = form_origin(request.headers(), &call.host);
    let nonce = FormNonce::of(request.headers(), &call);
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    if origin == FormOrigin::Other || request.uri().query().is_some() {
        return (call.fail(CROSS_SITE), Some("cross_site"));
    }
    let mut form = match Form::read(request).await {
        Ok(form) => form,
        Err(error) => return (call.fail(error.failure()), Some("form")),
    };
    let return_to = acceptable_return(call.gateway, form.field("return_to"));
    let username = form.take("username");
    let genuine = || {
        nonce.known
            && call.gateway.form_tokens.verify(form.field("token"), Binding::Nonce(&nonce.value), call.now)
    };
    if origin == FormOrigin::Unsaid && !genuine() {
        let reply =
            page(&call, StatusCode::FORBIDDEN, &return_to, &username, Some(LoginMessage::Expired), &nonce);
        return (reply, Some("form_token"));
    }
    let password = Secret::new(form.take("password").into_bytes());

    let outcome = call.gateway.login.attempt(&username, password, call.client.address, call.now).await;
    let (status, message, retry_after, reason) = match outcome {
        Outcome::Grant(subject) => return grant(&call, &subject, agent.as_deref(), &return_to).await,
        Outcome::Refuse => (StatusCode::UNAUTHORIZED, LoginMessage::Refused, None, "login_refused"),
        Outcome::Throttled { retry_after } => {
            let minutes = u32::try_from(retry_after.as_secs().div_ceil(60)).unwrap_or(u32::MAX).max(1);
            (
                StatusCode::TOO_MANY_REQUESTS,
                LoginMessage::Throttled { minutes },
                Some(retry_after),
                "login_throttled",
            )
        }
        Outcome::Busy { retry_after } => {
            (StatusCode::SERVICE_UNAVAILABLE, LoginMessage::Busy, Some(retry_after), "login_busy")
        }
        Outcome::Invalid => {
            let failure = Failure::new(StatusCode::BAD_REQUEST, "login_form", "The form could not be read.");
            return (call.fail(failure), Some("login_form"));
        }
    };
    let mut reply = page(&call, status, &return_to, &username, Some(message), &nonce);
    if let Some(after) = retry_after {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    (reply, Some(reason))
}

/// What a form from another site, or without proof, is told.
pub const CROSS_SITE: Failure = Failure::new(
    StatusCode::FORBIDDEN,
    "cross_site",
    "This form was sent from another site. Open the page again and retry.",
);

/// What a login above the cap is told (S34). It does not say before the password was right.
const AT_CAP: Failure = Failure::new(
    StatusCode::FORBIDDEN,
    "session_cap",
    "You are signed in on as many devices as is allowed. Sign out on one of them, then sign in here again.",
);

async fn grant(
    call: &Call<'_>,
    subject: &crate::base::identity::Subject,
    agent: Option<&str>,
    return_to: &ReturnTo,
) -> (Reply, Option<&'static str>) {
    let origin = Origin::new(call.client.address, agent);
    let presented = call.presented.iter().copied();
    match call.gateway.sessions.create(subject, presented, origin, call.client.secure, call.now).await {
        Ok(created) => {
            // The directory may have changed while the password was checked: a user removed meanwhile ends here.
            let present = |user: &str| call.gateway.login.subject_of(user, call.now);
            if let Err(error) = call.gateway.sessions.refresh_subject(subject.identity.user(), &present).await
            {
                tracing::error!(request_id = %call.id, %error, "cannot refresh a user's sessions");
            }
            let reply = respond::see_other(return_to.location());
            (with_cookie(reply, Some(created.set_cookie)), Some("login_granted"))
        }
        Err(SessionError::AtCap) => (call.fail(AT_CAP), Some(AT_CAP.code)),
        Err(error) => {
            tracing::error!(request_id = %call.id, %error, "cannot create a session");
            let failure = Failure {
                retry_after: Some(5),
                ..Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "session_store",
                    "Signing in is not possible right now.",
                )
            };
            (call.fail(failure), Some("session_store"))
        }
    }
}

fn page(
    call: &Call<'_>,
    status: StatusCode,
    return_to: &ReturnTo,
    username: &str,
    message: Option<LoginMessage>,
    nonce: &FormNonce,
) -> Reply {
    let identity = call.identity();
    let view = LoginView {
        return_to: return_to.as_str(),
        token: &call.gateway.form_tokens.issue(Binding::Nonce(&nonce.value), call.now),
        username,
        message,
        host: &call.host_text(),
        signed_in_as: identity.as_deref().map(Identity::user),
    };
    let mut reply = respond::page(status, call.gateway.pages.login(&view));
    if !nonce.known {
        reply.headers_mut().append(SET_COOKIE, nonce.cookie(call));
    }
    reply
}

/// The nonce cookie that a login form is bound to. It goes to the login page only, and is kept when it is there already, so that
/// several tabs can log in at once.
struct FormNonce {
    value: String,
    known: bool,
}

impl FormNonce {
    fn of(headers: &HeaderMap, call: &Call<'_>) -> Self {
        let name = cookie_name(call.client.secure);
        let known = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'))
            .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
            .find(|(key, value)| *key == name && is_nonce(value));
        match known {
            Some((_, value)) => Self { value: value.to_owned(), known: true },
            None => {
                let mut bytes = [0; 16];
                // Without randomness the nonce is not worth its name; forms then need the browser's own word for their origin.
                let fresh = call.gateway.random.fill(&mut bytes).is_ok();
                Self {
                    value: if fresh { BASE64URL_NOPAD.encode(&bytes) } else { String::new() },
                    known: false,
                }
            }
        }
    }

    fn cookie(&self, call: &Call<'_>) -> HeaderValue {
        let secure = if call.client.secure { "; Secure" } else { "" };
        let path = call.gateway.own_paths.of("/login");
        text_value(&format!(
            "{}={}; Path={path}; HttpOnly; SameSite=Lax{secure}",
            cookie_name(call.client.secure),
            self.value
        ))
    }
}

fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Secure-fluidgate-form" } else { "fluidgate-form" }
}

fn is_nonce(value: &str) -> bool {
    value.len() == 22 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
