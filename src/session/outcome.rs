//! What the session manager's verbs answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::base::secret::RandomError;
use crate::session::counters::Rejection;
use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::record::{MAX_USER, Origin, Record};

/// Whether a request keeps its session from idling out (S16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Counts,
    /// It does not: polling, health checks.
    Ignored,
}

/// Who asks, as far as the session layer needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whether the request came by TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The client's address; `None` when it is not known.
    pub address: Option<IpAddr>,
}

impl From<bool> for Caller {
    /// A caller of whom only `secure` is known.
    fn from(secure: bool) -> Self {
        Self { secure, address: None }
    }
}

/// What [`SessionManager::manage`] found.
#[derive(Debug, Default)]
pub struct Managed {
    /// The live session of the request; `None` for an anonymous one.
    pub session: Option<Arc<LiveSession>>,
    /// What the response must carry: a removal, or the cookie under the newest key. At most one (S24).
    pub set_cookie: Option<HeaderValue>,
    /// Why a presented cookie opened nothing; `None` when none was presented or one was good.
    pub rejected: Option<Rejection>,
    /// A genuine cookie whose session only the shared store can tell of: ask [`SessionManager::resolve`]. When that leaves it
    /// here the store could not be asked, and the request must not pass as anything but anonymous. Never set by stores of
    /// our own.
    pub unresolved: Option<StoredId>,
    /// Too many bad cookies came from this source: answer 429, and this is when trying again may help (S40).
    pub retry_after: Option<Duration>,
}

/// A fresh session and the cookie that carries it.
#[derive(Debug)]
pub struct Created {
    /// The `Set-Cookie` value.
    pub set_cookie: HeaderValue,
    /// The session.
    pub session: Arc<LiveSession>,
}

/// Why something could not be done to a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store cannot be written: answer 503 with Retry-After.
    #[error("the session store cannot be written now")]
    StoreUnavailable,
    /// The session is over in memory, and will be deleted from the store once that works again.
    #[error("the session has ended, but the store has not acknowledged it yet")]
    NotDurable,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The id exists already: the generator is broken.
    #[error("a fresh session id was taken already")]
    IdTaken,
    /// The list of sessions that were exported or imported cannot be read or written.
    #[error("the list of exchanged sessions beside the store cannot be used: {0}")]
    Ledger(String),
    /// The store would not know after a restart which of the imported sessions had been ended.
    #[error("this kind of store cannot take sessions in: only the embedded one (sled) can")]
    NoImport,
    /// The user has as many sessions as the cap allows, and more are refused: answer 403.
    #[error("the user has as many sessions as the cap allows")]
    AtCap,
    /// The user's name is empty or too long for a record.
    #[error("a user name must have 1 to {MAX_USER} bytes")]
    UserName,
    /// The manager has been closed.
    #[error("sessions are closed: the program is ending")]
    Closed,
}

/// What one clean-up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanReport {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Sessions whose moment had come.
    pub examined: usize,
    /// Sessions removed.
    pub removed: usize,
}

/// A session with what only the store knows of it, for the list a user sees.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The session.
    pub session: Arc<LiveSession>,
    /// Where its login came from.
    pub origin: Origin,
}

impl SessionDetails {
    /// Each session with its record. The writer answers in the order it was asked, leaving out what it did not find; such a session
    /// keeps an empty origin.
    pub(super) fn pair(sessions: Vec<Arc<LiveSession>>, records: Vec<(StoredId, Record)>) -> Vec<Self> {
        let mut records = records.into_iter().peekable();
        let details = sessions.into_iter().map(|session| {
            let record = records.next_if(|(id, _)| *id == session.stored_id());
            Self { session, origin: record.map(|(_, record)| record.origin).unwrap_or_default() }
        });
        details.collect()
    }
}

/// Whether the store does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why it does not; `None` while it does.
    pub fault: Option<String>,
    /// Endings that it has not acknowledged yet.
    pub owed: usize,
}
