//! The marker: a small file beside the store that remembers, through `fdatasync`, which store belongs here and how far its
//! acknowledged endings had come (S12). Whatever then happens to the store (emptied, cut off, replaced by yesterday's copy),
//! it can neither be taken for a fresh one nor bring back a session that had been logged out.
//!
//! Two slots in different sectors are written in turn, so that a torn write costs at most the newest. Integers little-endian:
//! `FGMARK01`, creation id (16), commits, not-before, latest moment, write counter (u64 each), SHA-256 of those cut to 16.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::session::store::folder::{beside, sync_parent};

const MAGIC: [u8; 8] = *b"FGMARK01";
const BODY: usize = 8 + 16 + 4 * 8;
const SLOT: usize = BODY + 16;
/// Where the slots begin.
const OFFSETS: [u64; 2] = [0, 4096];

/// What the marker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    /// Random id of the store this marker belongs to.
    pub(super) creation_id: [u8; 16],
    /// The store has made at least this many commits.
    pub(super) commits: u64,
    /// Sessions created at or before this moment are over.
    pub(super) not_before: Timestamp,
    /// The latest moment a record spoke of.
    pub(super) latest: Timestamp,
}

/// The open marker file.
pub(super) struct MarkerFile {
    file: File,
    counter: u64,
}

impl MarkerFile {
    /// Where the marker of the store in `folder` lies: beside it, so that what happens to the folder does not happen to it.
    pub(super) fn path_for(folder: &Path) -> PathBuf {
        beside(folder, ".marker")
    }

    /// Opens or makes the marker; `None` beside it when it is new or says nothing readable.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<Marker>)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let newest = read_newest(&file)?;
        if newest.is_none() {
            sync_parent(path)?;
        }
        let counter = newest.map_or(0, |(_, counter)| counter);
        Ok((Self { file, counter }, newest.map(|(marker, _)| marker)))
    }

    /// Reads a marker without opening the store.
    pub(super) fn peek(path: &Path) -> Option<Marker> {
        read_newest(&File::open(path).ok()?).ok()?.map(|(marker, _)| marker)
    }

    /// Writes `marker` and returns once it would survive a power cut.
    pub(super) fn write(&mut self, marker: &Marker) -> io::Result<()> {
        self.counter += 1;
        let [first, second] = OFFSETS;
        let offset = if self.counter.is_multiple_of(2) { first } else { second };
        self.file.write_all_at(&encode(marker, self.counter), offset)?;
        self.file.sync_data()
    }
}

fn read_newest(file: &File) -> io::Result<Option<(Marker, u64)>> {
    let mut newest: Option<(Marker, u64)> = None;
    for offset in OFFSETS {
        let mut slot = [0; SLOT];
        match file.read_exact_at(&mut slot, offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        let found = decode(&slot);
        if found.map(|(_, counter)| counter) > newest.map(|(_, counter)| counter) {
            newest = found;
        }
    }
    Ok(newest)
}

fn encode(marker: &Marker, counter: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&marker.creation_id);
    for number in [marker.commits, marker.not_before.as_millis(), marker.latest.as_millis(), counter] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let check = checksum(&out);
    out.extend_from_slice(&check);
    out
}

fn decode(slot: &[u8; SLOT]) -> Option<(Marker, u64)> {
    let (body, check) = slot.split_at_checked(BODY)?;
    if checksum(body) != check {
        return None;
    }
    let (creation_id, mut numbers) = body.strip_prefix(&MAGIC)?.split_first_chunk::<16>()?;
    let mut number = || {
        let (head, rest) = numbers.split_first_chunk::<8>()?;
        numbers = rest;
        Some(u64::from_le_bytes(*head))
    };
    let marker = Marker {
        creation_id: *creation_id,
        commits: number()?,
        not_before: Timestamp::from_millis(number()?),
        latest: Timestamp::from_millis(number()?),
    };
    Some((marker, number()?))
}

/// Any bytes with a true checksum behind them: the one form of a slot, or none.
#[cfg(any(test, fuzzing))]
pub(super) fn check_slot(data: &[u8]) {
    let mut slot = [0; SLOT];
    slot.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let as_it_is = decode(&slot);
    if let Some((marker, counter)) = as_it_is {
        assert_eq!(encode(&marker, counter), slot);
    }
    let (body, check) = slot.split_at_mut(BODY);
    check.copy_from_slice(&checksum(body));
    if let Some((marker, counter)) = decode(&slot) {
        assert_eq!(encode(&marker, counter), slot);
    }
}

fn checksum(body: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(body).into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(commits: u64) -> Marker {
        Marker {
            creation_id: [3; 16],
            commits,
            not_before: Timestamp::from_secs(4),
            latest: Timestamp::from_secs(5),
        }
    }

    #[test]
    fn the_newest_write_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let (mut file, found) = MarkerFile::open(&path).unwrap();
        assert_eq!(found, None);
        for commits in 1..6 {
            file.write(&marker(commits)).unwrap();
            assert_eq!(MarkerFile::peek(&path), Some(marker(commits)));
        }
        let (mut file, found) = MarkerFile::open(&path).unwrap();
        assert_eq!(found, Some(marker(5)));
        file.write(&marker(6)).unwrap();
        assert_eq!(MarkerFile::peek(&path), Some(marker(6)));
    }

    #[test]
    fn a_torn_newest_write_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let (mut file, _) = MarkerFile::open(&path).unwrap();
        file.write(&marker(1)).unwrap();
        file.write(&marker(2)).unwrap();
        file.file.write_all_at(b"torn", OFFSETS[0] + 20).unwrap();
        assert_eq!(MarkerFile::peek(&path), Some(marker(1)));
        file.file.write_all_at(b"torn", OFFSETS[1] + 20).unwrap();
        assert_eq!(MarkerFile::peek(&path), None);
    }
}
