//! The PROXY header (versions 1 and 2) that a proxy in front writes before the client's own bytes, read without a byte too many.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What the first twelve bytes of a version 2 header are; a version 1 header is longer than that, too.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, a command, a family and a length.
const FIXED: usize = 16;
/// The most that may follow: two addresses of unix sockets, and room for what else proxies like to tell.
const LARGEST_REST: usize = 4096;
/// The longest line of version 1, with its end.
const LARGEST_LINE: usize = 107;

/// Reads the header that `bytes` begin with: the client's address as [`read_header`] has it, and the header's length.
///
/// # Errors
/// As [`read_header`].
pub fn parse(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, usize)> {
    let mut rest = bytes;
    let read = pin!(read_header(&mut rest)).poll(&mut Context::from_waker(Waker::noop()));
    match read {
        Poll::Ready(address) => Ok((address?, bytes.len() - rest.len())),
        // Bytes in memory are never waited for.
        Poll::Pending => Err(refused()),
    }
}

/// Reads the header off `stream`: the client's address, or `None` when the proxy speaks for itself, as for a health check.
///
/// # Errors
/// When there is no header, or none that can be understood. The stream is of no use then.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() >= LARGEST_LINE {
                return Err(refused());
            }
            // Two at a time at most: what follows the line is no part of it.
            let more = if header.ends_with(b"\r") { 1 } else { 2 };
            take(stream, &mut header, more).await?;
        }
    } else if header == SIGNATURE {
        take(stream, &mut header, FIXED - SIGNATURE.len()).await?;
        let rest = match header.last_chunk() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => return Err(refused()),
        };
        if rest > LARGEST_REST {
            return Err(refused());
        }
        take(stream, &mut header, rest).await?;
    } else {
        return Err(refused());
    }
    understand(&header)
}

async fn take(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let start = into.len();
    into.resize(start + count, 0);
    stream.read_exact(into.get_mut(start..).unwrap_or_default()).await.map(drop)
}

fn understand(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, used)) if used == header.len() => match parsed.proxied_address() {
            Some(address) if address.protocol == Protocol::Stream => Ok(Some(canonical(address.source))),
            Some(_) => Err(refused()),
            None => Ok(None),
        },
        _ => Err(refused()),
    }
}

/// An IPv4 client is one, however its address is written.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "there is no valid PROXY header")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let (address, used) = parse(bytes)?;
        Ok((address, bytes[used..].to_vec()))
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn both_versions_name_the_client_and_leave_what_follows() {
        let v1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\nGET /".to_vec();
        let mut v2 = version_2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 187]);
        v2.extend(b"GET /");
        for bytes in [v1, v2] {
            let (address, rest) = read(&bytes).unwrap();
            assert_eq!(address, Some("192.0.2.7:56324".parse().unwrap()));
            assert_eq!(rest, b"GET /");
        }
        let six = b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n";
        assert_eq!(read(six).unwrap().0, Some("[2001:db8::7]:1".parse().unwrap()));
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n";
        assert_eq!(read(mapped).unwrap().0, Some("192.0.2.7:1".parse().unwrap()));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").unwrap().0, None);
        assert_eq!(read(&version_2(0x20, 0, &[])).unwrap().0, None);
        // With what else a proxy tells (TLVs).
        assert_eq!(read(&version_2(0x20, 0, &[4, 0, 1, 0])).unwrap().0, None);
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(100));
        let datagram = version_2(0x21, 0x12, &[192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 187]);
        let large = {
            let mut header = version_2(0x21, 0x11, &[]);
            header.truncate(14);
            header.extend([0xff, 0xff]);
            header
        };
        let cases: [&[u8]; 11] = [
            b"",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 70000\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324",
            long.as_bytes(),
            &datagram,
            &large,
            &version_2(0x31, 0x11, &[0; 12]),
        ];
        for case in cases {
            assert!(read(case).is_err(), "{:?}", String::from_utf8_lossy(case));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_past_a_version_1_line(
            start in prop_oneof![Just(&b"PROXY "[..]), Just(&SIGNATURE[..]), Just(&b""[..])],
            bytes: Vec<u8>,
        ) {
            let whole = [start, &bytes].concat();
            if let Ok((_, rest)) = read(&whole) {
                let used = whole.len() - rest.len();
                prop_assert!(used <= LARGEST_LINE || whole.starts_with(SIGNATURE));
            }
        }
    }
}
