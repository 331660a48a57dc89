//! Which HTTP a plain connection speaks, where a listener takes HTTP/2 from clients that know in advance (h2c, RFC 9113 section 3.3).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::server::client_stream::ClientStream;

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What begins a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Http1,
    Http2,
}

/// Reads as much of `stream` as it takes to tell, 24 bytes at most; they come out of the stream again.
pub(super) async fn tell<T: ClientStream>(mut stream: T) -> io::Result<(Begins, Rewound<T>)> {
    let mut seen = [0; PREFACE.len()];
    let mut count = 0;
    let begins = loop {
        let read = stream.read(seen.get_mut(count..).unwrap_or_default()).await?;
        count += read;
        let so_far = seen.get(..count).unwrap_or_default();
        if read == 0 || !PREFACE.starts_with(so_far) {
            break Begins::Http1;
        }
        if count == PREFACE.len() {
            break Begins::Http2;
        }
    };
    Ok((begins, Rewound { first: seen, from: 0, to: count, stream }))
}

/// A stream whose first bytes were looked at.
#[derive(Debug)]
pub(super) struct Rewound<T> {
    first: [u8; PREFACE.len()],
    from: usize,
    to: usize,
    stream: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            let end = this.to.min(this.from + buf.remaining());
            buf.put_slice(this.first.get(this.from..end).unwrap_or_default());
            this.from = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<T: ClientStream> ClientStream for Rewound<T> {
    fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    fn keep_alive(&self) {
        self.stream.keep_alive();
    }
}
