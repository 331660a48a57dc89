//! What a request gets that may not pass: a way to log in, or the reason why not.

use http::header::{HOST, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::base::identity::Identity;
use crate::gateway::Gateway;
use crate::gateway::account;
use crate::gateway::navigation::{RequestKind, accepts_html};
use crate::gateway::own_paths::OwnPath;
use crate::gateway::reply::Reply;
use crate::gateway::request_id::RequestId;
use crate::gateway::respond::{self, Failure};
use crate::pages::DeniedView;
use crate::policy::Reason;
use crate::web::path::read_path;
use crate::web::return_to::ReturnTo;

/// What stands unencoded in a query value: unreserved characters and the slash, so that a person can read the target.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// 303 to the login page for a navigation, 401 with JSON for everything else (S31).
pub fn log_in_first<B>(
    gateway: &Gateway,
    request: &Request<B>,
    cookie: Option<HeaderValue>,
    id: RequestId,
) -> Reply {
    let login = gateway.own_paths.of("/login");
    let reply = match RequestKind::of(request.method(), request.headers()) {
        RequestKind::TopLevelNavigation => {
            respond::see_other(login_with_return(&login, &target_of(gateway, request)))
        }
        RequestKind::OtherNavigation => respond::see_other(text_value(&login)),
        RequestKind::Fetch => {
            let body = json!({
                "title": "Unauthorized", "status": 401, "code": "login_required",
                "detail": "Sign in first.", "login_url": login, "request_id": id.text(),
            });
            let mut reply = respond::json(StatusCode::UNAUTHORIZED, &body);
            // RFC 9110 section 11.6.1 wants a challenge; no browser asks for a password over this scheme.
            reply
                .headers_mut()
                .insert(WWW_AUTHENTICATE, text_value(&format!("Cookie form-action=\"{login}\"")));
            reply
        }
    };
    with_cookie(reply, cookie)
}

/// 303 to the login page, which leads on to `target`.
pub fn to_login(gateway: &Gateway, target: &str) -> Reply {
    let login = gateway.own_paths.of("/login");
    respond::see_other(login_with_return(&login, &acceptable_return(gateway, target)))
}

/// 403: who the user is signed in as, and why that is not enough.
pub fn denied<B>(
    gateway: &Gateway,
    request: &Request<B>,
    identity: Option<&Identity>,
    reason: Reason,
    cookie: Option<HeaderValue>,
    id: RequestId,
) -> Reply {
    let words = match reason {
        Reason::NotAMember => "Your account is not on the list for this page.",
        Reason::NoCertificate => "This page is for holders of certain client certificates.",
    };
    let reply = if accepts_html(request.headers()) {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let return_to = target_of(gateway, request);
        let view = DeniedView {
            user: identity.map(Identity::user).unwrap_or_default(),
            reason: words,
            request_id: &id.text(),
            host,
            return_to: return_to.as_str(),
        };
        respond::page(StatusCode::FORBIDDEN, gateway.pages.denied(&view))
    } else {
        Failure::new(StatusCode::FORBIDDEN, reason.code(), words).reply(&gateway.pages, false, id)
    };
    with_cookie(reply, cookie)
}

/// Adds our Set-Cookie to a synthetic response (which is `no-store` already).
pub fn with_cookie(mut reply: Reply, cookie: Option<HeaderValue>) -> Reply {
    if let Some(cookie) = cookie {
        reply.headers_mut().append(SET_COOKIE, cookie);
    }
    reply
}

fn login_with_return(login: &str, target: &ReturnTo) -> HeaderValue {
    if *target == ReturnTo::root() {
        return text_value(login);
    }
    text_value(&format!("{login}?return_to={}", utf8_percent_encode(target.as_str(), QUERY_VALUE)))
}

/// Where the request itself was going, as a place to come back to.
fn target_of<B>(gateway: &Gateway, request: &Request<B>) -> ReturnTo {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    acceptable_return(gateway, target)
}

/// `raw` if it is a safe place to go to after login and, of our own pages, at most the account page; else the front page.
pub fn acceptable_return(gateway: &Gateway, raw: &str) -> ReturnTo {
    let path = raw.split('?').next().unwrap_or_default();
    let own = read_path(path).is_ok_and(|read| {
        !matches!(gateway.own_paths.read(&read), OwnPath::Other | OwnPath::Own(account::PATH))
    });
    if own {
        return ReturnTo::root();
    }
    ReturnTo::parse(raw, &gateway.return_origins).unwrap_or_else(ReturnTo::root)
}

/// Header text made of configured paths and percent-encoded input only.
pub fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("/"))
}
