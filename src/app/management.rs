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
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let ended = match self {
            Self::Tcp(listener) => match TcpListener::from_std(listener) {
                Ok(listener) => loop {
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    match listener.accept().await {
                        Ok((stream, _)) => serve_one(management.clone(), stream, place),
                        Err(error) => pause_after(&error).await,
                    }
                },
                Err(error) => error,
            },
            Self::Unix(listener) => match UnixListener::from_std(listener) {
                Ok(listener) => loop {
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    match listener.accept().await {
                        Ok((stream, _)) => serve_one(management.clone(), stream, place),
                        Err(error) => pause_after(&error).await,
                    }
                },
                Err(error) => error,
            },
        };
        tracing::error!(error = %ended, "the management listener ended");
    }
}

fn serve_one<S>(management: Management, stream: S, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    tokio::task::spawn_local(for_its_time(management.serve(stream), place));
}

/// Cut at the end of its time: a scraper opens another.
async fn for_its_time(connection: impl Future<Output = ()>, place: OwnedSemaphorePermit) {
    let _ = tokio::time::timeout(LONGEST_CONNECTION, connection).await;
    drop(place);
}

/// Out of file descriptors or the like: wait instead of spinning (X21).
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a management connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
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
