//! Whether what is written from now on will be found again.

use super::{Open, SledError, SledStore};
use crate::session::store::Distrust;

/// Above this the trial is left out: what sled keeps of its first opening (32 MiB for a million sessions) is not given back.
const LARGEST: u64 = 64 << 20;

impl SledStore {
    /// Writes a commit that changes nothing, closes the store, opens it again and looks for that commit.
    ///
    /// sled takes its snapshot's word for the log before it, and writes on behind it even where that part cannot be read, such as
    /// the head of the segment it is in. All records are there then; but the next opening stops at the damaged place and finds
    /// nothing of what was written behind it. No count kept anywhere could tell that beforehand, so it is tried. A disk that takes
    /// no write proves nothing, and the start goes on with what there is.
    pub(super) fn try_the_log(&mut self) -> Result<(), SledError> {
        let Some(Open { summary, distrust: None, ref data, .. }) = self.open else { return Ok(()) };
        let size = data.metadata().map_err(|error| self.folder.error(error))?.len();
        if summary.commits == 0 || size > LARGEST {
            return Ok(());
        }
        let written = self.guarded(|_, open| open.write(sled::Batch::default(), summary));
        self.open = None;
        self.open_sled()?;
        if let Some(open) = &mut self.open
            && written.is_ok()
            && open.summary.commits <= summary.commits
        {
            open.distrust = Some(Distrust::Unwritable);
        }
        Ok(())
    }
}
