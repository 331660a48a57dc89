//! What lies between an accepted socket and its first request: the PROXY header, the TLS handshake, and which HTTP it is to be.
//!
//! Each step lies in a box of its own and goes when it is done: a task keeps for life the room that its largest step takes, and there
//! are many connections that wait.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::HeaderValue;
use tokio_rustls::TlsAcceptor;

use crate::server::caps::{Place, SourceStreams};
use crate::server::client_stream::ClientStream;
use crate::server::listener::Role;
use crate::server::metrics::OpenConnection;
use crate::server::preface::{self, Begins};
use crate::server::stall::{Activity, Order};
use crate::server::streams::Streams;
use crate::server::tls::{ClientCertificate, H2, Tls};
use crate::server::worker::Worker;
use crate::server::{Peer, Service, http1, http2, proxy_protocol};

/// Serves `stream`, of a listener that does more than plain HTTP/1, to its end.
pub(super) async fn serve<T: ClientStream, S: Service>(
    worker: &Worker<S>,
    role: Role,
    mut stream: T,
    mut peer: Peer,
    activity: Rc<Activity>,
    mut place: Place,
    counted: &OpenConnection,
) {
    activity.opening();
    if role.proxy_protocol {
        // Whoever is not one of our proxies could claim any address.
        if !worker.service.trusts(&peer) {
            tracing::debug!(?peer, "a connection for a PROXY listener is from nobody we trust");
            return;
        }
        let mut header = Box::pin(proxy_protocol::read_header(&mut stream));
        match while_opening(&activity, header.as_mut(), "PROXY header").await {
            Some(Some(client)) => {
                peer.address = Some(client);
                if !worker.service.trusts(&peer) && !place.is_of(client.ip()) {
                    return worker.refuse(counted);
                }
            }
            Some(None) => peer.unnamed = true,
            None => return,
        }
    }
    let streams = place.streams();
    if role.tls {
        let opened = Box::pin(over_tls(worker, stream, peer, streams, activity)).await;
        if let Some(serving) = opened {
            serving.await;
        }
        return;
    }
    if role.h2c {
        let told = {
            let mut telling = Box::pin(preface::tell(stream));
            while_opening(&activity, telling.as_mut(), "first request").await
        };
        let Some((begins, stream)) = told else { return };
        return over_http(worker, begins, stream, peer, None, streams, activity).await;
    }
    over_http(worker, Begins::Http1, stream, peer, None, streams, activity).await;
}

/// A connection on which HTTP has begun.
type Serving<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn over_tls<T: ClientStream, S: Service>(
    worker: &Worker<S>,
    stream: T,
    mut peer: Peer,
    streams: SourceStreams,
    activity: Rc<Activity>,
) -> Option<Serving<'_>> {
    let tls = worker.tls.as_deref().map(Tls::current)?;
    let shaking = pin!(TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream));
    // A client that did not make it sees an alert where TLS has one to say.
    let stream = while_opening(&activity, shaking, "TLS handshake").await?;
    let session = stream.get_ref().1;
    peer.secure = true;
    peer.certificate = session.peer_certificates().and_then(|c| c.first()).and_then(ClientCertificate::read);
    // A session that is resumed brings the certificate of its first handshake along, and nobody has looked at its date since.
    if peer.certificate.as_ref().is_some_and(|certificate| certificate.not_after < worker.now()) {
        tracing::debug!(?peer, "the certificate of a client has expired since its session began");
        return None;
    }
    let begins = if session.alpn_protocol() == Some(H2) { Begins::Http2 } else { Begins::Http1 };
    let hsts = tls.hsts.clone();
    // What is replaced meanwhile need not stay in memory for as long as this connection does.
    drop(tls);
    Some(over_http(worker, begins, stream, peer, hsts, streams, activity))
}

fn over_http<T: ClientStream, S: Service>(
    worker: &Worker<S>,
    begins: Begins,
    stream: T,
    peer: Peer,
    hsts: Option<HeaderValue>,
    streams: SourceStreams,
    activity: Rc<Activity>,
) -> Serving<'_> {
    activity.opened();
    let (service, scratch) = (Rc::clone(&worker.service), &worker.scratch);
    match begins {
        Begins::Http1 => {
            Box::pin(http1::serve(&worker.http1, stream, &peer, hsts, service, activity, scratch))
        }
        Begins::Http2 => {
            let followed = (activity, Rc::new(Streams::of(streams)));
            Box::pin(async move {
                http2::serve(&worker.http2, stream, &peer, hsts, service, followed, scratch).await;
            })
        }
    }
}

/// What `step` yields; `None` when it failed, or the sweep or a drain ended the connection first: nothing of a request is in
/// flight yet.
async fn while_opening<F: Future<Output = io::Result<T>>, T>(
    activity: &Activity,
    mut step: Pin<&mut F>,
    what: &str,
) -> Option<T> {
    let done = poll_fn(|cx| match activity.order(cx) {
        Order::Serve => step.as_mut().poll(cx).map(Some),
        Order::Finish | Order::Cut => Poll::Ready(None),
    });
    match done.await? {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::debug!(%error, what, "a connection did not get to its first request");
            None
        }
    }
}
