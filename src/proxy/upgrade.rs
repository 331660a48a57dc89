//! A 101 from an upstream: the client's side of an HTTP/1.1 upgrade (RFC 9110 section 7.8).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::proxy::body::ForwardedBody;
use crate::proxy::error::{ForwardError, out_of_time};
use crate::proxy::pool::Lease;
use crate::proxy::waiting::Wait;
use crate::web::hop_by_hop;
use crate::web::tunnel::Tunnel;

/// The 101 as the client gets it, if it names what the request `asked` for. Of its hop-by-hop fields `Connection` and
/// `Upgrade` alone are left.
pub(super) async fn accept(
    mut response: Response<Incoming>,
    lease: Lease,
    asked: Option<HeaderValue>,
    wait: &Wait,
) -> Result<Response<ForwardedBody>, ForwardError> {
    let refuse = |problem: &str| ForwardError::Protocol {
        upstream: lease.upstream().clone(),
        problem: problem.to_owned(),
    };
    let asked = asked.ok_or_else(|| refuse("it switched protocols unasked"))?;
    let protocol = agreed(response.headers(), &asked)
        .ok_or_else(|| refuse("it switched to a protocol that was not asked for"))?;
    // The stream comes out of the connection's task as soon as that has seen the 101 itself.
    let mut switching = pin!(hyper::upgrade::on(&mut response));
    let switched = poll_fn(|cx| match switching.as_mut().poll(cx) {
        Poll::Ready(switched) => Poll::Ready(Ok(switched)),
        Poll::Pending => wait.poll_expired(cx).map(Err),
    })
    .await;
    let stream = match switched {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => {
            return Err(ForwardError::Closed { upstream: lease.upstream().clone(), source });
        }
        Err(expired) => return Err(out_of_time(lease.upstream(), expired)),
    };
    let (mut parts, body) = response.into_parts();
    hop_by_hop::strip_response(&mut parts.headers);
    // A 101 has no body (RFC 9110 section 8.6).
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, protocol);
    let tunnel = Tunnel::new(UpstreamStream { io: Some(TokioIo::new(stream)), ended: false, _lease: lease });
    Ok(Response::from_parts(parts, ForwardedBody::tunnelled(body, tunnel)))
}

/// What the upstream switched to, if all of it was asked for. Protocol names are compared without case, as `WebSocket` is in use.
fn agreed(answer: &HeaderMap, asked: &HeaderValue) -> Option<HeaderValue> {
    let mut answers = answer.get_all(UPGRADE).iter();
    let (Some(answer), None) = (answers.next(), answers.next()) else { return None };
    let known = |protocol: &[u8]| protocols(asked).any(|one| one.eq_ignore_ascii_case(protocol));
    (protocols(answer).next().is_some() && protocols(answer).all(known)).then(|| answer.clone())
}

fn protocols(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|protocol| !protocol.is_empty())
}

/// The upstream's stream behind its 101. It counts as a request in flight until it is dropped, and dropped with its writing side
/// open it aborts.
struct UpstreamStream {
    /// Gone only while it is dropped.
    io: Option<TokioIo<Upgraded>>,
    ended: bool,
    _lease: Lease,
}

impl UpstreamStream {
    fn io(&mut self) -> io::Result<Pin<&mut TokioIo<Upgraded>>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        self.io()?.poll_shutdown(cx)
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let Some(io) = self.io.take().filter(|_| !self.ended) else { return };
        // A failure leaves an ordinary close, which is all there is on a unix socket, too.
        let _ = match io.into_inner().downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => parts.io.inner().set_zero_linger(),
            Err(other) => match other.downcast::<TokioIo<TlsStream<TcpStream>>>() {
                Ok(parts) => parts.io.inner().get_ref().0.set_zero_linger(),
                Err(_) => Ok(()),
            },
        };
    }
}
