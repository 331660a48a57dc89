//! The file of an export: JSON lines, so that it outlives the store's own format (S9).
//!
//! First a header (`format`, `version`, `created`), then one line per session (`id`: the hash of its token in hexadecimal,
//! never the token; `record`: the stored form in base64, see [`crate::session::record`]), last a trailer with the number of
//! sessions and the SHA-256 of all bytes before it. A file without its trailer is refused whole.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;

/// What the header calls the format.
pub const FORMAT: &str = "fluidgate-sessions";
/// The version of the format that this build writes.
pub const VERSION: u32 = 1;
/// Longest line read, in bytes. The longest one written has below 4 KiB.
pub const MAX_LINE: u64 = 16 * 1024;

/// One session as a line has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionLine {
    id: String,
    record: String,
}

impl SessionLine {
    /// The line of a session.
    pub fn new(id: &StoredId, record: &Record) -> Self {
        Self { id: id.to_string(), record: BASE64.encode(&record.encode()) }
    }

    /// The session of the line; `None` when this build cannot read it.
    pub fn session(&self) -> Option<(StoredId, Record)> {
        let record = BASE64.decode(self.record.as_bytes()).ok()?;
        Some((StoredId::parse(&self.id)?, Record::decode(&record).ok()?))
    }
}

/// Why a file was refused. Nothing of it may be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportFileError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first line is no header of ours.
    #[error("this is not a file that `fluidgate sessions export` wrote")]
    NotAnExport,
    /// A newer format.
    #[error("the file has version {0} of the format; this fluidgate reads version {VERSION}")]
    Version(u32),
    /// A line that is neither a session nor the trailer.
    #[error("line {0} is not a session this fluidgate can read")]
    Line(u64),
    /// The trailer is missing.
    #[error("the file is cut: its last line is missing")]
    Cut,
    /// The trailer speaks of something else.
    #[error("the file was changed: its last line does not fit what stands before it")]
    Changed,
    /// There is something behind the trailer.
    #[error("the file was changed: there is something behind its last line")]
    Behind,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    created: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Trailer {
    count: u64,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Session(SessionLine),
    Trailer(Trailer),
}

/// Writes a file line by line.
pub struct ExportWriter<W> {
    out: W,
    digest: Sha256,
    count: u64,
}

impl<W: Write> ExportWriter<W> {
    /// Begins a file made at `created`.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, created: Timestamp) -> io::Result<Self> {
        let mut writer = Self { out, digest: Sha256::new(), count: 0 };
        let header = Header { format: FORMAT.into(), version: VERSION, created: created.to_string() };
        writer.line(&header)?;
        Ok(writer)
    }

    /// Writes a session.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn push(&mut self, session: &SessionLine) -> io::Result<()> {
        self.count += 1;
        self.line(session)
    }

    /// Writes the trailer, and gives `out` and the number of sessions back.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        let trailer = Trailer { count: self.count, sha256: hex(self.digest.clone()) };
        self.line(&trailer)?;
        self.out.flush()?;
        Ok((self.out, self.count))
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.out.write_all(&line)
    }
}

/// Reads a whole file, hands every session to `each`, and answers how many there were. What `each` was given counts only if
/// this answers `Ok`: whether the file is whole is known at its end.
///
/// # Errors
/// See [`ExportFileError`].
pub fn read(mut input: impl BufRead, each: &mut dyn FnMut(SessionLine)) -> Result<u64, ExportFileError> {
    let mut digest = Sha256::new();
    let mut line = next_line(&mut input)?.ok_or(ExportFileError::NotAnExport)?;
    match serde_json::from_slice::<Header>(&line) {
        Ok(header) if header.format != FORMAT => return Err(ExportFileError::NotAnExport),
        Ok(header) if header.version != VERSION => return Err(ExportFileError::Version(header.version)),
        Ok(_) => {}
        Err(_) => return Err(ExportFileError::NotAnExport),
    }
    let mut count = 0;
    loop {
        digest.update(&line);
        line = next_line(&mut input)?.ok_or(ExportFileError::Cut)?;
        match serde_json::from_slice(&line) {
            Ok(Line::Session(session)) if session.session().is_some() => {
                count += 1;
                each(session);
            }
            Ok(Line::Trailer(_)) if !line.ends_with(b"\n") => return Err(ExportFileError::Cut),
            Ok(Line::Trailer(trailer)) if trailer == (Trailer { count, sha256: hex(digest.clone()) }) => {
                break;
            }
            Ok(Line::Trailer(_)) => return Err(ExportFileError::Changed),
            // The last line may have been cut anywhere.
            Ok(Line::Session(_)) | Err(_) if !line.ends_with(b"\n") => return Err(ExportFileError::Cut),
            Ok(Line::Session(_)) | Err(_) => return Err(ExportFileError::Line(count + 2)),
        }
    }
    match next_line(&mut input)? {
        None => Ok(count),
        Some(_) => Err(ExportFileError::Behind),
    }
}

