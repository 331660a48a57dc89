//! Who the client is, behind proxies we trust, and what the upstream is told of it (P15; RFC 7239 and its X- predecessors).
//!
//! Chains are read right to left: every proxy appended the address it saw, so the rightmost entry is the peer's word, and an
//! entry counts only while all to its right are trusted. An entry that is no address ends the reading, and the last address
//! known stands. A peer that is not trusted has no word at all.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::web::fields::remove_all;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The part of the path that proxies have taken off.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields by which an untrusted peer could tell an upstream another address, scheme or host than the ones that were judged, those
/// that we set ourselves included: all of a family that proxies write, and its kin that apps and frameworks believe.
pub(super) fn is_misleading(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "client-ip"
                | "forwarded"
                | "front-end-https"
                | "true-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-http-host-override"
                | "x-original-host"
                | "x-real-ip"
                | "x-url-scheme"
        )
        || names_a_target(name)
}

/// Fields that some apps take for the target or the method in place of the request's own, which were judged: nobody has a word
/// there, because proxies pass them on as clients send them.
fn names_a_target(name: &str) -> bool {
    matches!(
        name,
        "script-name"
            | "x-forwarded-method"
            | "x-forwarded-uri"
            | "x-original-method"
            | "x-original-uri"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-script-name"
    )
}

/// The client as the gateway sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// The nearest address that is no trusted proxy; `None` on a unix socket when the forwarding fields name nobody.
    pub address: Option<IpAddr>,
    /// Whether the client spoke TLS, to us or to the trusted proxy in front.
    pub secure: bool,
}

/// What a connection alone says: made once per connection, used by all its requests.
#[derive(Clone, Debug)]
pub struct ConnectionValues {
    direct: ClientView,
    trusted: bool,
    address: Option<HeaderValue>,
    /// What a trusted peer's `Forwarded` is continued with.
    element: Option<HeaderValue>,
}

impl ConnectionValues {
    /// Of a connection from `peer`, which is `secure` when TLS ends here. The other end of a unix socket (`None`) has no address
    /// to compare: it is trusted when `trusted_proxies` names anyone, because only a proxy in front can be there.
    pub fn new(peer: Option<SocketAddr>, secure: bool, trusted_proxies: &[IpNet]) -> Self {
        let peer = peer.map(|p| p.ip().to_canonical());
        let trusted = peer.map_or(!trusted_proxies.is_empty(), |ip| is_trusted(ip, trusted_proxies));
        Self {
            direct: ClientView { address: peer, secure },
            trusted,
            address: peer.and_then(address_value),
            element: trusted.then(|| element(peer)).flatten(),
        }
    }

