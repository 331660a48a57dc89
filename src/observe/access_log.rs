//! One line per request, written into a page of the worker and from there to its target by a thread of its own.
//!
//! A worker never waits: it hands full pages over a bounded channel and gets them back empty, and when the disk cannot keep up,
//! whole pages are dropped and counted. Cookies, tokens, credentials and query strings are never logged.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crate::observe::access_log::draft::Draft;
pub use crate::observe::access_log::line::{Opening, Outcome};
use crate::observe::access_log::moment::Seconds;
use crate::observe::access_log::page::Page;
use crate::observe::log_target::LogTarget;

mod draft;
pub(in crate::observe) mod escape;
mod line;
pub(in crate::observe) mod moment;
pub(in crate::observe) mod page;

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
    format: Format,
    sender: SyncSender<Batch>,
    /// The last page of each worker that ended while the thread was behind: a worker does not wait for it even then.
    last: Arc<Mutex<Vec<Page>>>,
    dropped: Arc<AtomicU64>,
}

/// Lines on their way to the writing thread, and where their page goes back to.
struct Batch {
    page: Page,
    back: SyncSender<Page>,
}

/// Pages that may wait for the disk: 4 MiB when all are full.
const WAITING: usize = 32;
/// Empty pages that a worker keeps: under load the writing thread is more than one behind now and then.
const SPARE: usize = 3;

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
        let (sender, receiver): (_, Receiver<Batch>) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let last = Arc::new(Mutex::new(Vec::new()));
        let (lost, left, mut target) =
            (Arc::clone(&dropped), Arc::clone(&last), LogTarget::new("access", sink));
        let thread = LogThread::start("access-log", move || {
            for Batch { mut page, back } in receiver {
                lost.fetch_add(u64::from(!target.write(page.lines())), Ordering::Relaxed);
                page.clear();
                // Its worker may have enough, or be gone.
                let _ = back.try_send(page);
            }
            for page in lock(&left).drain(..) {
                lost.fetch_add(u64::from(!target.write(page.lines())), Ordering::Relaxed);
            }
        })?;
        Ok((Arc::new(Self { format, sender, last, dropped }), thread))
    }

    /// Pages dropped because the disk could not keep up, or could not be written at all.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn lock(last: &Mutex<Vec<Page>>) -> MutexGuard<'_, Vec<Page>> {
    // Pages are only put in and taken out under the lock.
    last.lock().unwrap_or_else(PoisonError::into_inner)
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
    pen: RefCell<Pen>,
}

/// What a worker writes with.
#[derive(Debug)]
struct Pen {
    page: Page,
    seconds: Seconds,
    /// Pages that have been written come back here.
    spare: Receiver<Page>,
    back: SyncSender<Page>,
}

impl WorkerLog {
    /// A page that is handed over to `log`.
    pub fn new(log: Arc<AccessLog>) -> Self {
        let (back, spare) = sync_channel(SPARE);
        Self { log, pen: RefCell::new(Pen { page: Page::new(), seconds: Seconds::default(), spare, back }) }
    }

    /// Begins a line. The draft is to be used for nothing else until the line has been written.
    pub fn begin(&self, draft: &mut Draft, opening: &Opening<'_>) {
        draft.begin(self.log.format, opening, &mut self.pen.borrow_mut().seconds);
    }

    /// Adds the line that `draft` has begun; hands the page over first when the line has no room on it.
    pub fn write(&self, draft: &Draft, outcome: &Outcome<'_>) {
        let pen = &mut *self.pen.borrow_mut();
        let format = self.log.format;
        if pen.page.wrote(|space| draft.write(format, outcome, space)) {
            return;
        }
        let kept = self.hand_over(pen).is_ok();
        // No line is longer than a page.
        if !pen.page.wrote(|space| draft.write(format, outcome, space)) || !kept {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands over what there is. To be called every fraction of a second. What cannot be handed over stays for the next time.
    pub fn flush(&self) {
        let pen = &mut *self.pen.borrow_mut();
        if !pen.page.lines().is_empty()
            && let Err(full) = self.hand_over(pen)
        {
            pen.page = full;
        }
    }

    /// Takes up an empty page. The full one comes back when nobody takes it.
    fn hand_over(&self, pen: &mut Pen) -> Result<(), Page> {
        let empty = pen.spare.try_recv().unwrap_or_else(|_| Page::new());
        let page = std::mem::replace(&mut pen.page, empty);
        let batch = Batch { page, back: pen.back.clone() };
        self.log.sender.try_send(batch).map_err(|refused| match refused {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch.page,
        })
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
        let page = &mut self.pen.get_mut().page;
        if !page.lines().is_empty() {
            lock(&self.log.last).push(std::mem::replace(page, Page::of(0)));
        }
    }
}

/// A line as it is written.
#[cfg(any(test, fuzzing))]
pub(in crate::observe) fn line(format: Format, opening: &Opening<'_>, outcome: &Outcome<'_>) -> Vec<u8> {
    let (mut draft, mut page) = (Draft::default(), Page::new());
    draft.begin(format, opening, &mut Seconds::default());
    assert!(page.wrote(|space| draft.write(format, outcome, space)), "no line is longer than a page");
    page.lines().to_vec()
}

#[cfg(test)]
mod tests;
