//! Opens a connection to an upstream and starts its driver.

use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use crate::proxy::address::{Place, UpstreamAddress};
use crate::proxy::body::RequestBody;

/// Why no connection came about.
#[derive(Debug)]
pub(super) enum ConnectError {
    Io(io::Error),
    Timeout,
}

/// Largest response head, and most bytes of a response body held per connection: bounds memory when a client reads slowly.
const MAX_BUFFER: usize = 64 * 1024;

/// Connects within `limit`. The name is looked up anew each time; its addresses are tried in order.
pub(super) async fn connect(
    address: &UpstreamAddress,
    limit: Duration,
) -> Result<SendRequest<RequestBody>, ConnectError> {
    let Place::Tcp { host, port } = &address.place else {
        return Err(ConnectError::Io(io::ErrorKind::Unsupported.into()));
    };
    let stream = match tokio::time::timeout(limit, open(host, *port)).await {
        Ok(opened) => opened.map_err(ConnectError::Io)?,
        Err(_) => return Err(ConnectError::Timeout),
    };
    stream.set_nodelay(true).map_err(ConnectError::Io)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| ConnectError::Io(io::Error::other(e)))?;
    // Owned by the connection itself: it ends when the upstream closes, when its `SendRequest` and bodies are dropped, or with
    // a 101, when the stream goes to whoever asked for it.
    tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}
