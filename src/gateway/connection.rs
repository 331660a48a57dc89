//! What one client connection alone says, worked out once when it is accepted.

use http::HeaderMap;

use crate::gateway::Gateway;
use crate::gateway::recall::Recall;
use crate::server::Peer;
use crate::web::forwarded::{ClientView, ConnectionValues};

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    values: ConnectionValues,
    /// What it remembers of its last cookie.
    pub recall: Recall,
}

impl Connection {
    /// A connection from `peer`.
    pub fn new(peer: &Peer, gateway: &Gateway) -> Self {
        Self {
            values: ConnectionValues::new(peer.address, peer.secure, &gateway.trusted_proxies),
            recall: Recall::default(),
        }
    }

    /// Who sent a request with these `headers`.
    pub fn client(&self, gateway: &Gateway, headers: &HeaderMap) -> ClientView {
        self.values.client(headers, &gateway.trusted_proxies)
    }

    /// Tells the upstream who the client is.
    pub fn set_forwarded(&self, client: &ClientView, headers: &mut HeaderMap) {
        self.values.set_forwarded(headers, client);
    }
}
