//! Layer 6: the commands; one enum, one match, a file per command.

mod check;
mod demo;
mod protect;
mod run;
mod sample_app;
mod schema;
mod secret;
mod serve;
mod sessions;
mod state;
pub mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sessions, login pages and identity headers in front of web apps that know nothing of logins.
#[derive(Debug, Parser)]
#[command(name = "fluidgate", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway and a small sample app on loopback, with a user to sign in as
    Demo(demo::DemoCommand),
    /// Put a login in front of one running app, without a configuration file
    Protect(protect::ProtectCommand),
    /// Run the gateway
    Run(ConfigArgument),
    /// Report every problem of a configuration file at once
    Check(ConfigArgument),
    /// Edit the local user file
    Users(users::UsersCommand),
    /// Show, end, export and import the sessions of a running gateway
    Sessions(sessions::SessionsCommand),
    /// Print a fresh secret for `[session] secrets`
    Secret(secret::SecretCommand),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml", env = "FLUIDGATE_CONFIG")]
    config: PathBuf,
}

/// Parses the arguments and runs the command. Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 requests were cut at the end
/// of the grace period, 78 bad configuration.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(command) => command.run(),
        Command::Protect(command) => command.run(),
        Command::Run(argument) => run::run(&argument.config),
        Command::Check(argument) => check::run(&argument.config),
        Command::Users(command) => command.run(),
        Command::Sessions(command) => command.run(),
        Command::Secret(command) => command.run(),
        Command::Schema => schema::run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
