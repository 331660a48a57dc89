//! The admin socket: what an administrator of the running process may do, on a unix socket of its own that only root and the
//! gateway's own user can use, and never on a public listener (X32, S36). It is served on the control thread.

pub mod protocol;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use self::protocol::{
    Answer, Count, ImportCounts, Refusal, Request, SessionItem, Upload, VERSION, Verb, Which,
};
pub use self::socket::{AdminSocket, AdminSocketError};
use crate::base::clock::{Clock, Timestamp};
use crate::login::Login;
use crate::pages::browser_in_words;
use crate::session::export_file::{MAX_LINE, SessionLine};
use crate::session::{EndReason, LiveSession, SessionDetails, SessionError, SessionManager, StoredId};

/// Longest pause of a client that has more to say or to take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sessions described at a time: the writer thread serves logins in between.
const BATCH: usize = 500;
/// Fewest digits of an id that name a session.
const FEWEST_DIGITS: usize = 8;

/// What an administrator works on.
#[derive(Clone)]
pub struct Admin {
    sessions: Arc<SessionManager>,
    login: Arc<Login>,
    clock: Arc<dyn Clock>,
}

impl Admin {
    /// Works on `sessions`, whose users `login` knows.
    pub fn new(sessions: Arc<SessionManager>, login: Arc<Login>, clock: Arc<dyn Clock>) -> Self {
        Self { sessions, login, clock }
    }

    /// Serves one connection to its end: a request, its answers.
    pub async fn serve(self, stream: UnixStream) {
        let peer = stream.peer_cred().map(|credentials| credentials.uid());
        let own = rustix::process::geteuid().as_raw();
        let mut line = Conversation::new(stream);
        let outcome = match peer {
            Ok(uid) if socket::may_administer(uid, own) => self.answer(&mut line).await,
            _ => {
                tracing::warn!(?peer, "refused on the admin socket");
                let message = "only root and the gateway's own user may administer it";
                Err(Failure::Refused(Refusal::new("forbidden", message)))
            }
        };
        let outcome = match outcome {
            Ok(done) => line.say(&Answer::<(), Value>::Done(done)).await,
            Err(Failure::Refused(refusal)) => line.say(&Answer::<(), ()>::Error(refusal)).await,
            Err(Failure::Gone(error)) => Err(error),
        };
        if let Err(error) = match outcome {
            Ok(()) => line.end().await,
            gone => gone,
        } {
            tracing::debug!(%error, "a connection to the admin socket ended early");
        }
    }

    async fn answer(&self, line: &mut Conversation) -> Result<Value, Failure> {
        let text = line.hear().await?;
        let bad =
            |error: &dyn std::fmt::Display| Refusal::new("bad_request", format!("not understood: {error}"));
        // The version first: a newer request may have verbs this build cannot name.
        let value: Value = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(VERSION.into()) {
            return Err(bad(&format!("this gateway speaks version {VERSION} of the admin protocol")).into());
        }
        let request: Request = serde_json::from_value(value).map_err(|error| bad(&error))?;
        let now = self.clock.now();
        match request.verb {
            Verb::List { user } => self.list(line, user.as_deref(), now).await,
            Verb::Revoke { which } => self.revoke(&which, now).await,
            Verb::Export => self.export(line, now).await,
            Verb::Import => self.import(line, now).await,
        }
    }

