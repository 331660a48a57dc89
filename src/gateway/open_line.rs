//! An access log line whose request is still under way.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Version};

use crate::base::clock::Timestamp;
use crate::observe::access_log::{Draft, Opening, Outcome, WorkerLog};
use crate::web::forwarded::ClientView;

/// Lines that have been written and whose memory is kept for others: as many as a busy worker has requests under way.
const SPARE: usize = 64;

/// The lines of one worker.
pub struct Lines {
    log: Rc<WorkerLog>,
    #[expect(clippy::vec_box, reason = "a line goes in and out as it is, without a copy")]
    spare: RefCell<Vec<Box<Noted>>>,
}

/// An access log line whose response is still under way.
pub struct OpenLine {
    lines: Rc<Lines>,
    /// What it says so far.
    pub noted: Box<Noted>,
}

/// What is noted for a line.
#[derive(Default)]
pub struct Noted {
    /// What it will say of the request.
    pub draft: Draft,
    started: Option<Instant>,
    /// See [`Outcome::decision`].
    pub decision: &'static str,
    /// See [`Outcome::reason`].
    pub reason: Option<&'static str>,
    /// See [`Outcome::upstream`].
    pub upstream: Option<Duration>,
    /// The status answered.
    pub status: u16,
    /// See [`Outcome::bytes_in`].
    pub bytes_in: Option<u64>,
}

impl Lines {
    /// Lines that are written to `log`.
    pub fn new(log: Rc<WorkerLog>) -> Rc<Self> {
        Rc::new(Self { log, spare: RefCell::default() })
    }

    /// Opens the line of `request`, which is called `id`, came from `client` and whose head had been read `at` that moment.
    pub fn open<B>(
        self: &Rc<Self>,
        request: &Request<B>,
        id: &HeaderValue,
        client: &ClientView,
        at: (Timestamp, Instant),
    ) -> OpenLine {
        let mut noted = self.spare.borrow_mut().pop().unwrap_or_default();
        let (host, user_agent) = host_and_user_agent(request.headers());
        let opening = Opening {
            at: at.0,
            request_id: id.as_bytes(),
            client: client.address,
            method: request.method().as_str(),
            host: host.map(HeaderValue::as_bytes).unwrap_or_default(),
            path: request.uri().path(),
            protocol: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            user_agent: user_agent.map(HeaderValue::as_bytes),
        };
        noted.draft.begin(&opening);
        noted.started = Some(at.1);
        (noted.decision, noted.status) = ("refuse", 0);
        OpenLine { lines: Rc::clone(self), noted }
    }
}

impl OpenLine {
    /// Writes the line, of `sent` bytes.
    pub fn write(self, sent: u64) {
        let Self { lines, mut noted } = self;
        noted.draft.end(Outcome {
            status: noted.status,
            bytes_out: sent,
            bytes_in: noted.bytes_in.take(),
            duration: noted.started.map(|started| started.elapsed()).unwrap_or_default(),
            upstream: noted.upstream.take(),
            decision: noted.decision,
            reason: noted.reason.take(),
        });
        lines.log.write(&noted.draft);
        let mut spare = lines.spare.borrow_mut();
        if spare.len() < SPARE && !noted.draft.is_large() {
            spare.push(noted);
        }
    }
}

/// The first of each. In one walk, which mostly ends early: clients send them among their first fields.
fn host_and_user_agent(headers: &HeaderMap) -> (Option<&HeaderValue>, Option<&HeaderValue>) {
    let (mut host, mut user_agent) = (None, None);
    for (name, value) in headers {
        if name == HOST {
            host.get_or_insert(value);
        } else if name == USER_AGENT {
            user_agent.get_or_insert(value);
        }
        if host.is_some() && user_agent.is_some() {
            break;
        }
    }
    (host, user_agent)
}
