//! `fluidgate users`: edits the local user file. Comments and order stay, two editors wait for each other, and a reader
//! sees the old file or the new one, never a half.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::file::{EditError, NewUser, UserFile};
use crate::base::secret::{Random, Secret, SystemRandom};
use crate::login::HashingSettings;
use crate::login::password::{MAX_PASSWORD, MIN_PASSWORD, PasswordError, hash_new};

pub mod file;

/// Edit the local user file
#[derive(Debug, Args)]
pub struct UsersCommand {
    #[command(subcommand)]
    action: Action,
    /// The user file
    #[arg(long, global = true, default_value = "users.toml")]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; the password is asked for, or read as one line from standard input
    Add {
        /// The name to log in with
        name: String,
        /// The full name, for the apps
        #[arg(long = "name", id = "full_name", value_name = "NAME")]
        full_name: Option<String>,
        /// The e-mail address, for the apps
        #[arg(long)]
        email: Option<String>,
        /// Groups, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "A,B")]
        groups: Vec<String>,
    },
    /// Give a user a new password; a running gateway ends the user's sessions within seconds
    SetPassword {
        /// The name to log in with
        name: String,
    },
    /// Show all users
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Remove a user; a running gateway ends the user's sessions within seconds
    Remove {
        /// The name to log in with
        name: String,
    },
}

/// Why a `users` command failed.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file, or the change.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The password is out of bounds.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password could not be read.
    #[error("cannot read the password: {0}")]
    Input(std::io::Error),
    /// Standard output is closed or full; a change is made all the same.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
    /// The two entries on the terminal differ.
    #[error("the two passwords differ; nothing was changed")]
    Mismatch,
    /// Standard input ended before a line.
    #[error("no password on standard input; give it as one line")]
    NoPassword,
}

impl UsersCommand {
    /// Runs the command: exit code 0, or 1 with one line on standard error.
    pub fn run(self) -> ExitCode {
        match self.apply(&mut std::io::stdout().lock(), &SystemRandom) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn apply(self, out: &mut impl Write, random: &dyn Random) -> Result<(), UsersError> {
        match self.action {
            Action::Add { name, full_name, email, groups } => {
                // Checked first, so that nobody types a password for nothing, and again under the lock.
                UserFile::open(&self.file)?.check_new(&name)?;
                let phc = hash_new(&ask()?, HashingSettings::default(), random)?;
                let mut users = UserFile::open(&self.file)?;
                users.add(&NewUser { name: &name, phc: &phc, full_name, email, groups })?;
                users.save()?;
                writeln!(out, "added {name}")?;
            }
            Action::SetPassword { name } => {
                UserFile::open(&self.file)?.check_present(&name)?;
                let phc = hash_new(&ask()?, HashingSettings::default(), random)?;
                let mut users = UserFile::open(&self.file)?;
                users.set_password(&name, &phc)?;
                users.save()?;
                writeln!(out, "new password set for {name}")?;
            }
            Action::Remove { name } => {
                let mut users = UserFile::open(&self.file)?;
                users.remove(&name)?;
                users.save()?;
                writeln!(out, "removed {name}")?;
            }
            Action::List { json } => list(out, &self.file, json)?,
        }
        Ok(())
    }
}

/// Asks twice without echo on a terminal, else takes one line of standard input.
fn ask() -> Result<Secret, UsersError> {
    if !std::io::stdin().is_terminal() {
        return one_line(&mut std::io::stdin().lock());
    }
    let first = rpassword::prompt_password(format!("password (at least {MIN_PASSWORD} characters): "))
        .map_err(UsersError::Input)?;
    let second = rpassword::prompt_password("again: ").map_err(UsersError::Input)?;
    let (first, second) = (Secret::new(first.into_bytes()), Secret::new(second.into_bytes()));
    if first == second { Ok(first) } else { Err(UsersError::Mismatch) }
}

/// One line without its end (`\n` or `\r\n`). Reads a little over the limit at most, so that a wrong file is no trap.
fn one_line(input: &mut impl BufRead) -> Result<Secret, UsersError> {
    let mut line = Vec::new();
    let bound = u64::try_from(MAX_PASSWORD).unwrap_or(u64::MAX).saturating_add(3);
    input.take(bound).read_until(b'\n', &mut line).map_err(UsersError::Input)?;
    if line.is_empty() {
        return Err(UsersError::NoPassword);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Secret::new(line))
}

fn list(out: &mut impl Write, path: &std::path::Path, json: bool) -> Result<(), UsersError> {
    let directory = file::read(path)?;
    if json {
        let users: Vec<_> = directory
            .users()
            .map(|(name, user)| {
                let identity = &user.subject().identity;
                serde_json::json!({
                    "user": name,
                    "name": identity.name(),
                    "email": identity.email(),
                    "groups": identity.groups().collect::<Vec<_>>(),
                    "disabled": user.is_disabled(),
                    "expires": user.expires().map(|end| end.to_string()),
                })
            })
            .collect();
        writeln!(out, "{:#}", serde_json::Value::from(users))?;
        return Ok(());
    }
    for (name, user) in directory.users() {
        let identity = &user.subject().identity;
        write!(out, "{name}")?;
        for (label, value) in [("name", identity.name()), ("email", identity.email())] {
            if let Some(value) = value {
                // The values may hold control characters, which a terminal would obey.
                write!(out, "  {label}={value:?}")?;
            }
        }
        let groups = identity.groups().map(|g| g.escape_debug().to_string()).collect::<Vec<_>>().join(",");
        if !groups.is_empty() {
            write!(out, "  groups={groups}")?;
        }
        if let Some(end) = user.expires() {
            write!(out, "  expires={end}")?;
        }
        writeln!(out, "{}", if user.is_disabled() { "  disabled" } else { "" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
