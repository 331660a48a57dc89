//! What a client's stream can do beyond reading and writing.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

/// A client's stream.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Makes the coming close a reset, which no client takes for a regular end.
    fn reset_on_close(&self);

    /// Lets the system find out that a silent client is gone. For connections that may be silent for long, such as tunnels.
    fn keep_alive(&self);
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
}

impl ClientStream for tokio::net::UnixStream {
    fn reset_on_close(&self) {}

    fn keep_alive(&self) {}
}

impl<T: ClientStream> ClientStream for TlsStream<T> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }

    fn keep_alive(&self) {
        self.get_ref().0.keep_alive();
    }
}
