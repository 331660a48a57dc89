//! The state folder of `demo` and `protect`: made on the first start, kept on every later one.
//!
//! The folder is 0700, `secret.key`, `users.toml` and `demo-password` are 0600. A folder that others may write is
//! refused: whoever can put a file there can choose the secret (X28).

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::secret;
use super::users::file::{EditError, NewUser, UserFile, replace};
use crate::base::secret::{Random, RandomError, Secret, SystemRandom};
use crate::login::HashingSettings;
use crate::login::password::{PasswordError, hash_new};

/// A state folder that is ready.
pub(super) struct Prepared {
    /// The password made for the first user; `None` when the user file was there. For the terminal, never for a log.
    pub created_password: Option<String>,
    /// The user file.
    pub users: PathBuf,
    /// The secret that signs sessions.
    pub secret: PathBuf,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("users", &self.users)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may write the folder.
    #[error("{path}: others may write this folder; mend it with `chmod 700`, or choose another", path = path.display())]
    Writable {
        /// The folder.
        path: PathBuf,
    },
    /// Others may read or write the secret.
    #[error("{path}: others may use this secret; mend it with `chmod 600`, or delete it to get a new one", path = path.display())]
    Readable {
        /// The secret.
        path: PathBuf,
    },
    /// The folder is someone else's.
    #[error("{path}: this folder belongs to another user; choose another", path = path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// There is something else at the place.
    #[error("{path}: not a folder; choose another place", path = path.display())]
    NotAFolder {
        /// The place.
        path: PathBuf,
    },
    /// The user file cannot be used.
    #[error(transparent)]
    Users(#[from] EditError),
    /// The first password cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Makes what is absent: the folder, the secret, and the user file with `user` and a made-up password.
///
/// # Errors
/// When the folder cannot be made or trusted, or a file not be written.
pub(super) fn prepare(dir: &Path, user: &str) -> Result<Prepared, StateError> {
    folder(dir)?;
    let (users, secret) = (dir.join("users.toml"), dir.join("secret.key"));
    secret_file(&secret)?;
    let created_password = if exists(&users)? {
        None
    } else {
        let password = made_up(&SystemRandom)?;
        let nothing_more = NewUser { name: user, phc: "", full_name: None, email: None, groups: Vec::new() };
        first_user(&users, nothing_more, &password)?;
        Some(password)
    };
    Ok(Prepared { created_password, users, secret })
}

/// As [`prepare`], for `demo`: keeps the password in `demo-password`, and so returns it on every start. When that file
/// is gone or the user file was not made by `demo`, there is no password to return.
///
/// # Errors
/// As [`prepare`].
pub(super) fn prepare_demo(dir: &Path, user: &str) -> Result<Prepared, StateError> {
    folder(dir)?;
    let (users, secret) = (dir.join("users.toml"), dir.join("secret.key"));
    let kept = dir.join("demo-password");
    secret_file(&secret)?;
    if exists(&users)? {
        let created_password = match std::fs::read_to_string(&kept) {
            Ok(text) => Some(text.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(StateError::Io { path: kept, source }),
        };
        return Ok(Prepared { created_password, users, secret });
    }
    // The password before the user: a start that dies in between leaves a password without a user, and makes both anew.
    let password = made_up(&SystemRandom)?;
    replace(&kept, format!("{password}\n").as_bytes())?;
    // With every attribute, so that the sample app has something to show.
    let whole = NewUser {
        name: user,
        phc: "",
        full_name: Some("Ada Lovelace".into()),
        email: Some("ada@example.com".into()),
        groups: vec!["staff".into()],
    };
    first_user(&users, whole, &password)?;
    Ok(Prepared { created_password: Some(password), users, secret })
}

/// Letters and digits that cannot be taken for one another: 32 of them, five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn folder(dir: &Path) -> Result<(), StateError> {
    let refuse = |source| StateError::Io { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refuse)?;
    let found = std::fs::metadata(dir).map_err(refuse)?;
    let path = dir.to_owned();
    if !found.is_dir() {
        return Err(StateError::NotAFolder { path });
    }
    if found.mode() & 0o022 != 0 {
        return Err(StateError::Writable { path });
    }
    let own = rustix::process::geteuid().as_raw();
    // Root's folder cannot turn against us; anybody else's owner may change what is in it.
    if found.uid() != own && found.uid() != 0 {
        return Err(StateError::Foreign { path });
    }
    Ok(())
}

fn secret_file(path: &Path) -> Result<(), StateError> {
    if !exists(path)? {
        return Ok(replace(path, format!("{}\n", *secret::fresh(&SystemRandom)?).as_bytes())?);
    }
    let found = std::fs::metadata(path).map_err(|source| StateError::Io { path: path.to_owned(), source })?;
    let private = found.mode() & 0o077 == 0;
    if private { Ok(()) } else { Err(StateError::Readable { path: path.to_owned() }) }
}

/// Writes a user file with `user`, whose hash is made here.
fn first_user(path: &Path, user: NewUser<'_>, password: &str) -> Result<(), StateError> {
    let phc = hash_new(&Secret::new(password.into()), HashingSettings::default(), &SystemRandom)?;
    let mut users = UserFile::open(path)?;
    users.add(&NewUser { phc: &phc, ..user })?;
    Ok(users.save()?)
}

/// A password of four groups of five characters: 100 bits.
fn made_up(random: &dyn Random) -> Result<String, RandomError> {
    let mut drawn = [0; 20];
    random.fill(&mut drawn)?;
    let mut password = String::with_capacity(23);
    for (index, byte) in drawn.into_iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            password.push('-');
        }
        // 256 is a multiple of 32, so every letter is as likely.
        password.extend(LETTERS.get(usize::from(byte) % LETTERS.len()).map(|b| char::from(*b)));
    }
    Ok(password)
}

/// Whether there is something at `path`, a dangling link included.
fn exists(path: &Path) -> Result<bool, StateError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