    async fn list(
        &self,
        line: &mut Conversation,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<Value, Failure> {
        let mut sessions = match user {
            Some(user) => self.sessions.sessions_of(user, now),
            None => self.sessions.all_sessions(now),
        };
        sessions.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        for batch in sessions.chunks(BATCH) {
            for details in self.sessions.describe(batch.to_vec()).await {
                line.say(&Answer::<_, ()>::Item(item(&details))).await?;
            }
        }
        done(&Count { count: sessions.len() })
    }

    async fn revoke(&self, which: &Which, now: Timestamp) -> Result<Value, Failure> {
        let count = match which {
            Which::User(user) => self.sessions.end_of_user(user, None, EndReason::Revoked, now).await,
            Which::All => self.sessions.end_all(now).await,
            Which::Id(digits) => {
                let id = self.named(digits, now)?;
                self.sessions.delete(&id, EndReason::Revoked, now).await.map(usize::from)
            }
        };
        let count = count.map_err(|_| {
            let message = "the sessions have ended, but the store could not write that yet; it will when it works again";
            Refusal::new("store", message)
        })?;
        tracing::info!(?which, count, "sessions were ended through the admin socket");
        done(&Count { count })
    }

    /// The one live session whose id begins with `digits`.
    fn named(&self, digits: &str, now: Timestamp) -> Result<StoredId, Refusal> {
        let digits = digits.to_ascii_lowercase();
        if !(FEWEST_DIGITS..=64).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = format!("an id has {FEWEST_DIGITS} to 64 hexadecimal digits; the list shows it");
            return Err(Refusal::new("bad_request", message));
        }
        let ids = self.sessions.all_sessions(now).into_iter().map(|session| session.stored_id());
        let mut named = ids.filter(|id| id.to_string().starts_with(&digits));
        match (named.next(), named.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(Refusal::new("not_found", format!("no live session has the id {digits}"))),
            (Some(_), Some(_)) => Err(Refusal::new(
                "ambiguous",
                format!("more than one id begins with {digits}; give more digits"),
            )),
        }
    }

    async fn export(&self, line: &mut Conversation, now: Timestamp) -> Result<Value, Failure> {
        let records = self.sessions.export(now).await?;
        for (id, record) in &records {
            line.say(&Answer::<_, ()>::Item(SessionLine::new(id, record))).await?;
        }
        tracing::info!(count = records.len(), "sessions were exported through the admin socket");
        done(&Count { count: records.len() })
    }

    async fn import(&self, line: &mut Conversation, now: Timestamp) -> Result<Value, Failure> {
        let bad = |message: &str| Refusal::new("bad_request", message);
        let mut records = Vec::new();
        loop {
            match serde_json::from_slice(&line.hear().await?) {
                Ok(Upload::Item(session)) => {
                    records.push(session.session().ok_or_else(|| bad("a session that cannot be read"))?);
                }
                Ok(Upload::End(Count { count })) if count == records.len() => break,
                Ok(Upload::End(_)) | Err(_) => return Err(bad("the sessions did not arrive whole").into()),
            }
        }
        let subject_of = |user: &str| self.login.subject_of(user, now);
        let report = self.sessions.import(records, &subject_of, now).await?;
        // A reload in the meantime may have changed somebody's password.
        self.sessions.refresh_subjects(&subject_of).await?;
        tracing::info!(?report, "sessions were imported through the admin socket");
        let crate::session::ImportReport { imported, present, expired, ended, disowned, future, at_cap } =
            report;
        done(&ImportCounts { imported, present, expired, ended, disowned, future, at_cap })
    }
}

fn sort_key(session: &LiveSession) -> (&str, Timestamp, StoredId) {
    (session.user(), session.created_at(), session.stored_id())
}

fn item(SessionDetails { session, origin }: &SessionDetails) -> SessionItem {
    SessionItem {
        id: session.stored_id().to_string(),
        user: session.user().to_owned(),
        created: session.created_at().to_string(),
        last_seen: session.last_seen_at().to_string(),
        expires: session.expires_at().to_string(),
        address: origin.address.map(|address| address.to_string()),
        browser: origin.user_agent.as_deref().map(browser_in_words),
    }
}

fn done(value: &impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(value).map_err(io::Error::from)?)
}

/// Why a request came to nothing.
enum Failure {
    /// The client is told.
    Refused(Refusal),
    /// There is nobody to tell.
    Gone(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Refused(Refusal::new("store", error.to_string()))
    }
}

/// Lines in, lines out.
struct Conversation {
    input: BufReader<OwnedReadHalf>,
    output: BufWriter<OwnedWriteHalf>,
}

impl Conversation {
    fn new(stream: UnixStream) -> Self {
        let (input, output) = stream.into_split();
        Self { input: BufReader::new(input), output: BufWriter::new(output) }
    }

    /// The next line, at most [`MAX_LINE`] bytes.
    async fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut input = (&mut self.input).take(MAX_LINE);
        tokio::time::timeout(PATIENCE, input.read_until(b'\n', &mut line)).await??;
        if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
    }

    async fn say(&mut self, answer: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        tokio::time::timeout(PATIENCE, self.output.write_all(&line)).await?
    }

    async fn end(&mut self) -> io::Result<()> {
        tokio::time::timeout(PATIENCE, self.output.shutdown()).await?
    }
}
