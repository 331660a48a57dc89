//! The one connection to the server, on a thread of its own: it carries what is asked, reports what others change, and
//! connects again when it is lost.
//!
//! ```text
//! connecting --tracking is on--> filling the table --every session read--> coherent
//!     ^                               |                                       |
//!     +-------- closed, silent for two seconds, or a demoted server ----------+
//! ```

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::address::RedisAddress;
use super::reading::{self, Found};
use super::serving::{Channel, Serving};
use super::wire;
use crate::base::clock::Timestamp;
use crate::session::id::StoredId;

/// Longest a caller is blocked: longer than a connection is waited for.
const BLOCKED: Duration = Duration::from_secs(5);
/// Pause after the first failed attempt to connect, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const NOT_CONNECTED: &str = "there is no connection to the server";

/// Who learns what the server says. Called on the link's thread; must not block.
pub(crate) trait Follower: Send + Sync {
    /// The number of the connection: what was read over an earlier one is not trusted.
    fn epoch(&self) -> u16;
    /// The channel stands.
    fn connected(&self);
    /// Every session has been read over this connection.
    fn filled(&self);
    /// The channel is lost, and the server had been silent for `silence` when that was noticed.
    fn lost(&self, cause: &str, silence: Duration);
    /// This session was changed, created or ended, by us or somebody else.
    fn changed(&self, id: &StoredId);
    /// The server has forgotten everything.
    fn all_changed(&self);
    /// What the server has of a session, read in `epoch`.
    fn apply(&self, epoch: u16, id: StoredId, found: Found);
    /// Sessions that began at or before `moment` are over.
    fn not_before(&self, moment: Timestamp);
    /// Sessions that are held and have not been read in this epoch.
    fn unseen(&self) -> Vec<StoredId>;
}

/// What the link can be asked for.
pub(super) enum Job {
    Ask(Box<Cmd>, SyncSender<Result<Value, String>>),
    Fetch(StoredId, oneshot::Sender<()>),
    Attach(Arc<dyn Follower>, SyncSender<()>),
    Close,
}

/// A handle on the link; clones share the thread.
#[derive(Clone)]
pub(crate) struct Link {
    jobs: UnboundedSender<Job>,
}

impl Link {
    /// Starts the thread `store-link` and waits for the first connection. Gives the server's `not_before` too.
    pub(super) fn start(address: RedisAddress) -> Result<(Self, Timestamp), String> {
        let (jobs, inbox) = unbounded_channel();
        let (first, connected) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        std::thread::Builder::new()
            .name("store-link".into())
            .spawn(move || runtime.block_on(run(address, inbox, first)))
            .map_err(|error| error.to_string())?;
        let not_before = connected.recv().map_err(|_| NOT_CONNECTED.to_owned())??;
        Ok((Self { jobs }, not_before))
    }

    /// A link to nowhere.
    #[cfg(test)]
    pub(crate) fn unconnected() -> Self {
        Self { jobs: unbounded_channel().0 }
    }

    /// Sends one command and blocks until it is answered.
    pub(super) fn ask(&self, command: Cmd) -> Result<Value, String> {
        let (reply, answer) = sync_channel(1);
        self.jobs.send(Job::Ask(Box::new(command), reply)).map_err(|_| NOT_CONNECTED.to_owned())?;
        match answer.recv_timeout(BLOCKED) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err("the server does not answer in time".into()),
            Err(RecvTimeoutError::Disconnected) => Err("the connection was lost before the answer".into()),
        }
    }

    /// Reads sessions and blocks until that is answered.
    pub(super) fn read(&self, ids: &[StoredId]) -> Result<Vec<(StoredId, Found)>, String> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.ask(wire::read(ids))?;
        reading::found(answer, ids).ok_or_else(|| STRANGE.to_owned())
    }

    /// One page of all sessions' ids, and the cursor of the next one; 0 for none.
    pub(super) fn page(&self, cursor: u64) -> Result<(u64, Vec<StoredId>), String> {
        reading::page(self.ask(wire::page(cursor))?).ok_or_else(|| STRANGE.to_owned())
    }

    /// Reads `id` and applies it to the follower; false when the server cannot be asked now.
    pub(crate) async fn fetch(&self, id: StoredId) -> bool {
        let (waiting, answered) = oneshot::channel();
        self.jobs.send(Job::Fetch(id, waiting)).is_ok() && answered.await.is_ok()
    }

    /// Hands every session there is and every later change to `follower`; blocks until it is filled.
    pub(super) fn attach(&self, follower: Arc<dyn Follower>, longest: Duration) -> Result<(), String> {
        let (filled, done) = sync_channel(1);
        self.jobs.send(Job::Attach(follower, filled)).map_err(|_| NOT_CONNECTED.to_owned())?;
        done.recv_timeout(longest).map_err(|_| "the sessions could not be read in time".to_owned())
    }

    pub(super) fn close(&self) {
        // An error means that the thread has ended already.
        let _ = self.jobs.send(Job::Close);
    }
}

pub(super) const STRANGE: &str = "the server answered something else than asked";

/// The thread's whole life.
async fn run(
    address: RedisAddress,
    jobs: UnboundedReceiver<Job>,
    first: SyncSender<Result<Timestamp, String>>,
) {
    let mut link = Loop { address, jobs, follower: None };
    let mut channel = match Channel::open(&link.address).await {
        Ok((channel, not_before)) => {
            let _ = first.send(Ok(not_before));
            channel
        }
        Err(cause) => {
            let _ = first.send(Err(cause));
            return;
        }
    };
    loop {
        let Some((cause, silence)) = Serving::new(channel).serve(&mut link).await else { return };
        tracing::error!(address = %link.address, cause, "the session store's channel is lost");
        if let Some((follower, _)) = &link.follower {
            follower.lost(&cause, silence);
        }
        channel = match link.reconnect().await {
            Some(channel) => channel,
            None => return,
        };
        tracing::warn!(address = %link.address, "the session store's channel stands again");
    }
}

/// Who follows, and who waits for the first fill.
pub(super) type Attached = (Arc<dyn Follower>, Option<SyncSender<()>>);

pub(super) struct Loop {
    address: RedisAddress,
    pub(super) jobs: UnboundedReceiver<Job>,
    pub(super) follower: Option<Attached>,
}

impl Loop {
    /// Tries until there is a connection, refusing meanwhile whatever is asked; `None` when the link is closed.
    async fn reconnect(&mut self) -> Option<Channel> {
        let attempts = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match Channel::open(&self.address).await {
                    Ok((channel, _)) => return channel,
                    Err(cause) => tracing::debug!(cause, "cannot connect to the session store"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        tokio::pin!(attempts);
        loop {
            tokio::select! {
                channel = &mut attempts => return Some(channel),
                job = self.jobs.recv() => match job? {
                    Job::Ask(_, reply) => drop(reply.send(Err(NOT_CONNECTED.into()))),
                    // The dropped sender says it.
                    Job::Fetch(..) => {}
                    Job::Attach(follower, filled) => self.follower = Some((follower, Some(filled))),
                    Job::Close => return None,
                }
            }
        }
    }
}
