//! One kept connection of either protocol, so that a test asks the same of both. What cannot be said in HTTP/2, or was answered by
//! the end of the connection, has no response.

use std::net::SocketAddr;

use http::{Request, Version};

use super::gateway::{Setup, TestGateway};
use super::h2::Http2Client;
use super::wire::{Wire, WireResponse};

/// The value of `server.listen` that gives a gateway both.
const BOTH: &str = r#"["127.0.0.1:0", { address = "127.0.0.1:0", h2c = true }]"#;

pub struct Asker {
    address: SocketAddr,
    connection: Connection,
}

enum Connection {
    Http1(Box<Wire>),
    Http2(Box<Http2Client>),
}

/// Fields of somebody who follows a link.
pub const NAVIGATION: [(&str, &str); 4] = [
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
    ("Accept", "text/html"),
];

/// Fields of somebody who sends one of our own forms.
pub const OWN_FORM: [(&str, &str); 3] = [
    ("Sec-Fetch-Site", "same-origin"),
    ("Accept", "text/html"),
    ("Content-Type", "application/x-www-form-urlencoded"),
];

impl Setup {
    /// With a listener for HTTP/1.1 and one for HTTP/2, both without TLS.
    pub fn both_protocols(self) -> Self {
        self.listen(BOTH)
    }
}

impl Asker {
    /// A connection by HTTP/1.1 and one by HTTP/2, of a gateway that was set up with [`Setup::both_protocols`].
    pub fn both(gateway: &TestGateway) -> [Asker; 2] {
        [Self::http1(gateway.listener(0)), Self::http2(gateway.listener(1))]
    }

    pub fn http1(address: SocketAddr) -> Self {
        Self { address, connection: Connection::Http1(Box::new(Wire::connect(address))) }
    }

    pub fn http2(address: SocketAddr) -> Self {
        let client = Http2Client::with_prior_knowledge(address);
        Self { address, connection: Connection::Http2(Box::new(client)) }
    }

    pub fn is_http2(&self) -> bool {
        matches!(self.connection, Connection::Http2(_))
    }

    /// What a failed assertion says of it.
    pub fn protocol(&self) -> &'static str {
        if self.is_http2() { "HTTP/2" } else { "HTTP/1.1" }
    }

    pub fn get(
        &mut self,
        host: &str,
        target: impl AsRef<[u8]>,
        fields: &[(&str, &str)],
    ) -> Option<WireResponse> {
        self.ask("GET", host, target.as_ref(), fields, b"")
    }

    /// One request on the connection, which is opened anew when the last answer ended it.
    pub fn ask(
        &mut self,
        method: &str,
        host: &str,
        target: &[u8],
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Option<WireResponse> {
        match &mut self.connection {
            Connection::Http1(wire) => {
                let answer = ask_http1(wire, method, host, target, fields, body);
                let stays = answer.as_ref().is_some_and(|a| a.header("connection") != Some("close"));
                if !stays {
                    **wire = Wire::connect(self.address);
                }
                answer
            }
            Connection::Http2(client) => {
                let request = request(method, host, target, fields)?;
                if !client.takes_requests() {
                    **client = Http2Client::with_prior_knowledge(self.address);
                }
                let mut stream = client.open(request, body.is_empty());
                if !body.is_empty() {
                    // The answer may have come before.
                    let _ = stream.body.send_data(body.to_vec().into(), true);
                }
                let answer = stream.answer();
                let headers = answer.headers.iter().map(|(name, value)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                });
                Some(WireResponse { status: answer.status, headers: headers.collect(), body: answer.body })
            }
        }
    }
}

fn ask_http1(
    wire: &mut Wire,
    method: &str,
    host: &str,
    target: &[u8],
    fields: &[(&str, &str)],
    body: &[u8],
) -> Option<WireResponse> {
    let mut head = Vec::new();
    head.extend_from_slice(format!("{method} ").as_bytes());
    head.extend_from_slice(target);
    head.extend_from_slice(format!(" HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
    for (name, value) in fields {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || method == "POST" {
        head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    wire.try_send(head).try_send(body).receive_to(method)
}

/// `None` when it cannot be said in HTTP/2.
fn request(method: &str, host: &str, target: &[u8], fields: &[(&str, &str)]) -> Option<Request<()>> {
    let uri = http::Uri::builder().scheme("http").authority(host).path_and_query(target).build().ok()?;
    let mut builder = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).ok()
}
