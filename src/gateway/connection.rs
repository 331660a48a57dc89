//! What one client connection alone says: worked out when it is accepted, and again when a reload has changed the proxies.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

use crate::gateway::Gateway;
use crate::gateway::recall::Recall;
use crate::gateway::request_id::RequestId;
use crate::server::Peer;
use crate::server::tls::ClientCertificate;
use crate::web::forwarded::{ClientView, ConnectionValues};

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    certificate_names: Box<[Box<str>]>,
    judged: RefCell<Judged>,
    /// What it remembers of its last cookie.
    pub recall: Recall,
}

/// The values, and the very list of proxies they were made with.
#[derive(Debug)]
struct Judged {
    trusted_proxies: Arc<[IpNet]>,
    values: ConnectionValues,
}

impl Connection {
    /// A connection from `peer`.
    pub fn new(peer: &Peer, gateway: &Gateway) -> Self {
        Self {
            peer: peer.clone(),
            certificate_names: peer.certificate.as_deref().map(names_of).unwrap_or_default(),
            judged: RefCell::new(Judged::new(peer, gateway)),
            recall: Recall::default(),
        }
    }

    /// The port that every request is sent on to by https, on a listener that does nothing else.
    pub fn to_https(&self) -> Option<u16> {
        self.peer.to_https
    }

    /// What the client's certificate is issued to, and its fingerprint as `sha256:…`; empty without one.
    pub fn certificate_names(&self) -> &[Box<str>] {
        &self.certificate_names
    }

    /// Who sent a request with these `headers`. Call it before [`Connection::set_forwarded`] for the same request.
    pub fn client(&self, gateway: &Gateway, headers: &HeaderMap) -> ClientView {
        let mut judged = self.judged.borrow_mut();
        // A snapshot keeps its list for life, so another list means another snapshot.
        if !Arc::ptr_eq(&judged.trusted_proxies, &gateway.trusted_proxies) {
            *judged = Judged::new(&self.peer, gateway);
        }
        judged.values.client(headers, &gateway.trusted_proxies)
    }

    /// The id of a request with these `headers`: what a trusted proxy calls it, or else `fresh`.
    pub fn name(&self, fresh: RequestId, headers: &HeaderMap) -> RequestId {
        if self.judged.borrow().values.is_trusted() { fresh.or_given(headers) } else { fresh }
    }

    /// Tells the upstream who the client is.
    pub fn set_forwarded(&self, client: &ClientView, headers: &mut HeaderMap) {
        self.judged.borrow().values.set_forwarded(headers, client);
    }
}

/// A name that looks like a fingerprint is none.
fn names_of(certificate: &ClientCertificate) -> Box<[Box<str>]> {
    let names = certificate.common_name.iter().chain(&certificate.alternative_names);
    let names = names.filter(|name| !name.starts_with("sha256:")).map(|name| Box::from(name.as_str()));
    names.chain([format!("sha256:{}", certificate.fingerprint).into()]).collect()
}

impl Judged {
    fn new(peer: &Peer, gateway: &Gateway) -> Self {
        let trusted_proxies = Arc::clone(&gateway.trusted_proxies);
        // The address of a proxy vouches for the proxy's own fields, not for those of whoever it relays.
        let believed: &[IpNet] = if peer.unnamed { &[] } else { &trusted_proxies };
        let values = ConnectionValues::new(peer.address, peer.secure, believed);
        Self { trusted_proxies, values }
    }
}
