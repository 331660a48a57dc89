//! One line per request, formatted and written off the workers.

use std::path::PathBuf;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go; `None` for no access log.
    pub target: Option<Target>,
    /// The form of a line.
    pub format: Format,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output. The default.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// The form of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line. The default.
    Json,
    /// The combined log format.
    Text,
}
