//! The management listener's socket: few connections at a time, each for a bounded time, so that nobody who can reach it can make
//! the control thread hold more than that.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AppError;
use crate::gateway::management::Management;
use crate::server::{self, ListenAddress};

/// More wait in the listener's queue.
const MOST_CONNECTIONS: usize = 32;
/// A connection's whole life, whatever its client does or leaves undone.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// How long to wait when the system has no descriptor for one more.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The bound management listener.
pub(super) enum ManagementListener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl ManagementListener {
    pub(super) fn bind(address: &ListenAddress) -> Result<Self, AppError> {
        let bound = match address {
            ListenAddress::Tcp(at) => std::net::TcpListener::bind(at)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| Self::Tcp(listener))),
            ListenAddress::Unix(path) => server::bind_unix_socket(path).map(Self::Unix),
            // The configuration refuses this.
            ListenAddress::Systemd(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        bound.map_err(|cause| AppError::Management { address: address.clone(), cause })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Answers by `management` for ever.
    pub(super) async fn serve(self, management: Management) {
        let ended = match self {
            Self::Tcp(listener) => match TcpListener::from_std(listener) {
                Ok(listener) => accept_all(&management, async || Ok(listener.accept().await?.0)).await,
                Err(error) => error,
            },
            Self::Unix(listener) => match UnixListener::from_std(listener) {
                Ok(listener) => accept_all(&management, async || Ok(listener.accept().await?.0)).await,
                Err(error) => error,
            },
        };
        tracing::error!(error = %ended, "the management listener ended");
    }
}

/// Serves whatever `accept` gives, for ever.
async fn accept_all<S>(management: &Management, mut accept: impl AsyncFnMut() -> io::Result<S>) -> io::Error
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut failing = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return io::ErrorKind::NotConnected.into();
        };
        match accept().await {
            Ok(stream) => {
                failing = false;
                tokio::task::spawn_local(for_its_time(management.clone().serve(stream), place));
            }
            // Out of file descriptors or the like: wait instead of spinning, and say so once (X21).
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept management connections; trying again every 100 ms");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Cut at the end of its time: a scraper opens another.
async fn for_its_time(connection: impl Future<Output = ()>, place: OwnedSemaphorePermit) {
    let _ = tokio::time::timeout(LONGEST_CONNECTION, connection).await;
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_ends_gives_its_place_back_after_a_minute() {
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().acquire_owned().await.unwrap();
        let task = tokio::spawn(for_its_time(std::future::pending(), place));
        assert_eq!(places.available_permits(), 0);
        task.await.unwrap();
        assert_eq!(places.available_permits(), 1);
    }
}
