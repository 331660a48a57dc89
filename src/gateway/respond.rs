//! The one place where a decision, an own page or an error becomes a response. Every synthetic response is `no-store`, varies by
//! cookie, and carries the headers of X9; the client gets bland words and a request id, the cause goes to the log (X31).

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::gateway::reply::{Reply, ReplyBody};
use crate::gateway::request_id::RequestId;
use crate::pages::{MessageView, Pages};
use crate::proxy::ForwardError;
use crate::web::body::FullBody;

const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A page of ours.
pub fn page(status: StatusCode, html: String) -> Reply {
    let mut reply = synthetic(status, "text/html; charset=utf-8", html);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    reply
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    synthetic(status, "application/json", value.to_string())
}

/// A problem as RFC 9457 has it.
pub fn problem(status: StatusCode, code: &str, detail: &str, id: RequestId) -> Reply {
    let body = json!({ "title": title(status), "status": status.as_u16(), "code": code, "detail": detail, "request_id": id.text() });
    synthetic(status, "application/problem+json", body.to_string())
}

/// 303 to `location`: whatever was sent, what follows is fetched by GET.
pub fn see_other(location: HeaderValue) -> Reply {
    let mut reply = synthetic(StatusCode::SEE_OTHER, "", String::new());
    reply.headers_mut().insert(LOCATION, location);
    reply
}

/// 308 to `location`: the same request, by its own method, and for good.
pub fn permanently(location: HeaderValue) -> Reply {
    let mut reply = synthetic(StatusCode::PERMANENT_REDIRECT, "", String::new());
    reply.headers_mut().insert(LOCATION, location);
    reply
}

/// An immutable asset of our own pages: the one synthetic answer that may be kept.
pub fn asset(content_type: &'static str, bytes: &'static [u8]) -> Reply {
    let mut reply = synthetic(StatusCode::OK, content_type, bytes);
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.remove(VARY);
    reply
}

/// What a failed request is told, as a page or as a problem, by what the client accepts.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// Words safe to show to anybody.
    pub text: &'static str,
    /// When trying again may help, in seconds.
    pub retry_after: Option<u64>,
}

/// Nobody can say now whether the presented session is a good one.
pub const STORE_UNREACHABLE: Failure = Failure {
    retry_after: Some(5),
    ..Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "session_store",
        "It cannot be checked right now who you are. Please try again in a moment.",
    )
};

/// Nothing the client can mend.
pub const INTERNAL: Failure =
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here.");

/// The request has passed this very gateway before (RFC 5842 section 7.2).
pub const LOOP: Failure =
    Failure::new(StatusCode::LOOP_DETECTED, "loop", "This request goes round in a circle.");

/// There is nothing at this path.
pub const NOT_FOUND: Failure =
    Failure::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.");

/// The path cannot be rewritten for the upstream.
pub const UNREWRITABLE: Failure =
    Failure::new(StatusCode::BAD_REQUEST, "unrewritable_path", "The request could not be understood.");

/// The method is none that is taken there.
pub const METHOD: Failure =
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This page does not take that method.");

impl Failure {
    /// A failure that trying again does not mend.
    pub const fn new(status: StatusCode, code: &'static str, text: &'static str) -> Self {
        Self { status, code, text, retry_after: None }
    }

    /// What the client is told when forwarding failed.
    pub fn of_forwarding(error: &ForwardError) -> Self {
        let text = match error.status() {
            StatusCode::GATEWAY_TIMEOUT => "The app behind this gateway took too long to answer.",
            StatusCode::BAD_REQUEST => "The request could not be read to its end.",
            _ => "The app behind this gateway cannot be reached right now.",
        };
        Self { retry_after: error.retry_after(), ..Self::new(error.status(), error.code(), text) }
    }

    /// The response, as a page or as a problem.
    pub fn reply(self, pages: &Pages, wants_page: bool, id: RequestId) -> Reply {
        let mut reply = if wants_page {
            let view = MessageView {
                status: self.status.as_u16(),
                title: title(self.status),
                text: self.text,
                request_id: &id.text(),
                retry: self.retry_after.is_some() || self.status.is_server_error(),
            };
            page(self.status, pages.message(&view))
        } else {
            problem(self.status, self.code, self.text, id)
        };
        if let Some(seconds) = self.retry_after {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }
}

/// Asks the server to end the connection behind this response.
pub fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// Says which methods are taken (RFC 9110 section 10.2.1).
pub fn allowing(mut reply: Reply, methods: &[Method]) -> Reply {
    let list = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    // Methods are tokens, and a list of them a header value.
    if let Ok(list) = HeaderValue::from_str(&list) {
        reply.headers_mut().insert(ALLOW, list);
    }
    reply
}

/// An answer that the configuration gives word for word.
pub fn fixed(status: StatusCode, body: bytes::Bytes) -> Reply {
    synthetic(status, "", body)
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn synthetic(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::full(FullBody::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let fixed: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (VARY, "Cookie"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
