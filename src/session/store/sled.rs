//! The embedded store (being built: this stand-in keeps sessions in memory).
use std::path::Path;

use crate::base::clock::Timestamp;
use crate::base::secret::Random;
use crate::session::store::MemoryStore;

/// Why the embedded store does not open.
#[derive(Debug, thiserror::Error)]
pub enum SledError {
    /// Somebody else has it open.
    #[error("in use")]
    InUse,
}

/// See the module doc.
pub struct SledStore;

impl SledStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Never yet.
    pub fn open(_folder: &Path, _now: Timestamp, _random: &dyn Random) -> Result<MemoryStore, SledError> {
        Ok(MemoryStore::default())
    }
}
