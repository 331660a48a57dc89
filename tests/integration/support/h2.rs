//! An HTTP/2 client whose streams a test holds in its hand: it can leave bodies unfinished, responses unread, and reset.
//!
//! ```ignore
//! let mut client = TlsClient::trusting(&authority).http2(gateway.tls_address(), "wiki.test");
//! let answer = client.get("https://wiki.test/", &[("cookie", "a=b")]);                 // whole answers
//! let mut open = client.open(post("https://wiki.test/upload", &[]), false);            // streams in the hand
//! open.send("part", false);
//! assert_eq!(open.answer().status, 200);
//! ```
//!
//! A thread of its own drives the connection (pings and windows are answered); the test waits by `block_on`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::PATIENCE;

pub struct Http2Client {
    send: SendRequest<Bytes>,
    ended: Receiver<Result<(), h2::Error>>,
}

/// A response with its body.
#[derive(Debug)]
pub struct Http2Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Http2Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2Client {
    /// Over TLS: the server must choose HTTP/2.
    pub fn over_tls(config: ClientConfig, address: SocketAddr, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self::start(client::Builder::new(), async move {
            let tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            stream
        })
    }

    /// Without TLS, as if it knew that the other side speaks HTTP/2.
    pub fn with_prior_knowledge(address: SocketAddr) -> Self {
        Self::with_settings(address, client::Builder::new())
    }

    /// The same with other settings, such as a window of its own.
    pub fn with_settings(address: SocketAddr, settings: client::Builder) -> Self {
        Self::start(settings, async move { TcpStream::connect(address).await.unwrap() })
    }

    fn start<T: AsyncRead + AsyncWrite + Unpin>(
        settings: client::Builder,
        connect: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let (ready, connected) = channel();
        let (end, ended) = channel();
        std::thread::spawn(move || {
            block_on(async move {
                let (send, connection) = settings.handshake(connect.await).await.unwrap();
                ready.send(send).unwrap();
                // Nobody may wait for the end.
                let _ = end.send(connection.await);
            });
        });
        Self { send: connected.recv_timeout(PATIENCE).expect("no HTTP/2 connection"), ended }
    }

    /// Opens a stream; `end` says that no body follows.
    pub fn open(&mut self, request: Request<()>, end: bool) -> Http2Stream {
        let ready = self.send.clone().ready();
        self.send = in_time(ready).expect("the connection takes no more streams");
        let (response, body) = self.send.send_request(request, end).expect("send a request");
        Http2Stream { response, body }
    }

    /// Whether another request can be sent: not after a GOAWAY.
    pub fn takes_requests(&mut self) -> bool {
        in_time(self.send.clone().ready()).is_ok()
    }

    pub fn get(&mut self, uri: &str, fields: &[(&str, &str)]) -> Http2Response {
        self.open(request(Method::GET, uri, fields), true).answer()
    }

    /// Waits for the end of the connection; `None` when the transport just closed, else what was said last.
    pub fn wait_for_end(&self) -> Option<Reason> {
        self.ended
            .recv_timeout(PATIENCE)
            .expect("the connection is still open")
            .err()
            .and_then(|e| e.reason())
    }

    /// Whether the server has learnt to open tunnels (RFC 8441).
    pub fn may_tunnel(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }
}

pub fn request(method: Method, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// An open stream.
pub struct Http2Stream {
    response: ResponseFuture,
    pub body: SendStream<Bytes>,
}

impl Http2Stream {
    /// Sends a piece of the body.
    pub fn send(&mut self, data: impl Into<Bytes>, end: bool) {
        self.body.send_data(data.into(), end).expect("send data");
    }

    /// The response's head and its body to come; the error is the stream's.
    pub fn head(self) -> Result<Response<RecvStream>, h2::Error> {
        in_time(self.response)
    }

    /// The head, and both directions for as long as the test wants them, as of a tunnel.
    pub fn tunnel(self) -> (Response<RecvStream>, SendStream<Bytes>) {
        (in_time(self.response).unwrap(), self.body)
    }

    /// The whole response.
    pub fn answer(self) -> Http2Response {
        let response = in_time(self.response).expect("no response");
        let (parts, mut stream) = response.into_parts();
        let body = rest(&mut stream).expect("the body broke off");
        let trailers = in_time(stream.trailers()).expect("no trailers");
        Http2Response { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
    }
}

/// The next piece of a body; `None` at its end.
pub fn piece(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = in_time(stream.data())?;
    if let Ok(piece) = &piece {
        stream.flow_control().release_capacity(piece.len()).unwrap();
    }
    Some(piece)
}

/// All that is left of a body.
pub fn rest(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = piece(stream) {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// Waits for `future`, but not for ever.
pub fn in_time<F: Future>(future: F) -> F::Output {
    block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time") })
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
}

fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
