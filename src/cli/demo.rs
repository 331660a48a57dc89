//! `fluidgate demo`: the gateway and a small sample app on loopback; what a newcomer runs first.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;

use crate::base::secret::{Random, RandomError, SystemRandom};
use crate::cli::sample_app;
use crate::cli::serve::{serve, url};
use crate::cli::state;
use crate::config::{self, Config};
use crate::observe::diagnostics;
use crate::proxy::UpstreamAddress;
use crate::server::ListenAddress;

const USER: &str = "ada";

/// Start the gateway and a small sample app on loopback, with a user to sign in as.
#[derive(Debug, Args)]
pub(super) struct DemoCommand {
    /// Where to listen; absent: port 8080 of loopback, or any free one
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The folder for sessions, secret and users, made when absent; absent: a fresh one among the temporary files
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl DemoCommand {
    pub(super) fn run(self) -> ExitCode {
        match self.prepare() {
            Ok((config, password, state)) => {
                let _diagnostics = diagnostics::start();
                serve(&config, |running| {
                    println!("url: {}", url(running));
                    println!("user: {USER}");
                    println!("password: {password}");
                    println!("state: {}", state.display());
                    println!();
                    println!(
                        "Open the address in a browser and sign in. Sessions outlive a restart. Ctrl-C stops."
                    );
                })
            }
            Err(error) => {
                eprintln!("fluidgate: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn prepare(&self) -> Result<(Config, String, PathBuf), Box<dyn std::error::Error>> {
        let state = match &self.state {
            Some(state) => state.clone(),
            None => fresh_folder()?,
        };
        let prepared = state::prepare_demo(&state, USER)?;
        let password = prepared
            .created_password
            .ok_or("the demo's password file is gone; use another --state folder")?;
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = app.local_addr()?.port();
        sample_app::start(app)?;
        let upstream = UpstreamAddress::http(Ipv4Addr::LOCALHOST.to_string(), port);
        let listen = self.listen.unwrap_or_else(free_address);
        let mut config = config::for_upstream(&upstream, &ListenAddress::Tcp(listen), &state)?;
        // The terminal is for the person who tries it out.
        config.access_log.target = None;
        Ok((config, password, state))
    }
}

/// Port 8080 when nobody has it, else any free port.
fn free_address() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    if TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

/// A name nobody else has; the folder itself is made, private, by the preparation of the state.
fn fresh_folder() -> Result<PathBuf, RandomError> {
    let mut name = [0; 8];
    SystemRandom.fill(&mut name)?;
    Ok(std::env::temp_dir().join(format!("fluidgate-demo-{}", HEXLOWER.encode(&name))))
}