    /// Whether the peer is a trusted proxy.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The client of a request with these `headers`.
    pub fn client(&self, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> ClientView {
        if !self.trusted {
            return self.direct;
        }
        ClientView {
            address: client_address(headers, trusted_proxies).or(self.direct.address),
            secure: client_secure(headers).unwrap_or(self.direct.secure),
        }
    }

    /// Sets `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP` for the upstream. From an untrusted peer everything sent
    /// under these and similar names is overwritten or dropped. From a trusted one `X-Forwarded-For` is appended to, and so is a
    /// `Forwarded` that it sent; a host, port and prefix that it names are kept. Call it after the hop-by-hop fields are stripped.
    pub fn set_forwarded(&self, headers: &mut HeaderMap, client: &ClientView) {
        let is_doomed = if self.trusted { names_a_target } else { is_misleading };
        remove_all(headers, |name| is_doomed(name.as_str()));
        if self.trusted {
            self.append_address(headers, client);
            if let (true, Some(element)) = (headers.contains_key(FORWARDED), &self.element) {
                headers.append(FORWARDED, element.clone());
            }
            keep_one(headers, &X_FORWARDED_PREFIX);
            keep_one(headers, &X_FORWARDED_HOST);
            keep_one(headers, &X_FORWARDED_PORT);
        } else if let Some(address) = &self.address {
            headers.insert(X_FORWARDED_FOR, address.clone());
        }
        let real = if client.address == self.direct.address {
            self.address.clone()
        } else {
            client.address.and_then(address_value)
        };
        set_or_remove(headers, X_REAL_IP, real);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme(client.secure)));
        self.fill_host_and_port(headers, client);
    }

    fn append_address(&self, headers: &mut HeaderMap, client: &ClientView) {
        let Some(address) = &self.address else { return };
        let mut chain = Vec::new();
        if !headers.contains_key(X_FORWARDED_FOR) {
            // The client may stand in `Forwarded` alone.
            let known = client.address.filter(|known| Some(*known) != self.direct.address);
            let Some(known) = known.and_then(address_value) else {
                headers.insert(X_FORWARDED_FOR, address.clone());
                return;
            };
            headers.insert(X_FORWARDED_FOR, known);
        }
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(address.as_bytes());
        // Parts of header values joined by visible ASCII are a header value.
        set_or_remove(headers, X_FORWARDED_FOR, HeaderValue::from_bytes(&chain).ok());
    }

    fn fill_host_and_port(&self, headers: &mut HeaderMap, client: &ClientView) {
        let host = headers.get(HOST).cloned();
        // Of an untrusted peer neither is left to look at.
        let (named, has_port) = match self.trusted {
            true => (headers.get(X_FORWARDED_HOST).cloned(), headers.contains_key(X_FORWARDED_PORT)),
            false => (None, false),
        };
        if !has_port {
            let port = named.as_ref().or(host.as_ref()).and_then(port_of);
            let usual = HeaderValue::from_static(if client.secure { "443" } else { "80" });
            headers.insert(X_FORWARDED_PORT, port.unwrap_or(usual));
        }
        if let (None, Some(host)) = (named, host) {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// The rightmost address of a chain that is no trusted proxy; of two chains that of `X-Forwarded-For`, which nearly all proxies
/// write. When all are trusted, the leftmost.
pub fn client_address(headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    if headers.contains_key(X_FORWARDED_FOR) {
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        nearest_untrusted(
            lines.flat_map(|l| split_list(l.as_bytes()).rev()).map(node_address),
            trusted_proxies,
        )
    } else {
        let lines = headers.get_all(FORWARDED).iter().rev();
        let elements = lines.flat_map(|l| split_list(l.as_bytes()).rev());
        nearest_untrusted(elements.map(|e| parameter(e, b"for").and_then(node_address)), trusted_proxies)
    }
}

/// What the nearest proxy says of the scheme; `None` when it says nothing that can be understood.
fn client_secure(headers: &HeaderMap) -> Option<bool> {
    let nearest = |name: &HeaderName| headers.get_all(name).iter().next_back().map(HeaderValue::as_bytes);
    let named = match nearest(&X_FORWARDED_PROTO) {
        Some(line) => split_list(line).next_back(),
        None => {
            nearest(&FORWARDED).and_then(|l| split_list(l).next_back()).and_then(|e| parameter(e, b"proto"))
        }
    }?;
    if named.eq_ignore_ascii_case(b"https") {
        Some(true)
    } else if named.eq_ignore_ascii_case(b"http") {
        Some(false)
    } else {
        None
    }
}

fn nearest_untrusted(
    chain: impl Iterator<Item = Option<IpAddr>>,
    trusted_proxies: &[IpNet],
) -> Option<IpAddr> {
    let mut known = None;
    for entry in chain {
        let Some(address) = entry else { return known };
        known = Some(address);
        if !is_trusted(address, trusted_proxies) {
            return known;
        }
    }
    known
}

/// The elements of a comma-separated list, trimmed. A quoted comma splits too; both halves are then no address.
fn split_list(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// The value of `name` in one element of `Forwarded`, without quotes (RFC 7239 section 4). `None` when it stands there twice.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = element.split(|b| *b == b';').filter_map(|pair| {
        let (key, value) = pair.trim_ascii().split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    });
    let value = found.next().filter(|_| found.next().is_none())?;
    match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").filter(|v| !v.contains(&b'"') && !v.contains(&b'\\')),
        None => Some(value),
    }
}

/// The address of a chain entry: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
/// An IPv4 address mapped into IPv6 counts as the IPv4 address.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = if let Some(inner) = bracketed {
        IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?)
    } else {
        text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|s| s.ip())).ok()?
    };
    Some(address.to_canonical())
}

fn is_trusted(address: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    trusted_proxies.iter().any(|net| net.contains(&address))
}

/// One element of `Forwarded` that names `peer` (RFC 7239 section 6): an IPv6 address in brackets and quotes.
fn element(peer: Option<IpAddr>) -> Option<HeaderValue> {
    let text = match peer {
        Some(IpAddr::V4(v4)) => format!("for={v4}"),
        Some(IpAddr::V6(v6)) => format!("for=\"[{v6}]\""),
        None => "for=unknown".to_owned(),
    };
    HeaderValue::from_str(&text).ok()
}

fn address_value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::from_str(&address.to_string()).ok()
}

/// The port in a host value, if it names one.
fn port_of(host: &HeaderValue) -> Option<HeaderValue> {
    let bytes = host.as_bytes();
    let colon = bytes.iter().rposition(|b| *b == b':')?;
    let port = bytes.get(colon + 1..).filter(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit))?;
    HeaderValue::from_bytes(port).ok()
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// Several lines of a field that has one value are ambiguous: none is kept.
fn keep_one(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.get_all(name).iter().nth(1).is_some() {
        headers.remove(name);
    }
}

fn set_or_remove(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

#[cfg(test)]
mod tests;
