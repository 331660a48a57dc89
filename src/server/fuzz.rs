//! What must hold of any bytes a connection begins with, and of any certificate file: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::base::clock::Timestamp;
use crate::server::client_stream::ClientStream;
use crate::server::preface::{Begins, tell};
use crate::server::proxy_protocol::parse;
use crate::server::tls::CertificateFiles;
use crate::server::tls::certificate::{certified, judged};

/// A PROXY header is read to its end and not beyond, is a header by itself, and nothing shorter is; an IPv4 client is one.
pub fn proxy_header(data: &[u8]) {
    let Ok((address, used)) = parse(data) else { return };
    assert!(used <= data.len());
    assert_eq!(parse(&data[..used]).ok(), Some((address, used)));
    assert!(parse(&data[..used - 1]).is_err());
    if let Some(IpAddr::V6(v6)) = address.map(|address| address.ip()) {
        assert!(v6.to_ipv4_mapped().is_none());
    }
}

/// The first byte says in what pieces the rest arrives: HTTP/2 is told by its preface alone, however it is cut, and no byte is lost.
pub fn preface(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let told = begins(bytes, usize::from(*piece).max(1));
    let http2 = bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // What is neither goes to HTTP/1 as soon as it is no preface any more, or is hung up on: both end it.
    for told in [told, begins(bytes, usize::MAX)] {
        assert_eq!(told == Some(Begins::Http2), http2, "cut in pieces of {piece}");
    }
}

fn begins(bytes: &[u8], piece: usize) -> Option<Begins> {
    let stream = Pieces { rest: bytes.to_vec().into(), piece };
    let mut reading = pin!(async {
        let (begins, mut rewound) = tell(stream).await.ok()?;
        let mut all = Vec::new();
        rewound.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, bytes);
        Some(begins)
    });
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(begins) => begins,
        Poll::Pending => panic!("bytes in memory are never waited for"),
    }
}

/// Bytes that arrive in pieces.
struct Pieces {
    rest: bytes::Bytes,
    piece: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.piece.min(buf.remaining()).min(self.rest.len());
        buf.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ClientStream for Pieces {
    fn reset_on_close(&self) {}

    fn keep_alive(&self) {}

    fn has_left(&self) -> bool {
        false
    }

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A certificate, as DER when the first byte is even, else as PEM with a key behind it: any bytes are a chain that is good at the
/// moment, or a problem.
pub fn certificate(data: &[u8]) {
    let Some((form, bytes)) = data.split_first() else { return };
    let now = Timestamp::from_secs(1_800_000_000);
    let pem = match form % 2 {
        0 => format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            data_encoding::BASE64.encode(bytes)
        ),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let Ok(found) = judged(Path::new("site.pem"), pem.as_bytes(), now) else { return };
    assert!(!found.chain.is_empty() && found.not_after >= now);
    assert!(found.names.iter().all(|name| !name.bytes().any(|b| b.is_ascii_uppercase())));
    let files = CertificateFiles { certificate: "site.pem".into(), key: "site.key".into(), ocsp: None };
    if let Ok(key) = certified(found.chain.clone(), &files, pem.as_bytes()) {
        assert_eq!(key.cert, found.chain);
    }
}
