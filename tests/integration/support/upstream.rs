//! An upstream that answers what the test says and records every request it received, and every byte of every connection.
//!
//! Its own reading is a lenient one, as an app's may be: what came is judged by [`strict`](super::strict), on the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

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
/// All bytes that came on a connection.
type Tape = Arc<Mutex<Vec<u8>>>;

pub struct TestUpstream {
    address: SocketAddr,
    received: Mutex<Receiver<Received>>,
    stopped: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<(JoinHandle<()>, Tape)>>,
}

/// When a request is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Whole,
    AtItsHead,
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

    /// Answers every request with its own target, so that an answer that reaches somebody else shows.
    pub fn echoing_targets() -> Self {
        Self::with(|request, stream| stream.write_all(echo(request).as_bytes()).map(|()| true))
    }

    /// Answers by `answer`, which writes to the connection and says whether it stays open.
    pub fn with(
        answer: impl Fn(&Received, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::run(When::Whole, Arc::new(answer))
    }

    /// The same before the request's body has come.
    pub fn at_the_head(
        answer: impl Fn(&Received, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::run(When::AtItsHead, Arc::new(answer))
    }

    fn run(when: When, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let stopped: Arc<AtomicBool> = Arc::default();
        let ended = Arc::clone(&stopped);
        let accepting = std::thread::spawn(move || {
            let mut all = Vec::new();
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (sender, answer, tape) = (sender.clone(), answer.clone(), Tape::default());
                let taped = Arc::clone(&tape);
                let serving =
                    std::thread::spawn(move || drop(serve(stream, &taped, when, &sender, &*answer)));
                all.push((serving, tape));
            }
            all
        });
        Self { address, received: Mutex::new(received), stopped, accepting }
    }

    /// Every byte of every connection, in the order of the connections. Ask when nobody is connected any more: it waits for that.
    pub fn into_tapes(self) -> Vec<Vec<u8>> {
        self.stopped.store(true, Ordering::SeqCst);
        // Whoever connected before stands in front of this one.
        drop(TcpStream::connect(self.address));
        let all = self.accepting.join().unwrap();
        all.into_iter()
            .map(|(serving, tape)| {
                // One that panicked has read what it could not read; the tape shows it.
                let _ = serving.join();
                std::mem::take(&mut *tape.lock().unwrap())
            })
            .collect()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request.
    pub fn next(&self) -> Received {
        self.received.lock().unwrap().recv_timeout(PATIENCE).expect("the upstream received nothing")
    }

    /// What was received and not looked at yet.
    pub fn so_far(&self) -> Vec<Received> {
        self.received.lock().unwrap().try_iter().collect()
    }

    /// Asserts that nothing was received so far.
    pub fn saw_nothing(&self) {
        if let Ok(request) = self.received.lock().unwrap().try_recv() {
            panic!("the upstream received {request:?}");
        }
    }
}

/// The answer of [`TestUpstream::echoing_targets`].
pub fn echo(request: &Received) -> String {
    let body = if request.line.starts_with("HEAD ") { "" } else { request.target() };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", request.target().len())
}

/// Writes down what is read.
struct Taped<'a> {
    stream: TcpStream,
    tape: &'a Mutex<Vec<u8>>,
}

impl Read for Taped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.tape.lock().unwrap().extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

fn serve(
    stream: TcpStream,
    tape: &Mutex<Vec<u8>>,
    when: When,
    sender: &Sender<Received>,
    answer: &Answer,
) -> std::io::Result<()> {
    // What is written is out, and does not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(Taped { stream, tape });
    let served = serve_all(&mut reader, &mut writer, when, sender, answer);
    if !matches!(served, Ok(Ended::Closing)) {
        // What still comes is recorded too.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
    Ok(())
}

/// Why no more requests are read.
enum Ended {
    ByThem,
    Closing,
}

fn serve_all(
    reader: &mut impl BufRead,
    writer: &mut TcpStream,
    when: When,
    sender: &Sender<Received>,
    answer: &Answer,
) -> std::io::Result<Ended> {
    loop {
        let Some(line) = line(reader)? else { return Ok(Ended::ByThem) };
        let mut headers = Vec::new();
        while let Some(field) = self::line(reader)?.filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(':').unwrap_or((&field, ""));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Received { line, headers, body: Vec::new() };
        if when == When::AtItsHead && !answer(&request, writer)? {
            return Ok(Ended::Closing);
        }
        if request.header("transfer-encoding").is_some() {
            loop {
                // An end without the last chunk is an aborted request: it was never received.
                let Some(size) = self::line(reader)? else { return Ok(Ended::ByThem) };
                let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
                if !body(reader, size as u64, &mut request.body)? {
                    return Ok(Ended::ByThem);
                }
                self::line(reader)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = request.header("content-length").map(|l| l.parse::<u64>().unwrap()) {
            let whole = body(reader, length, &mut request.body)?;
            if !whole {
                return Ok(Ended::ByThem);
            }
        }
        let _ = sender.send(request.clone());
        if when == When::Whole && !answer(&request, writer)? {
            return Ok(Ended::Closing);
        }
    }
}

/// Reads so many bytes, as they come: whoever says a length need not have them. False when they ended before.
fn body(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> std::io::Result<bool> {
    Ok(reader.by_ref().take(length).read_to_end(body)? as u64 == length)
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

/// What proves that a WebSocket server has read `key` (RFC 6455 section 4.2.2).
pub fn websocket_proof(key: &str) -> String {
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    );
    data_encoding::BASE64.encode(hash.as_ref())
}
