//! The ledger: which sessions ever left this store in an export or came into it by an import. A session that stands here and
//! is not live has ended since, so no import may bring it back. It lies beside the store, so that what happens to the store's
//! folder does not happen to it, and is replaced whole.
//!
//! `FGLEDG01`, then per session 32 bytes of id and its absolute limit (u64 milliseconds, little-endian), then a SHA-256 of all
//! that cut to 16. A session past its absolute limit is left out of the next writing: it is over in every copy.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::store::folder::beside;

const MAGIC: [u8; 8] = *b"FGLEDG01";
const ENTRY: usize = 32 + 8;
const CHECK: usize = 16;

/// See the module doc.
pub(in crate::session) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger of the store in `folder`.
    pub(in crate::session) fn beside(folder: &Path) -> Self {
        Self { path: beside(folder, ".ledger") }
    }

    /// Enters `sessions`, durably on return, and gives those of them that stood there before.
    pub(in crate::session) fn exchange(
        &self,
        sessions: &[(StoredId, Timestamp)],
        now: Timestamp,
    ) -> io::Result<HashSet<StoredId>> {
        let mut entries = self.read()?;
        let known = sessions.iter().map(|(id, _)| *id).filter(|id| entries.contains_key(id)).collect();
        entries.retain(|_, until| *until > now);
        for (id, until) in sessions {
            let stored = entries.entry(*id).or_default();
            *stored = (*stored).max(*until);
        }
        self.write(&entries)?;
        Ok(known)
    }

    fn read(&self) -> io::Result<BTreeMap<StoredId, Timestamp>> {
        match fs::read(&self.path) {
            Ok(bytes) => decode(&bytes).ok_or_else(|| {
                let shown = self.path.display();
                io::Error::new(io::ErrorKind::InvalidData, format!("{shown} is damaged"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, entries: &BTreeMap<StoredId, Timestamp>) -> io::Result<()> {
        let fresh = beside(&self.path, ".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&encode(entries))?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn encode(entries: &BTreeMap<StoredId, Timestamp>) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + entries.len() * ENTRY + CHECK);
    out.extend_from_slice(&MAGIC);
    for (id, until) in entries {
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&until.as_millis().to_le_bytes());
    }
    let check = checksum(&out);
    out.extend_from_slice(&check);
    out
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<StoredId, Timestamp>> {
    let (body, check) = bytes.split_last_chunk::<CHECK>()?;
    if checksum(body) != *check {
        return None;
    }
    let (entries, rest) = body.strip_prefix(&MAGIC)?.as_chunks::<ENTRY>();
    let entry = |bytes: &[u8; ENTRY]| {
        let (id, until) = bytes.split_first_chunk::<32>()?;
        let until = Timestamp::from_millis(u64::from_le_bytes(until.try_into().ok()?));
        Some((StoredId::from_bytes(*id), until))
    };
    rest.is_empty().then(|| entries.iter().map(entry).collect())?
}

fn checksum(body: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 32] = Sha256::digest(body).into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);
    const LATER: Timestamp = Timestamp::from_secs(200);

    fn id(n: u8) -> StoredId {
        StoredId::from_bytes([n; 32])
    }

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::beside(&folder.path().join("sessions"));
        (folder, ledger)
    }

    #[test]
    fn what_was_exchanged_is_known_the_next_time() {
        let (_folder, ledger) = ledger();
        assert!(ledger.exchange(&[(id(1), LATER), (id(2), LATER)], NOW).unwrap().is_empty());
        let known = ledger.exchange(&[(id(2), LATER), (id(3), LATER)], NOW).unwrap();
        assert_eq!(known, HashSet::from([id(2)]));
        assert_eq!(ledger.exchange(&[(id(1), LATER)], NOW).unwrap(), HashSet::from([id(1)]));
    }

    #[test]
    fn a_session_past_its_absolute_limit_is_forgotten() {
        let (_folder, ledger) = ledger();
        ledger.exchange(&[(id(1), LATER)], NOW).unwrap();
        ledger.exchange(&[], LATER).unwrap();
        assert!(ledger.read().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_ledger_is_refused_and_left_as_it_is() {
        let (_folder, ledger) = ledger();
        ledger.exchange(&[(id(1), LATER)], NOW).unwrap();
        let mut bytes = fs::read(&ledger.path).unwrap();
        bytes[20] ^= 1;
        fs::write(&ledger.path, &bytes).unwrap();
        let error = ledger.exchange(&[(id(2), LATER)], NOW).unwrap_err();
        assert!(error.to_string().ends_with("sessions.ledger is damaged"), "{error}");
        assert_eq!(fs::read(&ledger.path).unwrap(), bytes);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = encode(&BTreeMap::from([(id(1), LATER), (id(2), LATER)]));
        assert_eq!(decode(&bytes).unwrap().len(), 2);
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "cut at {len}");
        }
    }
}
