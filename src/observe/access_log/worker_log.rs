//! One worker's side of the log: it puts lines into a batch and hands that over, and never waits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::observe::access_log::batch::Batch;
use crate::observe::access_log::{AccessLog, Draft, Parcel, lock};

/// Empty batches that a worker keeps, and as many on their way back: under load the writing thread is more than one behind now and then.
const SPARE: usize = 3;

/// One worker's side of the log.
#[derive(Debug)]
pub struct WorkerLog {
    pub(super) log: Arc<AccessLog>,
    pub(super) pen: RefCell<Pen>,
}

/// What a worker writes with.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) batch: Batch,
    empty: Vec<Batch>,
    /// Those that have been written come back here.
    spare: Receiver<Batch>,
    back: SyncSender<Batch>,
}

impl WorkerLog {
    /// A batch that is handed over to `log`.
    pub fn new(log: Arc<AccessLog>) -> Self {
        let (back, spare) = sync_channel(SPARE);
        Self { log, pen: RefCell::new(Pen { batch: Batch::new(), empty: Vec::new(), spare, back }) }
    }

    /// Adds the line of `draft`; hands the batch over first when there is no room in it.
    pub fn write(&self, draft: &Draft) {
        let pen = &mut *self.pen.borrow_mut();
        if pen.batch.took(draft) {
            return;
        }
        let refused = self.hand_over(pen).err().map_or(0, |full| full.len());
        // There is room in an empty one for any line.
        let left_out = u64::from(!pen.batch.took(draft));
        if refused + left_out > 0 {
            self.log.lost.add(refused + left_out);
        }
    }

    /// Hands over what there is. To be called every fraction of a second. What cannot be handed over stays for the next time.
    pub fn flush(&self) {
        let pen = &mut *self.pen.borrow_mut();
        if !pen.batch.is_empty()
            && let Err(full) = self.hand_over(pen)
        {
            pen.empty.push(std::mem::replace(&mut pen.batch, full));
        }
    }

    /// Takes up an empty batch. The full one comes back when nobody takes it.
    fn hand_over(&self, pen: &mut Pen) -> Result<(), Batch> {
        // The one that came back last is the likeliest to be near the processor still.
        pen.empty.extend(pen.spare.try_iter());
        let empty = pen.empty.pop().unwrap_or_else(Batch::new);
        pen.empty.drain(..pen.empty.len().saturating_sub(SPARE));
        let batch = std::mem::replace(&mut pen.batch, empty);
        let parcel = Parcel { batch, back: pen.back.clone() };
        let sent = self.log.sender.try_send(parcel).map_err(|refused| match refused {
            TrySendError::Full(parcel) | TrySendError::Disconnected(parcel) => parcel.batch,
        });
        self.log.writer.wake();
        sent
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
        let batch = &mut self.pen.get_mut().batch;
        if !batch.is_empty() {
            lock(&self.log.last).push(std::mem::replace(batch, Batch::of(0, 0)));
        }
    }
}
