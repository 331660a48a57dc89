//! Text forms of addresses: where a listener listens, where an upstream is, what a host is called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::proxy::{Place, Scheme, UpstreamAddress};
use crate::server::ListenAddress;

/// A listener: `127.0.0.1:8080`, `[::1]:8080`, `systemd:name`, or `unix:path`, the path relative to `base`.
pub(super) fn listen_address(text: &str, base: &Path) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = base.join(path);
        // sun_path has 108 bytes with its closing zero (unix(7)).
        return match path.as_os_str().len() {
            _ if text.len() == "unix:".len() => Err("the path of the unix socket is empty".into()),
            108.. => Err("the path of the unix socket is longer than 107 bytes".into()),
            _ => Ok(ListenAddress::Unix(path)),
        };
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        // What systemd.socket(5) takes as a name; a number is a place.
        let plain = |b: u8| b.is_ascii_graphic() && b != b':';
        return match name.len() {
            1..=255 if name.bytes().all(plain) => Ok(ListenAddress::Systemd(name.to_owned())),
            _ => Err(format!("{name:?} is not the name of a socket of systemd")),
        };
    }
    text.parse::<SocketAddr>()
        .map(ListenAddress::Tcp)
        .map_err(|_| format!("{text:?} is not a listen address"))
}

/// An upstream as `protect` takes it: `3000`, `localhost:3000`, or as in a file, its path relative to the working folder.
///
/// # Errors
/// A sentence that says what is wrong with `text`.
pub fn upstream_address(text: &str) -> Result<UpstreamAddress, String> {
    if text.contains("://") || text.starts_with("unix:") {
        let here =
            std::path::absolute(".").map_err(|error| format!("there is no working folder: {error}"))?;
        return upstream_url(text, &here);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(UpstreamAddress::http("127.0.0.1", port)),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => {
            Err(format!("{text:?} is not a port from 1 to 65535"))
        }
        _ => upstream_url(&format!("http://{text}"), Path::new(".")),
    }
}

/// An upstream as the file has it: `http://host[:port]`, `https://…`, `h2c://…`, nothing behind it but one slash; or `unix:path`,
/// the path relative to `base`.
pub(super) fn upstream_url(text: &str, base: &Path) -> Result<UpstreamAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let whole = base.join(path);
        return match whole.as_os_str().len() {
            _ if path.is_empty() => Err("the path of the unix socket is empty".into()),
            108.. => Err("the path of the unix socket is longer than 107 bytes".into()),
            _ => Ok(UpstreamAddress { scheme: Scheme::Http, place: Place::Unix(whole) }),
        };
    }
    let (scheme, usual_port, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, 80, rest),
        Some(("https", rest)) => (Scheme::Https, 443, rest),
        Some(("h2c", rest)) => (Scheme::H2c, 80, rest),
        Some((other, _)) => return Err(format!("{other:?} is no scheme of an upstream: http, https or h2c")),
        None => return Err("an upstream is written http://host:port, https://…, h2c://… or unix:path".into()),
    };
    if rest.contains('@') {
        return Err("an upstream address carries no user name or password".into());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("an upstream address has no path: the path of the request is passed on as it is".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => {
            let port = port.parse::<u16>().ok().filter(|p| *p > 0 && !port.starts_with('+'));
            (host, port.ok_or("the port is not a number from 1 to 65535")?)
        }
        _ => (authority, usual_port),
    };
    let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
        None if is_host(host) => host,
        _ => return Err(format!("{host:?} is not a host name or address")),
    };
    Ok(UpstreamAddress { scheme, place: Place::Tcp { host: host.to_ascii_lowercase().into(), port } })
}

/// Whether `text` is a DNS name of ASCII labels or an IPv4 address (RFC 1123 section 2.1, `_` allowed as in practice).
pub(super) fn is_host(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let numeric =
        text.rsplit('.').next().is_some_and(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

/// Whether `ip` can be reached over the open internet, so that plain HTTP to it can be read on the way.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(v4.into()),
            None => {
                !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local())
            }
        },
    }
}

/// Whether `a` and `b` cannot both be bound.
pub(super) fn clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => {
            let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            let family = a.is_ipv4() == b.is_ipv4();
            a.port() != 0 && a.port() == b.port() && same && family
        }
        (a, b) => a == b,
    }
}
