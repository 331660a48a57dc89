//! `fluidgate demo`: the gateway and a small sample app on loopback; what a newcomer runs first.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

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
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The folder for sessions, secret and users; made when absent
    #[arg(long, value_name = "DIR", default_value = "fluidgate-demo")]
    state: PathBuf,
}

impl DemoCommand {
    pub(super) fn run(self) -> ExitCode {
        match self.prepare() {
            Ok((config, password)) => {
                diagnostics::start();
                serve(config, |running| {
                    println!("url: {}", url(running));
                    println!("user: {USER}");
                    println!("password: {password}");
                    println!();
                    println!("Open the address in a browser and sign in. Sessions outlive a restart. Ctrl-C stops.");
                })
            }
            Err(error) => {
                eprintln!("fluidgate: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn prepare(&self) -> Result<(Config, String), Box<dyn std::error::Error>> {
        let prepared = state::prepare_demo(&self.state, USER)?;
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = app.local_addr()?.port();
        sample_app::start(app)?;
        let upstream = UpstreamAddress::Http { host: Ipv4Addr::LOCALHOST.to_string().into(), port };
        let config = config::for_upstream(&upstream, ListenAddress::Tcp(self.listen), &self.state)?;
        Ok((config, prepared.password))
    }
}
