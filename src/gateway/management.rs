//! The management listener: health for supervisors, on a listener of its own and never on a public one (X32).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::SessionManager;
use crate::web::body::FullBody;

/// What the management endpoints report on.
#[derive(Clone)]
pub struct Management {
    sessions: Arc<SessionManager>,
    draining: Arc<AtomicBool>,
}

impl Management {
    /// Reports on `sessions` and on whether the process is `draining`.
    pub fn new(sessions: Arc<SessionManager>, draining: Arc<AtomicBool>) -> Self {
        Self { sessions, draining }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(move |request| {
            let reply = self.answer(&request);
            async move { Ok::<_, Infallible>(reply) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "management connection ended");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<FullBody> {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" | "/readyz" if !read => {
                reply(StatusCode::METHOD_NOT_ALLOWED, &json!({ "status": "method" }))
            }
            // Alive: the process answers at all.
            "/healthz" => reply(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => self.ready(),
            _ => reply(StatusCode::NOT_FOUND, &json!({ "status": "not_found" })),
        }
    }

    fn ready(&self) -> Response<FullBody> {
        let draining = self.draining.load(Ordering::Relaxed);
        let store = self.sessions.health();
        let ready = store.fault.is_none() && !draining;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = if ready { "ready" } else { "not_ready" };
        reply(
            status,
            &json!({ "status": word, "store": if store.fault.is_none() { "ok" } else { "failing" }, "writes_owed": store.owed, "draining": draining }),
        )
    }
}

fn reply(status: StatusCode, value: &serde_json::Value) -> Response<FullBody> {
    let mut reply = Response::new(FullBody::from(format!("{value}\n")));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
