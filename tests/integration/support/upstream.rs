//! An upstream that answers what the test says and records every request it received, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line, such as `GET /a HTTP/1.1`.
    pub line: String,
    /// Fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// All values of a field, compared without case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The value of a field that must stand at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} stands {} times", values.len());
        values.first().copied()
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

type Answer = dyn Fn(&Received, &mut TcpStream) -> std::io::Result<bool> + Send + Sync;

pub struct TestUpstream {
    address: SocketAddr,
    received: Mutex<Receiver<Received>>,
}

impl TestUpstream {
    /// Answers 200 with a short body to everything.
    pub fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    }

    /// Answers the same bytes to everything and keeps the connection.
    pub fn answering(response: impl Into<String>) -> Self {
        let response = response.into();
        Self::with(move |_, stream| stream.write_all(response.as_bytes()).map(|()| true))
    }

    /// Answers by `answer`, which writes to the connection and says whether it stays open.
    pub fn with(
        answer: impl Fn(&Received, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, answer) = (sender.clone(), answer.clone());
                std::thread::spawn(move || drop(serve(stream, &sender, &*answer)));
            }
        });
        Self { address, received: Mutex::new(received) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request.
    pub fn next(&self) -> Received {
        self.received.lock().unwrap().recv_timeout(PATIENCE).expect("the upstream received nothing")
    }

    /// Asserts that nothing was received so far.
    pub fn saw_nothing(&self) {
        if let Ok(request) = self.received.lock().unwrap().try_recv() {
            panic!("the upstream received {request:?}");
        }
    }
}

fn serve(stream: TcpStream, sender: &Sender<Received>, answer: &Answer) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(line) = line(&mut reader)? else { return Ok(()) };
        let mut headers = Vec::new();
        while let Some(field) = self::line(&mut reader)?.filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(':').unwrap_or((&field, ""));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Received { line, headers, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            loop {
                // An end without the last chunk is an aborted request: it was never received.
                let Some(size) = self::line(&mut reader)? else { return Ok(()) };
                let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
                let start = request.body.len();
                request.body.resize(start + size, 0);
                reader.read_exact(&mut request.body[start..])?;
                self::line(&mut reader)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = request.header("content-length").map(|l| l.parse::<usize>().unwrap()) {
            request.body.resize(length, 0);
            reader.read_exact(&mut request.body)?;
        }
        let _ = sender.send(request.clone());
        if !answer(&request, &mut writer)? {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
