//! Where an upstream listens, and which protocol it speaks there.

use std::fmt;
use std::path::PathBuf;

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where.
    pub place: Place,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    Http,
    /// TLS; ALPN chooses between HTTP/2 and HTTP/1.1.
    Https,
    /// HTTP/2 in clear text with prior knowledge (RFC 9113 section 3.3).
    H2c,
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// TCP.
    Tcp {
        /// DNS name or address literal, without brackets.
        host: Box<str>,
        /// TCP port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// `http://host:port`; a `host` that is an IPv6 address has no brackets.
    pub fn http(host: impl Into<Box<str>>, port: u16) -> Self {
        Self { scheme: Scheme::Http, place: Place::Tcp { host: host.into(), port } }
    }

    /// The address as a Host field says it: without the scheme's usual port; `localhost` for a path.
    pub fn authority(&self) -> String {
        let usual = if self.scheme == Scheme::Https { 443 } else { 80 };
        match &self.place {
            Place::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
                if *port == usual { host } else { format!("{host}:{port}") }
            }
            Place::Unix(_) => "localhost".into(),
        }
    }

    /// The DNS name that stands for its addresses; `None` for an address literal or a path.
    pub fn dns_name(&self) -> Option<(&str, u16)> {
        match &self.place {
            Place::Tcp { host, port } if host.parse::<std::net::IpAddr>().is_err() => Some((host, *port)),
            _ => None,
        }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
        };
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
