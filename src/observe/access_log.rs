//! One line per request: put down in a batch of the worker, and made text and written to its target by a thread of its own.
//!
//! A worker never waits: it hands full batches over a bounded channel and gets them back empty, and when the thread or the target cannot keep up,
//! whole batches are dropped and their lines counted. Cookies, tokens, credentials and query strings are never logged.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::observe::access_log::batch::Batch;
pub use crate::observe::access_log::draft::Draft;
pub use crate::observe::access_log::line::{Opening, Outcome};
use crate::observe::access_log::scribe::Scribe;
pub use crate::observe::access_log::worker_log::WorkerLog;
#[cfg(any(test, fuzzing))]
use crate::observe::access_log::{moment::Seconds, page::Page};
use crate::observe::log_target::LogTarget;
use crate::observe::lost_lines::LostLines;

mod batch;
mod draft;
pub(in crate::observe) mod escape;
mod line;
mod moment;
mod page;
mod scribe;
mod worker_log;

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

/// The log of the whole process. Dropping the last handle ends the writing thread after it has written everything.
#[derive(Debug)]
pub struct AccessLog {
    sender: SyncSender<Parcel>,
    /// Goes after the sender, so that the thread sees that it has gone.
    writer: Sleeper,
    /// The last batch of each worker that ended while the thread was behind: a worker does not wait for it even then.
    last: Arc<Mutex<Vec<Batch>>>,
    lost: LostLines,
}

/// The writing thread, asleep while there is nothing to write. It waits by itself and not in the channel, whose sender would wake it
/// with the channel's lock in hand: on the same core the thread would run at once, find the lock taken, and sleep again.
#[derive(Debug)]
struct Sleeper(Thread);

impl Sleeper {
    fn wake(&self) {
        self.0.unpark();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Lines on their way to the writing thread, and where their batch goes back to.
struct Parcel {
    batch: Batch,
    back: SyncSender<Batch>,
}

/// Batches that may wait for the disk: 5 MiB when all are full.
const WAITING: usize = 32;

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
        let (sender, receiver): (_, Receiver<Parcel>) = sync_channel(WAITING);
        let lost = LostLines::default();
        let last = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::clone(&last);
        let mut scribe = Scribe::new(format, LogTarget::new("access", sink, lost.clone()));
        let thread = LogThread::start("access-log", move || {
            loop {
                match receiver.try_recv() {
                    Ok(Parcel { mut batch, back }) => {
                        scribe.write(&batch);
                        batch.clear();
                        // Its worker may have enough, or be gone.
                        let _ = back.try_send(batch);
                    }
                    Err(TryRecvError::Empty) => std::thread::park(),
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            for batch in lock(&left).drain(..) {
                scribe.write(&batch);
            }
        })?;
        let writer = Sleeper(thread.thread.clone());
        Ok((Arc::new(Self { sender, writer, last, lost }), thread))
    }

    /// What it may have lost.
    pub fn lost(&self) -> LostLines {
        self.lost.clone()
    }
}

fn lock(last: &Mutex<Vec<Batch>>) -> MutexGuard<'_, Vec<Batch>> {
    // Batches are only put in and taken out under the lock.
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that writes a log.
#[derive(Debug)]
pub struct LogThread {
    ended: Receiver<Infallible>,
    thread: Thread,
}

impl LogThread {
    pub(super) fn start(name: &str, write: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (running, ended) = channel();
        let handle = std::thread::Builder::new().name(name.into()).spawn(move || {
            write();
            drop(running);
        })?;
        Ok(Self { ended, thread: handle.thread().clone() })
    }

    /// Waits until the thread has ended, but no longer than `patience`: a target that nobody reads must not keep the process
    /// from ending. False when it had to be left.
    pub fn ended_within(&self, patience: Duration) -> bool {
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// A line as it is written.
#[cfg(any(test, fuzzing))]
pub(in crate::observe) fn line(format: Format, draft: &Draft) -> Vec<u8> {
    let (mut batch, mut page) = (Batch::new(), Page::new());
    assert!(batch.took(draft), "there is room for one");
    let wrote = batch.lines().all(|line| page.wrote(|out| line.formed(format, &mut Seconds::default(), out)));
    assert!(wrote, "no line is longer than a page");
    page.lines().to_vec()
}

#[cfg(test)]
mod tests;
