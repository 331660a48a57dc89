//! `fluidgate sessions export` and `import`: between the gateway and a file of [`export_file`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::SessionsError;
use super::client::{Client, ClientError};
use crate::base::clock::{Clock, SystemClock};
use crate::gateway::admin::protocol::{Count, ImportCounts, Request, Upload, VERSION, Verb};
use crate::session::StoredId;
use crate::session::export_file::{self, ExportFileError, ExportWriter, SessionLine};
use crate::session::record::Record;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// There is a file already.
    #[error("{} is there already; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// The file is not a whole export.
    #[error("{}: {cause}; nothing was imported", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: ExportFileError,
    },
}

/// Where the sessions of an export come from.
pub(super) enum Source {
    /// A running gateway.
    Gateway(Client),
    /// A store at rest.
    Store(Vec<(StoredId, Record)>),
}

/// Writes the live sessions to `path`, mode 0600, whole or not at all, and says how many they are.
///
/// # Errors
/// When the gateway or the file system fails, or there is a file and `force` is not given. What was at `path` stays.
pub(super) fn export(source: Source, path: &Path, force: bool) -> Result<usize, SessionsError> {
    let io = |cause: io::Error| ExchangeError::Io { path: path.into(), cause };
    let temporary = beside(path, ".new");
    if !force && fs::symlink_metadata(path).is_ok() {
        return Err(ExchangeError::Exists(path.into()).into());
    }
    // A leftover of a run that was killed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error).into()),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(io)?;
    let written = write(source, file, io).and_then(|count| {
        place(&temporary, path, force).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => ExchangeError::Exists(path.into()),
            _ => io(error),
        })?;
        Ok(count)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write(
    source: Source,
    file: File,
    io: impl Fn(io::Error) -> ExchangeError,
) -> Result<usize, SessionsError> {
    let mut writer = ExportWriter::new(BufWriter::new(file), SystemClock::default().now()).map_err(&io)?;
    let count = match source {
        Source::Gateway(client) => {
            let asked = client.ask(Verb::Export, &mut |session| writer.push(&session));
            let Count { count } = asked.map_err(|error| match error {
                ClientError::Keep(error) => io(error).into(),
                other => SessionsError::from(other),
            })?;
            count
        }
        Source::Store(records) => {
            for (id, record) in &records {
                writer.push(&SessionLine::new(id, record)).map_err(&io)?;
            }
            records.len()
        }
    };
    let (out, written) = writer.finish().map_err(&io)?;
    if u64::try_from(count) != Ok(written) {
        return Err(ClientError::Odd.into());
    }
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(count)
}

/// Gives the whole file its name: over what is there when `force` is given, else only if nothing came there meanwhile.
fn place(temporary: &Path, path: &Path, force: bool) -> io::Result<()> {
    if force {
        fs::rename(temporary, path)?;
    } else {
        fs::hard_link(temporary, path)?;
        fs::remove_file(temporary)?;
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads the file at `path` to its end before the gateway hears of it, then hands it over.
///
/// # Errors
/// When the file is not whole, or the gateway refuses.
pub(super) fn import(
    connect: impl FnOnce() -> Result<Client, SessionsError>,
    path: &Path,
) -> Result<ImportCounts, SessionsError> {
    let io = |cause| ExchangeError::Io { path: path.into(), cause };
    let mut lines = Vec::new();
    let read = export_file::read(BufReader::new(File::open(path).map_err(io)?), &mut |line| lines.push(line));
    read.map_err(|cause| ExchangeError::Content { path: path.into(), cause })?;
    let mut client = connect()?;
    client.send(&Request { version: VERSION, verb: Verb::Import })?;
    let count = lines.len();
    for line in lines {
        client.send(&Upload::Item(line))?;
    }
    client.send(&Upload::End(Count { count }))?;
    Ok(client.answer(&mut |(): ()| Ok(()))?)
}

/// What came of an import: a line per kind that occurred.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn write_counts(out: &mut impl Write, counts: &ImportCounts) -> io::Result<()> {
    writeln!(out, "imported {}", super::sessions(counts.imported))?;
    for (count, why) in [
        (counts.present, "there already"),
        (counts.expired, "expired"),
        (counts.ended, "ended at this gateway, and not brought back"),
        (counts.disowned, "of users who are gone or have a new password"),
        (counts.future, "begun in the future, by the gateway's clock"),
        (counts.at_cap, "more than `session.max_per_user` lets their user have"),
    ] {
        if count > 0 {
            writeln!(out, "left out {count}: {why}")?;
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