/// The next line with its end; one that is too long comes without.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

fn hex(digest: Sha256) -> String {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "{}", HEXLOWER.encode_display(&digest.finalize()));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::identity::LoginMethod;
    use crate::session::record::Origin;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn record(user: &str) -> Record {
        Record {
            user: user.into(),
            method: LoginMethod::Password,
            credential: [7; 16],
            created_at: Timestamp::from_secs(1),
            last_seen_at: Timestamp::from_secs(2),
            absolute_at: Timestamp::from_secs(3),
            origin: Origin::new(Some([192, 0, 2, 1].into()), Some("Browser/1")),
        }
    }

    fn file(sessions: &[(StoredId, Record)]) -> Vec<u8> {
        let mut writer = ExportWriter::new(Vec::new(), NOW).unwrap();
        for (id, record) in sessions {
            writer.push(&SessionLine::new(id, record)).unwrap();
        }
        writer.finish().unwrap().0
    }

    fn three() -> Vec<u8> {
        let ids = (1..=3).map(|n| StoredId::from_bytes([n; 32]));
        file(&ids.map(|id| (id, record("ada"))).collect::<Vec<_>>())
    }

    fn outcome(bytes: &[u8]) -> Result<u64, ExportFileError> {
        read(bytes, &mut |_| {})
    }

    /// The bytes that version 1 wrote. They never change: a build that cannot read them loses what people kept.
    #[test]
    fn the_stored_fixture_of_version_1_loads() {
        let text = String::from_utf8(file(&[(StoredId::from_bytes([1; 32]), record("ada"))])).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"format":"fluidgate-sessions","version":1,"created":"2027-01-15T08:00:00.000Z"}"#
        );
        assert_eq!(
            lines[1],
            r#"{"id":"0101010101010101010101010101010101010101010101010101010101010101","record":"AegDAAAAAAAA0AcAAAAAAAC4CwAAAAAAAAcHBwcHBwcHBwcHBwcHBwcBAwBhZGEEwAACAQkAQnJvd3Nlci8x"}"#
        );
        assert_eq!(outcome(text.as_bytes()).unwrap(), 1);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let bytes = three();
        for len in 0..bytes.len() - 1 {
            assert!(outcome(&bytes[..len]).is_err(), "cut at {len}");
        }
        let without_trailer = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        assert!(matches!(outcome(&bytes[..without_trailer]), Err(ExportFileError::Cut)));
        assert!(matches!(outcome(&bytes[..without_trailer - 9]), Err(ExportFileError::Cut)));
    }

    #[test]
    fn a_line_taken_out_or_put_behind_is_noticed() {
        let text = String::from_utf8(three()).unwrap();
        let less: String =
            text.lines().filter(|line| !line.contains("0202")).map(|l| format!("{l}\n")).collect();
        assert!(matches!(outcome(less.as_bytes()), Err(ExportFileError::Changed)));
        assert!(matches!(outcome(format!("{text}\n").as_bytes()), Err(ExportFileError::Behind)));
        assert!(matches!(outcome(b"{}\n"), Err(ExportFileError::NotAnExport)));
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(outcome(newer.as_bytes()), Err(ExportFileError::Version(2))));
        let odd = text.replacen("\"record\":\"AegD", "\"record\":\"CegD", 1);
        assert!(matches!(outcome(odd.as_bytes()), Err(ExportFileError::Line(2))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(users in prop::collection::vec("\\PC{1,40}", 0..8), seed: [u8; 32], moment: u64) {
            let sessions: Vec<_> = users.iter().enumerate().map(|(n, user)| {
                let mut id = seed;
                id[0] = u8::try_from(n).unwrap();
                let record = Record { created_at: Timestamp::from_millis(moment), ..record(user) };
                (StoredId::from_bytes(id), record)
            }).collect();
            let mut found = Vec::new();
            let count = read(&*file(&sessions), &mut |line| found.push(line.session().unwrap())).unwrap();
            prop_assert_eq!(count, u64::try_from(sessions.len()).unwrap());
            prop_assert_eq!(found, sessions);
        }

        #[test]
        fn no_changed_byte_goes_unnoticed(at: prop::sample::Index, change in 1u8..) {
            let mut bytes = three();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(outcome(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            prop_assert!(outcome(&bytes).is_err());
        }
    }
}
