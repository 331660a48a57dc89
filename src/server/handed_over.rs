//! Sockets that the service manager opened and handed over (sd_listen_fds(3)): they stay open while the gateway restarts, and ports
//! below 1024 need no privilege.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::server::ListenAddress;
use crate::server::listener::ListenSocket;

/// What was handed over; each socket can be taken once.
#[derive(Default)]
pub(super) struct HandedOver(Option<Sockets>);

struct Sockets {
    sockets: ListenFd,
    names: Vec<String>,
}

impl HandedOver {
    /// The socket of this name, or at this place from 0. Where it listens is asked of the socket.
    pub(super) fn take(&mut self, name: &str) -> io::Result<(ListenAddress, ListenSocket)> {
        let Sockets { sockets, names } = self.0.get_or_insert_with(|| {
            // Before the sockets: taking them clears the environment of what it said of them.
            let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
            let names = names.split(':').map(str::to_owned).collect();
            Sockets { sockets: ListenFd::from_env(), names }
        });
        let place = match names.iter().position(|known| known == name) {
            Some(place) => place,
            None => name.parse().map_err(|_| missing("no socket of this name was handed over"))?,
        };
        if place >= sockets.len() {
            return Err(missing("no such socket was handed over"));
        }
        if let Ok(taken) = sockets.take_tcp_listener(place) {
            return tcp(taken.ok_or_else(|| missing("this socket is listened on twice"))?);
        }
        let taken = sockets.take_unix_listener(place)?;
        unix(taken.ok_or_else(|| missing("this socket is listened on twice"))?)
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

fn tcp(socket: TcpListener) -> io::Result<(ListenAddress, ListenSocket)> {
    socket.set_nonblocking(true)?;
    Ok((ListenAddress::Tcp(socket.local_addr()?), ListenSocket::Tcp(socket)))
}

fn unix(socket: UnixListener) -> io::Result<(ListenAddress, ListenSocket)> {
    socket.set_nonblocking(true)?;
    let path = socket.local_addr()?.as_pathname().unwrap_or("abstract".as_ref()).to_owned();
    Ok((ListenAddress::Unix(path), ListenSocket::Unix(socket)))
}
