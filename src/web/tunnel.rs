//! A connection that has stopped being HTTP: after a 101 (RFC 9110 section 7.8), or a 200 to an extended CONNECT (RFC 8441).
//!
//! `proxy` makes the upstream's side, `gateway` ties it to its session and its log line, `server` joins the client to it.

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

/// One side of a tunnel: bytes both ways, each way ended on its own. Dropped with its writing side still open, it aborts: the other
/// end is to see a reset where the transport knows one, and no regular end.
pub trait TunnelIo: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> TunnelIo for T {}

/// The upstream's side of a tunnel, on its way to the client. Dropped, it closes.
pub struct Tunnel(Box<dyn TunnelIo>);

impl Tunnel {
    /// Around the upstream's stream. What the upstream sent behind its 101 comes first out of it.
    pub fn new(upstream: impl TunnelIo + 'static) -> Self {
        Self(Box::new(upstream))
    }

    /// The stream to copy to and from.
    pub fn into_io(self) -> Box<dyn TunnelIo> {
        self.0
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}
