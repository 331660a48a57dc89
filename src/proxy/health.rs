//! Whether upstreams are well, asked on the control thread. Workers read one flag.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use hyper::ext::on_informational;
use tokio::task::AbortHandle;

use crate::proxy::address::{Place, Scheme};
use crate::proxy::body::RequestBody;
use crate::proxy::connect::{ConnectError, Link, connect};
use crate::proxy::endpoint::Endpoint;
use crate::proxy::message;
use crate::proxy::settings::HealthSettings;

/// Interim answers that one question may get.
const MOST_INTERIM: u32 = 100;

/// What the answers of one upstream to one kind of question say.
#[derive(Debug)]
pub(super) struct Health {
    endpoint: Arc<Endpoint>,
    pub(super) settings: HealthSettings,
    healthy: AtomicBool,
    /// Answers in a row that say the contrary.
    contrary: AtomicU32,
}

impl Health {
    /// Of an upstream that is taken for healthy until its answers say otherwise, so that a start waits for nothing.
    pub(super) fn new(endpoint: Arc<Endpoint>, settings: HealthSettings) -> Self {
        Self { endpoint, settings, healthy: AtomicBool::new(true), contrary: AtomicU32::new(0) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Takes one answer into account: good, or bad in the way said.
    pub(super) fn note(&self, answer: Result<(), String>) {
        let healthy = self.is_healthy();
        if answer.is_ok() == healthy {
            return self.contrary.store(0, Ordering::Relaxed);
        }
        let in_a_row = self.contrary.fetch_add(1, Ordering::Relaxed) + 1;
        let enough = if healthy { self.settings.unhealthy_after } else { self.settings.healthy_after };
        if in_a_row < enough {
            return;
        }
        self.contrary.store(0, Ordering::Relaxed);
        self.healthy.store(!healthy, Ordering::Relaxed);
        let (upstream, path) = (&self.endpoint.address, &self.settings.path);
        match answer {
            Ok(()) => tracing::info!(%upstream, %path, "the upstream is healthy again"),
            Err(reason) => tracing::warn!(%upstream, %path, %reason, "the upstream is unhealthy"),
        }
    }

    /// Asks once.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, self.answer()).await {
            Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(()),
            Ok(Ok(status)) => Err(format!("it answered {status}")),
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err("it did not answer in time".into()),
        }
    }

    async fn answer(&self) -> Result<StatusCode, String> {
        let opened = connect(&self.endpoint, false, self.settings.timeout).await.map_err(|e| match e {
            ConnectError::Io(error) => error.to_string(),
            _ => "it did not accept a connection in time".to_owned(),
        })?;
        let mut request = Request::new(RequestBody::default());
        *request.uri_mut() = self.settings.path.parse().map_err(|e| format!("{e}"))?;
        let host = HeaderValue::from_str(&host(&self.endpoint)).map_err(|e| e.to_string())?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("fluidgate-health"));
        let interim = bound_interim(&mut request, &opened.driver);
        // The connection ends with the response: one that lives on would tell of itself, not of the upstream.
        let response = match opened.link {
            Link::Http1(mut sender) => status_of(sender.send_request(request)).await,
            Link::Http2(mut sender, _) => {
                message::by_http2(&mut request, self.endpoint.address.scheme == Scheme::Https);
                status_of(sender.send_request(request)).await
            }
        };
        opened.driver.abort();
        if interim.load(Ordering::Relaxed) > MOST_INTERIM {
            return Err("it sent too many interim answers".into());
        }
        response.map_err(|error| error.to_string())
    }
}

/// Ends the connection of an upstream that sends interim answers (1xx) without end: each costs work, and none says how it is. What
/// this gives counts them.
fn bound_interim(request: &mut Request<RequestBody>, driver: &AbortHandle) -> Arc<AtomicU32> {
    let (count, driver) = (Arc::new(AtomicU32::new(0)), driver.clone());
    let counted = Arc::clone(&count);
    on_informational(request, move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) >= MOST_INTERIM {
            driver.abort();
        }
    });
    count
}

async fn status_of<B, E>(
    response: impl Future<Output = Result<http::Response<B>, E>>,
) -> Result<StatusCode, E> {
    response.await.map(|response| response.status())
}

fn host(endpoint: &Endpoint) -> String {
    match &endpoint.address.place {
        Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix(_) => "localhost".into(),
    }
}
