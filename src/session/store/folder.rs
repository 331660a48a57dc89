//! The store's folder on disk, and opening sled in it without believing that it will go well.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Why the embedded store does not open. The texts are for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub enum SledError {
    /// Somebody else has it open.
    #[error("the session store {} is in use by another process: is the gateway running already?", path.display())]
    InUse {
        /// The store's folder.
        path: PathBuf,
    },
    /// It is damaged.
    #[error(
        "the session store {} is damaged ({cause}): move that folder away and start again; everybody will have to log in once more",
        path.display()
    )]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// What sled said.
        cause: String,
    },
    /// Others may write the folder, or rename it in the one it stands in.
    #[error("anyone may change {}, where the session store is: mend it with `chmod go-w {}`", folder.display(), folder.display())]
    Loose {
        /// The folder that is too open.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("cannot use the session store {}: {source}", path.display())]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Refuses a folder that everyone may write, and one that stands in such a folder: its records could be exchanged.
fn refuse_loose(path: &Path) -> Result<(), SledError> {
    /// Writable by everyone, sticky: only the owner of an entry may rename it, as in /tmp.
    const STICKY: u32 = 0o1000;
    let whole = path.canonicalize().map_err(|source| SledError::Io { path: path.into(), source })?;
    let parent = whole.parent().map(|parent| (parent, STICKY));
    for (folder, excuse) in [(whole.as_path(), 0)].into_iter().chain(parent) {
        let found = fs::metadata(folder).map_err(|source| SledError::Io { path: path.into(), source })?;
        let mode = found.permissions().mode();
        if mode & 0o002 != 0 && mode & excuse == 0 {
            return Err(SledError::Loose { folder: folder.into() });
        }
    }
    Ok(())
}

thread_local! {
    /// Set while this thread opens sled: a panic then is an error and prints nothing. No thread of its own, because what sled
    /// lets go of while it opens (25 MiB for a million sessions) would stay in that thread's part of the heap.
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Where files go that are not trusted any more.
const ASIDE: &str = "damaged";
/// sled's own page cache. The table holds what requests need; sled is read at start only.
const CACHE: u64 = 16 * 1024 * 1024;

/// The folder, locked by us.
pub(super) struct Folder {
    path: PathBuf,
    /// sled has a lock of its own, but takes it after it has begun to look into its files.
    _lock: Lock,
}

/// A lock that is held, and freed by name: a child that another thread starts holds the same open file until it runs its own
/// program, and would keep a lock that is merely closed.
pub(in crate::session) struct Lock(File);

impl Lock {
    /// Takes the lock on `file`.
    pub(in crate::session) fn take(file: File) -> Result<Self, fs::TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Folder {
    /// Makes the folder when it is missing (0700), and takes the lock that lies beside it.
    pub(super) fn lock(path: &Path) -> Result<Self, SledError> {
        let io = |source| SledError::Io { path: path.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        // Ours alone, unless it is a folder of somebody's other things, given by mistake.
        let is_empty = fs::read_dir(path).map_err(io)?.next().is_none();
        if is_empty || path.join("db").exists() {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io)?;
        }
        refuse_loose(path)?;
        sync_parent(path).map_err(io)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, ".lock"))
            .map_err(io)?;
        match Lock::take(lock) {
            Ok(lock) => Ok(Self { path: path.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(SledError::InUse { path: path.into() }),
            Err(fs::TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Whether sled has ever been here.
    pub(super) fn has_data(&self) -> bool {
        self.path.join("db").exists()
    }

    pub(super) fn error(&self, source: io::Error) -> SledError {
        SledError::Io { path: self.path.clone(), source }
    }

    /// Opens sled and a handle of our own on its data file. A damaged snapshot is put aside and the opening tried once more:
    /// sled then reads its log, and the summary shows whether that was whole.
    pub(super) fn open(&self) -> Result<(sled::Db, File), SledError> {
        self.remove_unfinished_snapshots().map_err(|source| self.error(source))?;
        let db = match self.open_when_free() {
            Err(SledError::Damaged { .. }) if self.put_snapshots_aside() => self.open_when_free()?,
            other => other?,
        };
        let data = self.tidy().map_err(|source| self.error(source))?;
        Ok((db, data))
    }

    /// Threads of sled's own let go of its lock a moment after the last handle is dropped. Our lock is held, so no other gateway is
    /// meant by it: wait for up to a second.
    #[expect(clippy::disallowed_methods, reason = "at start only, and there is no event to wait for")]
    fn open_when_free(&self) -> Result<sled::Db, SledError> {
        for _ in 0..40 {
            match self.open_quietly() {
                Err(SledError::InUse { .. }) => std::thread::sleep(std::time::Duration::from_millis(25)),
                other => return other,
            }
        }
        self.open_quietly()
    }

    fn open_quietly(&self) -> Result<sled::Db, SledError> {
        silence_opener();
        let config = sled::Config::new()
            .path(&self.path)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(CACHE)
            .flush_every_ms(Some(500));
        OPENING.set(true);
        let opened = panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        OPENING.set(false);
        let damaged = |cause: String| SledError::Damaged { path: self.path.clone(), cause };
        match opened {
            Ok(Ok(db)) => Ok(db),
            Ok(Err(sled::Error::Io(source))) if source.to_string().contains("could not acquire lock") => {
                Err(SledError::InUse { path: self.path.clone() })
            }
            Ok(Err(sled::Error::Io(source))) if source.kind() != io::ErrorKind::UnexpectedEof => {
                Err(self.error(source))
            }
            Ok(Err(error)) => Err(damaged(error.to_string())),
            Err(_) => Err(damaged("its files cannot be read".into())),
        }
    }

    /// A `snap.*.generating` was never renamed, so it was never live; sled takes the newest one all the same and fails on it.
    fn remove_unfinished_snapshots(&self) -> io::Result<()> {
        for path in self.snapshots()? {
            if path.to_string_lossy().ends_with(".generating") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Moves what is in the folder into its subfolder `damaged`, where the last such files stay for whoever wants to look. Inside,
    /// because the folder itself may be a mount point.
    pub(super) fn put_everything_aside(&self) -> io::Result<()> {
        let aside = self.path.join(ASIDE);
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&aside)?;
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name != ASIDE {
                fs::rename(self.path.join(&name), aside.join(&name))?;
            }
        }
        File::open(&self.path)?.sync_all()
    }

    /// True when there were any.
    fn put_snapshots_aside(&self) -> bool {
        let moved = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::rename(path, path.with_file_name(format!("damaged.{name}"))).is_ok()
        };
        self.snapshots().unwrap_or_default().iter().filter(|path| moved(path)).count() > 0
    }

    fn snapshots(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// Narrows the modes of sled's files, makes them and the folder's entries durable, and opens the data file.
    fn tidy(&self) -> io::Result<File> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // sled removes files of its own while we look.
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o600));
                    // sled does not sync its `conf`; without it a power cut leaves a store that does not open.
                    match File::open(entry.path()).and_then(|file| file.sync_all()) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        File::open(&self.path)?.sync_all()?;
        File::open(self.path.join("db"))
    }
}

/// Makes the name of `path` durable: a file's own sync does not promise that.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// The file next to `folder` that is called like it plus `suffix`; a trailing slash in the settings changes nothing.
pub(in crate::session) fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Panics while sled is opened become an error with a better text; every other panic prints as before.
fn silence_opener() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that is past its own end has opened nothing.
            if !OPENING.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
}
