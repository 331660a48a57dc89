//! One line per request, formatted into a buffer of the worker and written by a thread of its own.
//!
//! A worker never waits: it hands full buffers over a bounded channel, and when the disk cannot keep up, whole buffers are
//! dropped and counted. Cookies, tokens, credentials and query strings are never logged.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::base::clock::Timestamp;
use crate::observe::access_log::moment::Seconds;
use crate::observe::log_target::LogTarget;

pub(in crate::observe) mod moment;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go; `None` for no access log.
    pub target: Option<Target>,
    /// The form of a line.
    pub format: Format,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output. The default.
    Stdout,
    /// Appended to this file, created with mode 0600.
    File(PathBuf),
}

/// The form of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line. The default.
    Json,
    /// The combined log format.
    Text,
}

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the request head had been read.
    pub at: Timestamp,
    /// The request's id, as in error pages and diagnostics.
    pub request_id: &'a str,
    /// The client's address as resolved through trusted proxies; `None` for an unknown one (unix socket).
    pub client: Option<IpAddr>,
    /// The request method.
    pub method: &'a str,
    /// The Host field as sent.
    pub host: &'a str,
    /// The path as sent, without the query.
    pub path: &'a str,
    /// `HTTP/1.1` and so on.
    pub protocol: &'a str,
    /// The status answered.
    pub status: u16,
    /// Body bytes handed to the client's connection.
    pub bytes_out: u64,
    /// Of a tunnel: bytes the client sent into it.
    pub bytes_in: Option<u64>,
    /// From the head read to the last body byte handed over.
    pub duration: Duration,
    /// From the request handed to the upstream to its response head; `None` when not forwarded.
    pub upstream: Option<Duration>,
    /// The route's name, when one matched.
    pub route: Option<&'a str>,
    /// The user whose live session the request carried.
    pub user: Option<&'a str>,
    /// `allow`, `challenge`, `deny`, `refuse`, or `own` for our own pages.
    pub decision: &'a str,
    /// A stable code that says why, when there is more to say than the decision.
    pub reason: Option<&'a str>,
    /// The User-Agent field.
    pub user_agent: Option<&'a str>,
}

/// The log of the whole process. Dropping the last handle ends the writing thread after it has written everything.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    sender: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// Buffers that may wait for the disk.
const WAITING: usize = 256;
/// A worker's buffer is handed over at this size in bytes.
const FULL: usize = 16 * 1024;

impl AccessLog {
    /// Opens the target and starts the writing thread; `None` when the log is off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(settings: &Settings) -> io::Result<Option<(Arc<Self>, LogThread)>> {
        let sink: Box<dyn Write + Send> = match &settings.target {
            None => return Ok(None),
            Some(Target::Stdout) => Box::new(io::stdout()),
            Some(Target::File(path)) => Box::new(append(path)?),
        };
        Self::start(settings.format, sink).map(Some)
    }

    fn start(format: Format, sink: Box<dyn Write + Send>) -> io::Result<(Arc<Self>, LogThread)> {
        let (sender, receiver): (_, Receiver<Vec<u8>>) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let (lost, mut target) = (Arc::clone(&dropped), LogTarget::new("access", sink));
        let thread = LogThread::start("access-log", move || {
            for buffer in receiver {
                lost.fetch_add(u64::from(!target.write(&buffer)), Ordering::Relaxed);
            }
        })?;
        Ok((Arc::new(Self { format, sender, dropped }), thread))
    }

    /// Buffers dropped because the disk could not keep up, or could not be written at all.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A thread that writes a log.
#[derive(Debug)]
pub struct LogThread(Receiver<Infallible>);

