//! What a client's stream can do beyond reading and writing.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, Ready};
use tokio_rustls::server::TlsStream;

/// A client's stream.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Makes the coming close a reset, which no client takes for a regular end.
    fn reset_on_close(&self);

    /// Lets the system find out that a silent client is gone. For connections that may be silent for long, such as tunnels.
    fn keep_alive(&self);

    /// Whether the client has closed its sending side or reset the connection, even behind bytes that nobody has read.
    fn has_left(&self) -> bool;

    /// Ready when the socket may have something to read, be it the end. Right only after a read has found nothing: what lies in a
    /// buffer before the socket's own is not looked at.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What the runtime knows of a socket already: nothing is read, and the system is not asked.
fn is_read_closed(ready: impl Future<Output = io::Result<Ready>>) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    matches!(pin!(ready).poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Silence before the first probe, and between two.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);

impl ClientStream for tokio::net::TcpStream {
    fn reset_on_close(&self) {
        // A failure leaves an ordinary close, which is all there is then.
        let _ = self.set_zero_linger();
    }

    fn keep_alive(&self) {
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
        // Without it a dead client's tunnel stays until something is sent to it.
        let _ = SockRef::from(self).set_tcp_keepalive(&probes);
    }

    fn has_left(&self) -> bool {
        is_read_closed(self.ready(Interest::READABLE))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl ClientStream for tokio::net::UnixStream {
    fn reset_on_close(&self) {}

    fn keep_alive(&self) {}

    fn has_left(&self) -> bool {
        is_read_closed(self.ready(Interest::READABLE))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl<T: ClientStream> ClientStream for TlsStream<T> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }

    fn keep_alive(&self) {
        self.get_ref().0.keep_alive();
    }

    fn has_left(&self) -> bool {
        self.get_ref().0.has_left()
    }

    /// A read has taken every whole record there was; the rest of one comes from the socket.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}
