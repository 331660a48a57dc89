//! What lies between an accepted socket and its first request: the TLS handshake, and which HTTP it is to be.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::client_stream::ClientStream;
use crate::server::stall::{Activity, Order};
use crate::server::tls::{ClientCertificate, H2, Tls};
use crate::server::worker::Worker;
use crate::server::{Peer, Service, http1, http2};

/// Serves `stream`, of a listener that does more than plain HTTP/1, to its end.
pub(super) async fn serve<T: ClientStream, S: Service>(
    worker: &Worker<S>,
    tls: Option<&Tls>,
    stream: T,
    mut peer: Peer,
    activity: Rc<Activity>,
) {
    activity.opening();
    let Some(tls) = tls else {
        return over_http1(worker, stream, peer, activity).await;
    };
    let Some(stream) = handshake(tls, stream, &activity).await else { return };
    let session = stream.get_ref().1;
    peer.secure = true;
    peer.certificate = session.peer_certificates().and_then(|c| c.first()).and_then(ClientCertificate::read);
    let multiplexed = session.alpn_protocol() == Some(H2);
    activity.opened();
    if multiplexed {
        let service = Rc::clone(&worker.service);
        http2::serve(&worker.http2, stream, &peer, service, activity, &worker.scratch).await;
    } else {
        over_http1(worker, stream, peer, activity).await;
    }
}

async fn over_http1<T: ClientStream, S: Service>(
    worker: &Worker<S>,
    stream: T,
    peer: Peer,
    activity: Rc<Activity>,
) {
    let service = Rc::clone(&worker.service);
    http1::serve(&worker.http1, stream, &peer, service, activity, &worker.scratch).await;
}

/// `None` when the client did not make it in time, or at all: it sees an alert where TLS has one to say.
async fn handshake<T: ClientStream>(tls: &Tls, stream: T, activity: &Activity) -> Option<TlsStream<T>> {
    let shaking = TlsAcceptor::from(tls.current()).accept(stream);
    match while_opening(activity, shaking).await? {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}

/// Runs `future` until the sweep or a drain ends the connection: nothing of a request is in flight yet.
async fn while_opening<F: Future>(activity: &Activity, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match activity.order(cx) {
        Order::Serve => future.as_mut().poll(cx).map(Some),
        Order::Finish | Order::Cut => Poll::Ready(None),
    })
    .await
}
