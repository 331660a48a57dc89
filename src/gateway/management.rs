//! The management listener: health for supervisors, numbers for Prometheus, on a listener of its own and never on a public one (X32).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::observe::metrics::{Exposition, Scrape, Source};
use crate::session::SessionManager;
use crate::web::body::FullBody;

/// What the management endpoints report on.
#[derive(Clone)]
pub struct Management {
    sessions: Arc<SessionManager>,
    draining: Arc<AtomicBool>,
    sources: Arc<[Arc<dyn Source>]>,
}

impl Management {
    /// Reports on `sessions` and on whether the process is `draining`; metrics are what the `sources` tell.
    pub fn new(
        sessions: Arc<SessionManager>,
        draining: Arc<AtomicBool>,
        sources: Vec<Arc<dyn Source>>,
    ) -> Self {
        Self { sessions, draining, sources: sources.into() }
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
            "/healthz" | "/readyz" | "/metrics" if !read => {
                reply(StatusCode::METHOD_NOT_ALLOWED, &json!({ "status": "method" }))
            }
            // Alive: the process answers at all.
            "/healthz" => reply(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(request.headers()),
            _ => reply(StatusCode::NOT_FOUND, &json!({ "status": "not_found" })),
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<FullBody> {
        let exposition = Exposition::wanted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
        let mut scrape = Scrape::default();
        self.sources.iter().for_each(|source| source.report(&mut scrape));
        match scrape.text(exposition) {
            Ok(text) => with_type(Response::new(FullBody::from(text)), exposition.content_type()),
            Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "status": "internal" })),
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
    with_type(reply, "application/json")
}

fn with_type(mut reply: Response<FullBody>, content_type: &'static str) -> Response<FullBody> {
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
