//! Listening sockets: bound once, shared by all workers.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use crate::server::{ListenAddress, Peer};

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

    /// Handles of the same sockets for one more worker.
    pub(super) fn share(&self) -> io::Result<Vec<Listener>> {
        self.0.iter().map(Listener::share).collect()
    }
}

/// Binds all `addresses`.
///
/// # Errors
/// With the first address that cannot be bound; those bound before are released.
pub fn bind(addresses: &[ListenAddress]) -> Result<Listeners, BindError> {
    let bound = addresses.iter().map(|address| {
        let opened = match address {
            ListenAddress::Tcp(socket) => bind_tcp(*socket),
            ListenAddress::Unix(path) => bind_unix(path),
        };
        opened.map_err(|source| BindError { address: address.clone(), source })
    });
    bound.collect::<Result<_, _>>().map(Listeners)
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    address: ListenAddress,
    pub(super) socket: ListenSocket,
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
        Ok(Self { address: self.address.clone(), socket })
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
                Ok(Accepted::Tcp(stream, Peer { address: Some(address), secure: false }))
            }
            Self::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::Unix(stream, Peer { address: None, secure: false }))
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

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart bind while old connections are in TIME_WAIT; it does not let two programs listen at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let tcp = TcpListener::from(socket);
    Ok(Listener { address: ListenAddress::Tcp(tcp.local_addr()?), socket: ListenSocket::Tcp(tcp) })
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let unix = bind_unix_socket(path)?;
    Ok(Listener { address: ListenAddress::Unix(path.into()), socket: ListenSocket::Unix(unix) })
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
        let address = [ListenAddress::Unix(path.clone())];
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
        let taken = bind(&[ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())]).unwrap();
        let error = bind(&taken.local_addresses()).unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on 127.0.0.1:"), "{error}");
    }
}
