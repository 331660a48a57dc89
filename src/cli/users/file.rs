//! The user file as a text to edit: locked, checked before and after, replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::login::directory::{Problem, UserDirectory};
use crate::login::names::{self, NameError};

/// A user file under its lock. The lock ends with the value.
#[derive(Debug)]
pub struct UserFile {
    path: PathBuf,
    document: DocumentMut,
    directory: UserDirectory,
    _lock: File,
}

/// What stands in the file for a new user.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// The name to log in with.
    pub name: &'a str,
    /// The password's hash, an argon2id PHC string.
    pub phc: &'a str,
    /// The full name.
    pub full_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
}

/// Why the file or the change was refused. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds mistakes; each is named with its place.
    #[error("{}", problems.iter().map(|p| format!("{}:{p}", path.display())).collect::<Vec<_>>().join("\n"))]
    Content {
        /// The user file.
        path: PathBuf,
        /// Every mistake.
        problems: Vec<Problem>,
    },
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `add` of a user who is there.
    #[error("user `{0}` exists already; give a new password with `fluidgate users set-password {0}`")]
    Exists(String),
    /// `add` of a name that another differs from in case or form only.
    #[error("`{0}` differs from the existing `{1}` only in case or form; choose another name")]
    LookAlike(String, String),
    /// A user who is not there.
    #[error("no user `{0}`; `fluidgate users list` shows who there is")]
    Unknown(String),
}

impl UserFile {
    /// Takes the lock (waiting for another editor) and reads the file; an absent file is an empty one.
    ///
    /// # Errors
    /// When the file cannot be locked or read, or holds mistakes.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        // A sibling is locked, because the file itself is replaced on every change. It stays: removing it would race.
        let lock_path = sibling(path, ".lock");
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(&lock_path)
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|source| EditError::Io { path: lock_path, source })?;
        let text = text_of(path, true)?;
        let directory = parse(path, &text)?;
        // The strict reader has accepted the text, so this one does as well.
        let document = text.parse().map_err(|e: toml_edit::TomlError| {
            let problem = Problem { line: 1, column: 1, message: e.message().to_owned() };
            EditError::Content { path: path.to_owned(), problems: vec![problem] }
        })?;
        Ok(Self { path: path.to_owned(), document, directory, _lock: lock })
    }

    /// Whether `name` may be added.
    ///
    /// # Errors
    /// When it is no name, is there, or differs from one that is there in case or form only.
    pub fn check_new(&self, name: &str) -> Result<(), EditError> {
        names::check(name)?;
        if self.directory.user(name).is_some() {
            return Err(EditError::Exists(name.to_owned()));
        }
        let folded = names::fold(name);
        match self.directory.users().find(|(other, _)| names::fold(other) == folded) {
            Some((other, _)) => Err(EditError::LookAlike(name.to_owned(), other.to_owned())),
            None => Ok(()),
        }
    }

    /// Whether `name` is there.
    ///
    /// # Errors
    /// [`EditError::Unknown`] when not.
    pub fn check_present(&self, name: &str) -> Result<(), EditError> {
        let present = self.directory.user(name).is_some();
        if present { Ok(()) } else { Err(EditError::Unknown(name.to_owned())) }
    }

    /// Adds a user at the end.
    ///
    /// # Errors
    /// As [`check_new`](Self::check_new).
    pub fn add(&mut self, user: &NewUser<'_>) -> Result<(), EditError> {
        self.check_new(user.name)?;
        let mut entry = Table::new();
        entry.insert("password", value(user.phc));
        for (key, text) in [("name", &user.full_name), ("email", &user.email)] {
            if let Some(text) = text {
                entry.insert(key, value(text.as_str()));
            }
        }
        let groups: Array = user.groups.iter().map(String::as_str).filter(|g| !g.is_empty()).collect();
        if !groups.is_empty() {
            entry.insert("groups", value(groups));
        }
        if let Some(users) = self.users() {
            users.insert(user.name, Item::Table(entry));
        }
        Ok(())
    }

    /// Replaces a user's hash; all else of the entry stays.
    ///
    /// # Errors
    /// [`EditError::Unknown`].
    pub fn set_password(&mut self, name: &str, phc: &str) -> Result<(), EditError> {
        self.check_present(name)?;
        let place = self.users().and_then(|users| users.get_mut(name)).and_then(Item::as_table_like_mut);
        if let Some(stored) = place.and_then(|user| user.get_mut("password")).and_then(Item::as_value_mut) {
            let decor = stored.decor().clone();
            *stored = phc.into();
            *stored.decor_mut() = decor;
        }
        Ok(())
    }

    /// Removes a user, with the comments right above the entry.
    ///
    /// # Errors
    /// [`EditError::Unknown`].
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        self.check_present(name)?;
        if let Some(users) = self.users() {
            users.remove(name);
        }
        Ok(())
    }

    /// Checks the new text as the gateway will, and puts it in the place of the old one: temporary file, fsync, rename,
    /// fsync of the folder. Mode 0600.
    ///
    /// # Errors
    /// When the system refuses, or the text would not be read back; the old file stays.
    pub fn save(self) -> Result<(), EditError> {
        let text = self.document.to_string();
        parse(&self.path, &text)?;
        replace(&self.path, text.as_bytes())
    }

    /// The `users` table, made if absent; `None` cannot be, since the strict reader took the file.
    fn users(&mut self) -> Option<&mut dyn toml_edit::TableLike> {
        let entry = self.document.entry("users").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        entry.as_table_like_mut()
    }
}

/// Reads a user file without its lock: a reader sees the old file or the new one.
///
/// # Errors
/// When it cannot be read or holds mistakes.
pub fn read(path: &Path) -> Result<UserDirectory, EditError> {
    parse(path, &text_of(path, false)?)
}

/// Puts `bytes` at `path` with mode 0600, durably and whole.
///
/// # Errors
/// When the system refuses; what was at `path` stays.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), EditError> {
    // A link is followed by hand, or else the rename would replace the link and leave its target as it was.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = sibling(&target, ".new");
    let write = || -> std::io::Result<()> {
        // A leftover of a run that was killed; the lock says that nobody else writes here.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&temporary)?;
        // The mode given at creation is cut by the umask only; an owner who may not read would be locked out.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &target)?;
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| EditError::Io { path: path.to_owned(), source })
}

fn parse(path: &Path, text: &str) -> Result<UserDirectory, EditError> {
    UserDirectory::parse(text).map_err(|problems| EditError::Content { path: path.to_owned(), problems })
}

fn text_of(path: &Path, absent_is_empty: bool) -> Result<String, EditError> {
    // Opening a pipe would wait for somebody to write into it.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let source = std::io::Error::other("not a regular file");
        return Err(EditError::Io { path: path.to_owned(), source });
    }
    match std::fs::read_to_string(path) {
        Err(error) if absent_is_empty && error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(|source| EditError::Io { path: path.to_owned(), source }),
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}
