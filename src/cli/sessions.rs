//! `fluidgate sessions`: shows, ends, exports and imports the sessions of a running gateway through its admin socket, and
//! checks a store at rest.

mod check;
mod client;
mod exchange;
mod list;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::check::CheckError;
use self::client::{Client, ClientError};
use self::exchange::{ExchangeError, Source};
use crate::cli::check::show_error;
use crate::config::{self, Config};
use crate::gateway::admin::protocol::{Count, Verb, Which};

/// Show, end, export and import the sessions of a running gateway
#[derive(Debug, Args)]
pub(super) struct SessionsCommand {
    #[command(subcommand)]
    action: Action,
    /// The configuration file of the gateway
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "gateway.toml",
        env = "FLUIDGATE_CONFIG"
    )]
    config: PathBuf,
    /// The gateway's admin socket; absent: as the configuration says
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show live sessions
    List {
        /// Only this user's
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// End sessions, for the next request on
    Revoke(Selector),
    /// Write all live sessions to a file
    Export {
        /// The file to make
        file: PathBuf,
        /// Replace the file when it is there
        #[arg(long)]
        force: bool,
        /// From a store that no gateway has open, instead of the running gateway
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
    /// Take the sessions of a file in
    Import {
        /// What `export` wrote
        file: PathBuf,
    },
    /// Say what a start would find in a store that no gateway has open, without changing it
    Check {
        /// The store's folder, or a copy of it; absent: as the configuration says
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selector {
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The session whose id begins so; eight digits or more
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Everybody's sessions
    #[arg(long)]
    all: bool,
}

/// Why a `sessions` command failed.
#[derive(Debug, thiserror::Error)]
enum SessionsError {
    /// The configuration was needed and cannot be used; its problems have been shown.
    #[error("name the configuration of the gateway with -c FILE, or its admin socket with --socket PATH")]
    Config,
    /// There is no socket.
    #[error("the admin socket is off in {}: set `management.admin_socket` there", .0.display())]
    Off(PathBuf),
    /// The gateway.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The store.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A start would lose sessions; which has been said.
    #[error("a start of the gateway would lose sessions")]
    WouldLose,
    /// Standard output is closed or full.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl SessionsCommand {
    /// Runs the command: exit code 0, or 1 with one line on standard error.
    pub(super) fn run(self) -> ExitCode {
        match self.apply(&mut std::io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            // The reader has seen enough, as `head` does.
            Err(SessionsError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn apply(&self, out: &mut impl Write) -> Result<(), SessionsError> {
        match &self.action {
            Action::List { user, json } => {
                let sessions = list::fetch(self.client()?, user.clone())?;
                if *json { list::write_json(out, &sessions)? } else { list::write_table(out, &sessions)? }
            }
            Action::Revoke(selector) => {
                let verb = Verb::Revoke { which: selector.which() };
                let Count { count } = self.client()?.ask(verb, &mut |(): ()| Ok(()))?;
                writeln!(out, "ended {}", sessions(count))?;
            }
            Action::Export { file, force, store } => {
                let source = match store {
                    Some(store) => Source::Store(check::export(store, &self.config)?),
                    None => Source::Gateway(self.client()?),
                };
                let count = exchange::export(source, file, *force)?;
                writeln!(out, "exported {} to {}", sessions(count), file.display())?;
            }
            Action::Import { file } => {
                let counts = exchange::import(|| self.client(), file)?;
                exchange::write_counts(out, &counts)?;
            }
            Action::Check { store } => {
                if check::run(out, store.as_deref(), &self.config)? {
                    return Err(SessionsError::WouldLose);
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    fn client(&self) -> Result<Client, SessionsError> {
        if let Some(path) = &self.socket {
            return Ok(Client::connect(path)?);
        }
        let path = load(&self.config)?.admin_socket.ok_or_else(|| SessionsError::Off(self.config.clone()))?;
        Ok(Client::connect(&path)?)
    }
}

impl Selector {
    fn which(&self) -> Which {
        match (&self.user, &self.id) {
            (Some(user), _) => Which::User(user.clone()),
            (None, Some(id)) => Which::Id(id.clone()),
            // The group demands one of the three.
            (None, None) => Which::All,
        }
    }
}

fn load(path: &Path) -> Result<Config, SessionsError> {
    config::load(path).map(|loaded| loaded.config).map_err(|error| {
        show_error(&error);
        SessionsError::Config
    })
}

fn sessions(count: usize) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}
