//! `fluidgate check`: every problem of the configuration file at once, and what it amounts to when there is none.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, LoadError, Loaded, Problems};

/// Checks the file at `path`: problems and warnings to standard error, one line to standard output when it can be run.
/// Exits 0 when it can, 1 when not.
pub(super) fn run(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => {
            show(&loaded.warnings);
            println!("{}", summary(path, &loaded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            show_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints why a configuration cannot be used to standard error, as `run` does too.
pub(super) fn show_error(error: &LoadError) {
    match error {
        LoadError::Invalid(problems) => show(problems),
        unreadable @ LoadError::Unreadable { .. } => eprintln!("{unreadable}"),
    }
}

/// Prints problems to standard error, coloured on a terminal unless `NO_COLOR` is set (no-color.org).
pub(super) fn show(problems: &Problems) {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    eprint!("{}", problems.render(std::io::stderr().is_terminal() && !refused));
}

fn summary(path: &Path, loaded: &Loaded) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let config = &loaded.config;
    format!(
        "{}: ok ({}, {}, {})",
        path.display(),
        count(config.server.listen.len(), "listener"),
        count(config.gateway.routes.len(), "route"),
        count(loaded.warnings.list().len(), "warning"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_summary_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let (users, key) = (folder.path().join("users.toml"), folder.path().join("secret.key"));
        std::fs::write(users, "").unwrap();
        std::fs::write(&key, "q0vXz9kPjB2mC7tR4wY8sLhN1dGf6aEuI3oZxVbMkJQ").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = "[session]\nsecrets = [\"file:secret.key\"]\n[login.password]\nusers = \"users.toml\"\n\
                    [[routes]]\npath = \"/\"\nupstream = [\"http://8.8.8.8\"]\n";
        let loaded = config::parse(text, "gateway.toml", folder.path()).unwrap();
        let expected = "gateway.toml: ok (1 listener, 1 route, 1 warning)";
        assert_eq!(summary(Path::new("gateway.toml"), &loaded), expected);
    }

    #[test]
    fn a_missing_file_fails() {
        assert_eq!(run(Path::new("/nonexistent/gateway.toml")), ExitCode::FAILURE);
    }
}
