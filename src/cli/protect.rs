//! `fluidgate protect`: a login in front of one running app, in one command and without a configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::serve::{serve, url};
use crate::cli::state;
use crate::config;
use crate::observe::access_log::Format;
use crate::observe::diagnostics;
use crate::server::ListenAddress;

/// Put a login in front of one running app, without a configuration file.
#[derive(Debug, Args)]
pub(super) struct ProtectCommand {
    /// The app: a port, host:port, or http://host:port
    upstream: String,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The folder for sessions, secret and users; made when absent
    #[arg(long, value_name = "DIR", default_value = "fluidgate-state")]
    state: PathBuf,
    /// The first user, made when the folder is new
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
}

impl ProtectCommand {
    pub(super) fn run(self) -> ExitCode {
        let upstream = match config::upstream_address(&self.upstream) {
            Ok(upstream) => upstream,
            Err(problem) => {
                eprintln!("fluidgate: {}: {problem}", self.upstream);
                return ExitCode::from(2);
            }
        };
        let prepared = match state::prepare(&self.state, &self.user) {
            Ok(prepared) => prepared,
            Err(error) => {
                eprintln!("fluidgate: {error}");
                return ExitCode::FAILURE;
            }
        };
        let mut config = match config::for_upstream(&upstream, &ListenAddress::Tcp(self.listen), &self.state)
        {
            Ok(config) => config,
            Err(error) => {
                eprintln!("fluidgate: {error}");
                return ExitCode::FAILURE;
            }
        };
        config.access_log.format = Format::Text;
        let _diagnostics = diagnostics::start();
        serve(&config, |running| {
            println!("url: {}", url(running));
            if let Some(password) = &prepared.created_password {
                println!("user: {}", self.user);
                println!("password: {password}");
                println!();
                println!(
                    "The password is shown this once. More users: fluidgate users add NAME --file {}",
                    prepared.users.display()
                );
            }
            println!("Your app at {} now needs a login at the address above. Ctrl-C stops.", self.upstream);
        })
    }
}
