//! The hash pool (X15): a fixed number of low-priority threads behind a bounded queue.
//!
//! Memory: each thread keeps one arena, so the pool holds `threads` × `memory_kib`. A stored hash with a higher cost of its
//! own raises that to its cost for as long as it is checked, and the thread gives the surplus back afterwards.
//!
//! The threads run at nice 10: under load, proxying keeps about nine tenths of a core, and logins still go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::HashingSettings;
use super::password::{Arena, StoredHash};
use crate::base::secret::Secret;

/// The pool. Dropping it ends the threads once the queue is worked off.
pub(super) struct Pool {
    queue: SyncSender<Job>,
    runs: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

/// The pool could not take the job: the queue is full, or its threads are gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

struct Job {
    hash: Arc<StoredHash>,
    password: Secret,
    verdict: oneshot::Sender<bool>,
    waits: Waiting,
}

/// Counts a job for as long as no thread has taken it.
struct Waiting(Arc<AtomicU64>);

impl Waiting {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Starts `settings.threads` threads (at least one).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(settings: HashingSettings) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(settings.queue);
        let jobs = Arc::new(Mutex::new(jobs));
        let runs = Arc::new(AtomicU64::new(0));
        let keep = usize::try_from(settings.memory_kib).unwrap_or(usize::MAX);
        for index in 0..settings.threads.max(1) {
            let (jobs, runs) = (Arc::clone(&jobs), Arc::clone(&runs));
            std::thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || work(&jobs, &runs, keep))?;
        }
        Ok(Self { queue, runs, waiting: Arc::default() })
    }

    /// Whether `password` matches `hash`.
    ///
    /// # Errors
    /// [`Overflow`] when nothing was checked. Dropping the future while the job still waits leaves it unhashed.
    pub(super) async fn verify(&self, hash: Arc<StoredHash>, password: Secret) -> Result<bool, Overflow> {
        let (verdict, answer) = oneshot::channel();
        let waits = Waiting::new(&self.waiting);
        self.queue.try_send(Job { hash, password, verdict, waits }).map_err(|_| Overflow)?;
        answer.await.map_err(|_| Overflow)
    }

    /// How many hashes have been run since the start.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// How many jobs wait for a thread.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, runs: &AtomicU64, keep: usize) {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), 10) {
        tracing::warn!(%error, "the hash thread keeps normal priority");
    }
    let mut arena = Arena::default();
    loop {
        // The lock is held while waiting: one thread waits for the next job, the others wait for their turn to wait.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { hash, password, verdict: answer, waits }) = next else { return };
        drop(waits);
        if answer.is_closed() {
            continue;
        }
        runs.fetch_add(1, Ordering::Relaxed);
        // A panic answers nothing, which the caller takes for a refusal to serve, and the thread lives on.
        let verdict = catch_unwind(AssertUnwindSafe(|| hash.verify(&password, &mut arena)));
        arena.shrink_to(keep);
        if let Ok(matches) = verdict {
            let _ = answer.send(matches);
        }
    }
}

#[cfg(test)]
impl Pool {
    /// A pool that takes no job, for tests of the overflow.
    pub(super) fn without_room() -> Self {
        Self { queue: sync_channel(0).0, runs: Arc::default(), waiting: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::SystemRandom;

    fn settings(queue: usize) -> HashingSettings {
        HashingSettings { memory_kib: 64, iterations: 1, threads: 1, queue }
    }

    fn password() -> Secret {
        Secret::new(b"guess".to_vec())
    }

    /// A pool without threads: what is sent stays in the queue.
    fn stopped(queue: usize) -> (Pool, Receiver<Job>) {
        let (queue, jobs) = sync_channel(queue);
        (Pool { queue, runs: Arc::default(), waiting: Arc::default() }, jobs)
    }

    #[tokio::test]
    async fn one_check_is_one_hash() {
        let pool = Pool::start(settings(4)).unwrap();
        let decoy = Arc::new(StoredHash::decoy(settings(4), &SystemRandom).unwrap());
        assert_eq!(pool.verify(decoy, password()).await, Ok(false));
        assert_eq!(pool.runs(), 1);
    }

    #[tokio::test]
    async fn a_full_queue_overflows_at_once() {
        let (pool, jobs) = stopped(1);
        let decoy = Arc::new(StoredHash::decoy(settings(1), &SystemRandom).unwrap());
        let first = pool.verify(Arc::clone(&decoy), password());
        let second = async { pool.verify(decoy, password()).await };
        tokio::select! {
            biased;
            _ = first => panic!("no thread could have answered"),
            overflow = second => assert_eq!(overflow, Err(Overflow)),
        }
        assert_eq!(pool.waiting(), 1, "the one in the queue");
        drop(jobs);
        assert_eq!(pool.waiting(), 0);
    }

    #[test]
    fn a_caller_that_went_away_costs_no_hash() {
        let (queue, jobs) = sync_channel(4);
        let decoy = Arc::new(StoredHash::decoy(settings(4), &SystemRandom).unwrap());
        let (verdict, _) = oneshot::channel();
        let waits = Waiting::new(&Arc::default());
        queue.send(Job { hash: decoy, password: password(), verdict, waits }).unwrap();
        drop(queue);
        let runs = AtomicU64::new(0);
        work(&Mutex::new(jobs), &runs, 64);
        assert_eq!(runs.into_inner(), 0);
    }

    #[test]
    fn the_hash_threads_run_at_nice_ten() {
        let (queue, jobs) = sync_channel::<Job>(1);
        drop(queue);
        let nice = std::thread::spawn(move || {
            work(&Mutex::new(jobs), &AtomicU64::new(0), 64);
            rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap()
        });
        assert!(nice.join().unwrap() >= 10);
    }
}
