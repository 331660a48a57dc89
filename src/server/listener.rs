//! Listening sockets: bound once, shared by all workers.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use crate::server::handed_over::HandedOver;
use crate::server::metrics::{ConnectionCounts, ListenerCounts};
use crate::server::proxy_protocol::canonical;
use crate::server::{ListenAddress, ListenerSettings, Peer};

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// Only the owner may connect to a unix socket: whoever connects there is taken for the proxy in front. Widen it by `chmod`
/// after the start where that proxy runs as another user.
const UNIX_MODE: u32 = 0o600;

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// Which one.
    pub address: ListenAddress,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Bound sockets. Dropping them, and the workers that share them, ends the listening; a unix socket's file is left in place and
/// taken over by the next start.
#[derive(Debug)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// Where they really listen: port 0 is resolved.
    pub fn local_addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(|l| l.address.clone()).collect()
    }

    /// Their connections, for metrics.
    pub fn counts(&self) -> ConnectionCounts {
        ConnectionCounts(self.0.iter().map(|listener| Arc::clone(&listener.counts)).collect())
    }

    /// Handles of the same sockets for one more worker.
    pub(super) fn share(&self) -> io::Result<Vec<Listener>> {
        self.0.iter().map(Listener::share).collect()
    }
}

/// Binds all `listeners`.
///
/// # Errors
/// With the first address that cannot be bound; those bound before are released.
pub fn bind(listeners: &[ListenerSettings]) -> Result<Listeners, BindError> {
    let mut handed_over = HandedOver::default();
    let bound = listeners.iter().map(|settings| {
        let opened = match &settings.address {
            ListenAddress::Tcp(socket) => bind_tcp(*socket, takes_both(*socket, listeners)),
            ListenAddress::Unix(path) => bind_unix(path),
            ListenAddress::Systemd(name) => handed_over.take(name),
        };
        match opened {
            Ok((address, socket)) => {
                let counts = ListenerCounts::new(address.to_string());
                Ok(Listener { address, socket, role: Role::of(settings), counts })
            }
            Err(source) => Err(BindError { address: settings.address.clone(), source }),
        }
    });
    bound.collect::<Result<_, _>>().map(Listeners)
}

/// What a listener does besides plain HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) tls: bool,
    pub(super) proxy_protocol: bool,
    pub(super) h2c: bool,
    pub(super) to_https: Option<u16>,
}

impl Role {
    fn of(settings: &ListenerSettings) -> Self {
        let ListenerSettings { address: _, tls, proxy_protocol, h2c, to_https } = settings;
        Self { tls: *tls, proxy_protocol: *proxy_protocol, h2c: *h2c, to_https: *to_https }
    }

    /// Whether a connection begins with a request of HTTP/1.
    pub(super) fn is_plain(self) -> bool {
        !(self.tls || self.proxy_protocol || self.h2c)
    }
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    address: ListenAddress,
    pub(super) socket: ListenSocket,
    pub(super) role: Role,
    pub(super) counts: Arc<ListenerCounts>,
}

#[derive(Debug)]
pub(super) enum ListenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection, non-blocking.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream, Peer),
    Unix(UnixStream, Peer),
}

impl Listener {
    fn share(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            ListenSocket::Tcp(tcp) => ListenSocket::Tcp(tcp.try_clone()?),
            ListenSocket::Unix(unix) => ListenSocket::Unix(unix.try_clone()?),
        };
        Ok(Self { address: self.address.clone(), socket, role: self.role, counts: Arc::clone(&self.counts) })
    }
}

impl ListenSocket {
    /// Takes one waiting connection, or fails with `WouldBlock`.
    pub(super) fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(tcp) => {
                let (stream, address) = tcp.accept()?;
                stream.set_nonblocking(true)?;
                // Once per connection, never per request.
                stream.set_nodelay(true)?;
                bound_unsent(&stream);
                Ok(Accepted::Tcp(stream, Peer::at(Some(canonical(address)))))
            }
            Self::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::Unix(stream, Peer::at(None)))
            }
        }
    }
}

impl AsRawFd for ListenSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

/// What the system takes of us and has not sent, of one connection, in bytes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// Left alone the system takes megabytes for a client that takes nothing, and all of that is asked of the upstream, encrypted and copied
/// first. What is sent and not acknowledged comes on top, so that a long way to the client makes nothing slower.
fn bound_unsent(stream: &TcpStream) {
    // A system that knows no such bound does without.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Whether a listener on `[::]` takes IPv4 as well: unless the same port has an IPv4 listener of its own. Said to the system either
/// way, because its default differs between machines.
fn takes_both(address: SocketAddr, all: &[ListenerSettings]) -> bool {
    let port = address.port();
    let other = |l: &ListenerSettings| matches!(l.address, ListenAddress::Tcp(v4) if v4.is_ipv4() && v4.port() == port);
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && (port == 0 || !all.iter().any(other))
}

fn bind_tcp(address: SocketAddr, both: bool) -> io::Result<(ListenAddress, ListenSocket)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart bind while old connections are in TIME_WAIT; it does not let two programs listen at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let tcp = TcpListener::from(socket);
    Ok((ListenAddress::Tcp(tcp.local_addr()?), ListenSocket::Tcp(tcp)))
}

fn bind_unix(path: &Path) -> io::Result<(ListenAddress, ListenSocket)> {
    let unix = bind_unix_socket(path)?;
    Ok((ListenAddress::Unix(path.into()), ListenSocket::Unix(unix)))
}

/// Binds a unix socket that only the owner may connect to, non-blocking. A socket file that nobody answers on is a leftover and
/// is replaced; a live one, or any other file, is left alone.
///
/// # Errors
/// When something is in the way, or the system refuses.
pub fn bind_unix_socket(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"));
        }
        fs::remove_file(path)?;
    }
    let unix = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(UNIX_MODE))?;
    unix.set_nonblocking(true)?;
    Ok(unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_unix_socket_is_replaced_and_a_live_one_or_a_plain_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = [ListenerSettings::plain(ListenAddress::Unix(path.clone()))];
        let first = bind(&address).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind(&address).is_err());
        drop(first);
        drop(bind(&address).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(bind(&address).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_taken_address_is_a_clear_error() {
        let taken =
            bind(&[ListenerSettings::plain(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()))]).unwrap();
        let again: Vec<_> = taken.local_addresses().into_iter().map(ListenerSettings::plain).collect();
        let error = bind(&again).unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on 127.0.0.1:"), "{error}");
    }
}
