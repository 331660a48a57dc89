//! Which HTTP a plain connection speaks, where a listener takes HTTP/2 from clients that know in advance (h2c, RFC 9113 section 3.3).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::server::client_stream::ClientStream;

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is taken from a client that is no longer listened to.
const MOST_UNREAD: u64 = 64 * 1024;

/// What begins a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Http1,
    Http2,
}

/// Reads as much of `stream` as it takes to tell, 24 bytes at most; they come out of the stream again. A beginning of neither is an
/// error: RFC 9113 section 3.4 wants such a connection ended, and an answer in HTTP/1.1 would be a bad frame to its client.
pub(super) async fn tell<T: ClientStream>(mut stream: T) -> io::Result<(Begins, Rewound<T>)> {
    let mut seen = [0; PREFACE.len()];
    let mut count = 0;
    let begins = loop {
        let read = stream.read(seen.get_mut(count..).unwrap_or_default()).await?;
        count += read;
        let so_far = seen.get(..count).unwrap_or_default();
        if no_version_of_http1(so_far) && !PREFACE.starts_with(so_far) {
            hang_up(stream).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it begins like no version of HTTP"));
        }
        if read == 0 || !PREFACE.starts_with(so_far) {
            break Begins::Http1;
        }
        if count == PREFACE.len() {
            break Begins::Http2;
        }
    };
    Ok((begins, Rewound { first: seen, from: 0, to: count, stream }))
}

/// Ends a connection whose client may still be sending: without reading what is under way, the end would be a reset.
async fn hang_up(mut stream: impl ClientStream) {
    if stream.shutdown().await.is_ok() {
        let mut rest = Box::pin(stream.take(MOST_UNREAD));
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

/// Whether a first line that begins like this ends in another version than 1.x, as far as that can be seen.
fn no_version_of_http1(line: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let line = line.split(|b| *b == b'\r').next().unwrap_or_default();
    let version = line.splitn(3, |b| *b == b' ').nth(2).unwrap_or_default();
    !version.iter().zip(VERSION).all(|(seen, wanted)| seen == wanted)
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

    fn has_left(&self) -> bool {
        self.stream.has_left()
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_readable(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_of_no_version_of_http1_only_when_another_version_can_be_seen() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET / ",
            "GET / HT",
            "GET / HTTP/1.1\r\n",
            "GET /a-long-way/to-go",
            "GET /\r\nA: b c d",
        ] {
            assert!(!no_version_of_http1(line.as_bytes()), "{line}");
        }
        for line in ["INVALID CONNECTION PREFA", "PRI * HTTP/2.0\r\n", "GET / HTTP/0.9", "a b c", "\0 \0 \0"]
        {
            assert!(no_version_of_http1(line.as_bytes()), "{line}");
        }
    }
}
