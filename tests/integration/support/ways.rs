//! The same request by every way that leads in: HTTP/1.1, HTTP/1.1 over TLS, HTTP/2. Nothing in it is put right on the way: over
//! HTTP/2 it goes in frames made by hand.
//!
//! ```ignore
//! let doors = Doors::of(Setup::protecting(&upstream));
//! for way in Way::ALL {
//!     assert_eq!(doors.ask(way, &Ask::get("/a/../b")), Some(400));
//! }
//! ```

use std::net::TcpStream;
use std::time::Duration;

use super::PATIENCE;
use super::frames::{Frames, RawField, field};
use super::gateway::{Setup, TestGateway};
use super::tls::{Authority, TlsClient};
use super::wire::{Stream, Wire};

/// A cookie by one name on all listeners.
const COOKIE: &str = "[session.cookie]\nname = \"my-fluidgate\"\nsecure = false\n";
/// What the certificate is for, and the host of a request that names none.
pub const HOST: &str = "wiki.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Http1,
    Http1Tls,
    Http2,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http1Tls, Self::Http2];
}

/// A gateway with a plain listener and one of TLS.
pub struct Doors {
    pub gateway: TestGateway,
    client: TlsClient,
}

/// A request, byte for byte.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub target: Vec<u8>,
    /// Each a `Host` line; over HTTP/2 the first is the authority.
    pub hosts: Vec<Vec<u8>>,
    pub fields: Vec<RawField>,
    pub body: Option<Vec<u8>>,
    pub trailers: Vec<RawField>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Ask {
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.into(),
            target: target.as_ref().to_vec(),
            hosts: vec![HOST.into()],
            fields: Vec::new(),
            body: None,
            trailers: Vec::new(),
        }
    }

    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    pub fn hosts<T: AsRef<[u8]>>(mut self, hosts: &[T]) -> Self {
        self.hosts = hosts.iter().map(|host| host.as_ref().to_vec()).collect();
        self
    }

    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// A body without a length, with these fields behind it.
    pub fn body(mut self, body: &str, trailers: &[(&str, &str)]) -> Self {
        self.body = Some(body.into());
        self.trailers = trailers.iter().map(|(name, value)| field(name, value)).collect();
        self
    }

    /// The message of HTTP/1.1.
    pub fn text(&self) -> Vec<u8> {
        let mut text = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        let mut line = |name: &[u8], value: &[u8]| {
            text.extend([name, b": ", value, b"\r\n"].concat());
        };
        for host in &self.hosts {
            line(b"Host", host);
        }
        for (name, value) in &self.fields {
            line(name, value);
        }
        if self.body.is_some() {
            line(b"Transfer-Encoding", b"chunked");
        }
        text.extend(b"\r\n");
        if let Some(body) = &self.body {
            text.extend(format!("{:x}\r\n", body.len()).as_bytes());
            text.extend([body, &b"\r\n0\r\n"[..]].concat());
            for (name, value) in &self.trailers {
                text.extend([name, &b": "[..], value, b"\r\n"].concat());
            }
            text.extend(b"\r\n");
        }
        text
    }

    /// Writes it as stream 1.
    pub fn frames(&self, frames: &mut Frames) {
        let mut fields = vec![
            field(":method", &self.method),
            field(":scheme", "https"),
            (b":path".to_vec(), self.target.clone()),
        ];
        let mut hosts = self.hosts.iter();
        fields.extend(hosts.next().map(|host| (b":authority".to_vec(), host.clone())));
        fields.extend(hosts.map(|host| (b"host".to_vec(), host.clone())));
        let lower = |(name, value): &RawField| (name.to_ascii_lowercase(), value.clone());
        fields.extend(self.fields.iter().map(lower));
        frames.headers(1, &fields, self.body.is_none());
        if let Some(body) = &self.body {
            frames.data(1, body, self.trailers.is_empty());
            if !self.trailers.is_empty() {
                frames.headers(1, &self.trailers.iter().map(lower).collect::<Vec<_>>(), true);
            }
        }
    }
}

impl Doors {
    pub fn of(setup: Setup) -> Self {
        let authority = Authority::new();
        let gateway = setup.sections(COOKIE).tls(&authority, &[HOST]).start();
        Self { gateway, client: TlsClient::trusting(&authority) }
    }

    /// The cookie of a user who has signed in.
    pub fn signed_in(&self, user: &str) -> String {
        self.gateway.cookie_of(user)
    }

    /// A connection that speaks the way's protocol, which is read from for so long at most without a byte.
    pub fn stream(&self, way: Way, patience: Duration) -> Box<dyn Stream> {
        let address = if way == Way::Http1 { self.gateway.address() } else { self.gateway.tls_address() };
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        if way == Way::Http1 {
            tcp.set_read_timeout(Some(patience)).unwrap();
            return Box::new(tcp);
        }
        let protocol = if way == Way::Http2 { "h2" } else { "http/1.1" };
        let stream = self.client.clone().offering(&[protocol]).over(tcp, HOST).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(protocol.as_bytes()));
        stream.sock.set_read_timeout(Some(patience)).unwrap();
        Box::new(stream)
    }

    /// Asks on a connection of its own; `None` when that was reset or closed without an answer.
    pub fn ask(&self, way: Way, ask: &Ask) -> Option<Answer> {
        if way == Way::Http2 {
            let mut frames = Frames::over(self.stream(way, PATIENCE));
            ask.frames(&mut frames);
            let fate = frames.fates(&[1]).remove(&1)?;
            let body = String::from_utf8_lossy(&fate.body).into_owned();
            return fate.status.map(|status| Answer { status, body });
        }
        let answered = Wire::over(self.stream(way, PATIENCE)).try_send(ask.text()).receive_to(&ask.method)?;
        Some(Answer { status: answered.status, body: answered.text() })
    }

    /// The status of the answer.
    pub fn status(&self, way: Way, ask: &Ask) -> Option<u16> {
        self.ask(way, ask).map(|answer| answer.status)
    }
}