impl LogThread {
    pub(super) fn start(name: &str, write: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (running, ended) = channel();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            write();
            drop(running);
        })?;
        Ok(Self(ended))
    }

    /// Waits until the thread has ended, but no longer than `patience`: a target that nobody reads must not keep the process
    /// from ending. False when it had to be left.
    pub fn ended_within(&self, patience: Duration) -> bool {
        self.0.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// One worker's side of the log.
#[derive(Debug)]
pub struct WorkerLog {
    log: Arc<AccessLog>,
    buffer: RefCell<Vec<u8>>,
    seconds: RefCell<Seconds>,
}

impl WorkerLog {
    /// A buffer that hands over to `log`.
    pub fn new(log: Arc<AccessLog>) -> Self {
        Self { log, buffer: RefCell::new(Vec::with_capacity(FULL + 4096)), seconds: RefCell::default() }
    }

    /// Adds a line; hands the buffer over when it is full.
    pub fn write(&self, line: &Line<'_>) {
        let (mut buffer, mut seconds) = (self.buffer.borrow_mut(), self.seconds.borrow_mut());
        match self.log.format {
            Format::Json => line.write_json(&mut buffer, &mut seconds),
            Format::Text => line.write_text(&mut buffer, &mut seconds),
        }
        if buffer.len() >= FULL {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands over what there is. To be called every fraction of a second, and at the end.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.hand_over(&mut buffer);
        }
    }

    fn hand_over(&self, buffer: &mut Vec<u8>) {
        let full = std::mem::replace(buffer, Vec::with_capacity(FULL + 4096));
        if self.log.sender.try_send(full).is_err() {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Line<'_> {
    // Writing to a Vec cannot fail, so the results are let go.
    pub(super) fn write_json(&self, out: &mut Vec<u8>, seconds: &mut Seconds) {
        let (second, millis) = seconds.json(self.at);
        let id = self.request_id;
        let _ = write!(out, r#"{{"ts":"{second}{millis:03}Z","kind":"access","request_id":"{id}""#);
        if let Some(client) = self.client {
            let _ = write!(out, r#","client_ip":"{client}""#);
        }
        json_field(out, "method", self.method);
        json_field(out, "host", self.host);
        json_field(out, "path", self.path);
        json_field(out, "protocol", self.protocol);
        let _ = write!(out, r#","status":{},"bytes_out":{}"#, self.status, self.bytes_out);
        millis_field(out, "duration_ms", self.duration);
        if let Some(upstream) = self.upstream {
            millis_field(out, "upstream_ms", upstream);
        }
        if let Some(bytes_in) = self.bytes_in {
            let _ = write!(out, r#","bytes_in":{bytes_in}"#);
        }
        json_field(out, "decision", self.decision);
        let optional = [
            ("route", self.route),
            ("user", self.user),
            ("reason", self.reason),
            ("user_agent", self.user_agent),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                json_field(out, name, value);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    pub(super) fn write_text(&self, out: &mut Vec<u8>, seconds: &mut Seconds) {
        match self.client {
            Some(client) => drop(write!(out, "{client} - ")),
            None => out.extend_from_slice(b"- - "),
        }
        quoted(out, self.user.unwrap_or("-"));
        let _ = write!(out, " [{}] \"", seconds.text(self.at));
        quoted(out, self.method);
        out.push(b' ');
        quoted(out, self.path);
        let _ = write!(out, " {}\" {} {} \"-\" \"", self.protocol, self.status, self.bytes_out);
        quoted(out, self.user_agent.unwrap_or("-"));
        out.extend_from_slice(b"\"\n");
    }
}

/// `,"name":1.250`, without the detour by a floating point number.
fn millis_field(out: &mut Vec<u8>, name: &str, span: Duration) {
    let micros = (span.as_nanos() + 500) / 1000;
    let _ = write!(out, r#","{name}":{}.{:03}"#, micros / 1000, micros % 1000);
}

/// `,"name":"value"`, escaped as JSON and cut to a bounded length.
pub(super) fn json_field(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [",\"", name, "\":"] {
        out.extend_from_slice(piece.as_bytes());
    }
    // Nearly all values: nothing to escape, nothing to cut.
    let plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if value.len() <= 1024 && value.bytes().all(plain) {
        for piece in ["\"", value, "\""] {
            out.extend_from_slice(piece.as_bytes());
        }
        return;
    }
    // The longest prefix of a field that a client controls: a line stays a line, whatever is sent.
    let end = (0..=1024.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    let cut = value.get(..end).unwrap_or_default();
    let _ = cut.serialize(&mut Serializer::with_formatter(&mut *out, Visible));
}

/// JSON lets DEL, the second block of control characters and two line separators stand as they are. A terminal obeys some of
/// them, and some readers of lines end one there.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let unseen = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| unseen(*c)) {
            let (before, after) = rest.split_at(at);
            write!(out, "{before}\\u{:04x}", u32::from(c))?;
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Control bytes, quotes and backslashes as `\xHH`, so that no input can end or forge a line.
fn quoted(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes().take(1024) {
        match byte {
            0x20..0x7f if byte != b'"' && byte != b'\\' => out.push(byte),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests;
