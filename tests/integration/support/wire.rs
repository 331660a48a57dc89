//! Raw HTTP/1.1 over a socket: tests say byte for byte what they send, and see what comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// One client connection, plain or over TLS.
pub struct Wire {
    stream: BufReader<Box<dyn Stream>>,
}

/// Bytes both ways.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A response as it stood on the wire.
#[derive(Clone, Debug)]
pub struct WireResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// The same over a connection that exists.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("send");
        self
    }

    /// Sends, and does not mind when the other side has closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Reads one response; `None` when the connection ended instead.
    pub fn receive(&mut self) -> Option<WireResponse> {
        self.receive_to("GET")
    }

    /// Reads the response to a request of `method` (one to HEAD has no body).
    pub fn receive_to(&mut self, method: &str) -> Option<WireResponse> {
        let (status, headers) = self.receive_head()?;
        let mut response = WireResponse { status, headers, body: Vec::new() };
        if method == "HEAD" || matches!(status, 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.receive_chunk() {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body).ok()?;
        } else {
            self.stream.read_to_end(&mut response.body).ok()?;
        }
        Some(response)
    }

    /// Reads the status line and header fields of one response, skipping 1xx.
    pub fn receive_head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        loop {
            let line = self.line()?;
            let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':')?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status >= 200 || status == 101 {
                return Some((status, headers));
            }
        }
    }

    /// Reads one chunk of a chunked body; `None` after the last one, or when the connection broke.
    pub fn receive_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).ok()?;
        self.line()?;
        (size > 0).then_some(chunk)
    }

    /// Whether the other side closes without another byte.
    pub fn is_closed_by_peer(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    /// Reads until the other side closes or breaks off, and says how many bytes that were.
    pub fn rest(&mut self) -> u64 {
        let (mut block, mut total) = (vec![0; 65536], 0);
        while let Ok(read @ 1..) = self.stream.read(&mut block) {
            total += read as u64;
        }
        total
    }

    /// Reads until the other side closes, as text.
    pub fn rest_text(&mut self) -> String {
        let mut all = Vec::new();
        let _ = self.stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).ok()?;
        if line.pop() != Some(b'\n') {
            return None;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

impl WireResponse {
    /// The first value of `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of `name` (lower case).
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the form field `name`, as a browser reads it.
    pub fn form_field(&self, name: &str) -> String {
        let text = self.text();
        let value =
            text.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
        unescaped(value.unwrap_or_else(|| panic!("no field {name} in {text}")))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }

    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location in {self:?}"))
    }
}

/// Undoes HTML escaping.
pub fn unescaped(html: &str) -> String {
    let entities =
        [("&#x2f;", "/"), ("&#x27;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}
