//! Layer 4: the only module that knows TOML. File → validated [`Config`]; every problem with its place in the file.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use self::address::upstream_address;
pub use self::keys::schema;
pub use self::problem::{Problem, Problems, Severity};
use self::reader::{Report, Section};
use crate::proxy::UpstreamAddress;
use crate::server::{ListenAddress, ListenerSettings};

mod access;
mod address;
mod answers;
mod cookie;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header_rules;
mod headers;
mod keys;
mod limits;
mod lint;
mod listeners;
mod login;
mod matching;
mod problem;
mod proxy;
mod reader;
mod rewrite;
mod routes;
mod secrets;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod upstream_tls;
mod upstreams;

const LARGEST_FILE: u64 = 1024 * 1024;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, for a reload; `None` when it came from no file.
    pub source: Option<PathBuf>,
    /// Listeners, workers and limits.
    pub server: crate::server::Settings,
    /// Sessions and their cookie.
    pub session: crate::session::Settings,
    /// Password login.
    pub login: crate::login::Settings,
    /// Routes and the pipeline.
    pub gateway: crate::gateway::Settings,
    /// The management listener; `None` when switched off.
    pub management: Option<crate::server::ListenAddress>,
    /// Where the admin socket lies; `None` when switched off.
    pub admin_socket: Option<PathBuf>,
    /// The access log.
    pub access_log: crate::observe::access_log::Settings,
    /// The audit log.
    pub audit_log: crate::observe::audit::Settings,
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but is less safe than it could be.
    pub warnings: Problems,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read as text.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file has problems.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Reads the configuration file at `path`, of at most 1 MiB. Relative paths in it resolve against its own folder.
///
/// # Errors
/// When the file cannot be read, or with every problem that it has.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let unreadable = |reason: String| LoadError::Unreadable { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    // Before opening: opening a pipe would wait for somebody to write into it, and a reload with it.
    if !fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.is_file() {
        return Err(unreadable("not a regular file; the configuration is read again at each reload".into()));
    }
    let file = fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(unreadable("the file is larger than 1 MiB".into()));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line =
            e.as_bytes().iter().take(e.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        unreadable(format!("line {line} is not UTF-8 text"))
    })?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut loaded = parse(&text, &path.display().to_string(), base)?;
    loaded.config.source = Some(path.to_owned());
    Ok(loaded)
}

/// Checks the configuration in `text`, which messages call `file_name`. Relative paths resolve against `base`.
///
/// # Errors
/// Every problem of the text, warnings included.
pub fn parse(text: &str, file_name: &str, base: &Path) -> Result<Loaded, Problems> {
    let report = Report::default();
    let (tree, syntax) = DeTable::parse_recoverable(text);
    mask_secrets(text, !syntax.is_empty(), &report);
    for error in &syntax {
        let span = error.span().unwrap_or(0..0);
        let mend =
            if error.message().contains("duplicate") { first_of(&tree, text, &span) } else { String::new() };
        report.syntax(span, error.message().replace('\n', ", "), mend);
    }
    let config = read(&tree, text, &report, base);
    let (found, masked, _) = report.into_parts();
    let problems = Problems::new(file_name, text, found, &masked);
    if problems.count(Severity::Error) > 0 {
        return Err(problems);
    }
    Ok(Loaded { config, warnings: problems })
}

/// The configuration of `demo` and `protect`: one route to `upstream`, everything kept in the folder `state`, which must hold
/// `secret.key` and `users.toml`; no management listener.
///
/// # Errors
/// What the same settings in a file would be refused for.
pub fn for_upstream(
    upstream: &UpstreamAddress,
    listen: &ListenAddress,
    state: &Path,
) -> Result<Config, Problems> {
    let text = format!(
        "[server]\nlisten = [{}]\n[session]\nsecrets = [\"file:secret.key\"]\n\
         store = {{ type = \"sled\", path = \"sessions\" }}\n[login.password]\nusers = \"users.toml\"\n\
         [management]\nlisten = false\n[[routes]]\npath = \"/\"\nupstream = [{}]\n",
        toml::Value::String(listen.to_string()),
        toml::Value::String(upstream.to_string()),
    );
    let mut config = parse(&text, "these settings", state)?.config;
    // As given: a relative socket path belongs to the working folder here, not to `state`, and need not be UTF-8.
    config.server.listen = vec![ListenerSettings::plain(listen.clone())];
    Ok(config)
}

/// Reads every section. After an error the result is of no use but for more problems.
fn read<'a>(tree: &'a Spanned<DeTable<'a>>, text: &str, report: &'a Report, base: &Path) -> Config {
    let mut root = Section::root(tree, report);
    let mut server = server::read(root.section("server"), base);
    server.settings.tls = tls::read(root.section("tls"), base, &server.settings.listen);
    let session = session::read(root.section("session"), base, &server);
    let login = login::read(root.section("login"), base);
    let server::Management { listen: management, admin_socket } =
        server::management(root.section("management"), base, &server.settings.listen, &session.store);
    server.operators.extend(management.clone());
    server.operators.extend(admin_socket.clone().map(ListenAddress::Unix));
    let access_log = server::access_log(root.section("access_log"), base);
    let audit_log = server::audit_log(root.section("audit_log"), base);
    let proxy = proxy::read(root.section("proxy"), base.to_owned());
    let routes =
        routes::read(&mut root, &server, &proxy, base, &login.settings.users, |at| line_of(text, at));
    root.finish();
    let gateway = crate::gateway::Settings {
        prefix: server.prefix,
        head: server.head,
        trusted_proxies: server.trusted_proxies,
        return_origins: login.return_origins,
        clear_site_data: login.clear_site_data,
        routes,
    };
    Config {
        source: None,
        server: server.settings,
        session,
        login: login.settings,
        gateway,
        management,
        admin_socket,
        access_log,
        audit_log,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Where the key that `span` repeats stood first.
fn first_of(tree: &Spanned<DeTable<'_>>, text: &str, span: &Range<usize>) -> String {
    let key = text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
    let mut last = None;
    last_key(tree.get_ref(), key, span.start, &mut last);
    let place = |at| format!("it stands first in line {}: take one out", line_of(text, at));
    // Of a repeated table the tree keeps the second place only: look for the same header line.
    let header = line_around(text, span.start);
    let same = || {
        text.match_indices(header).map(|(at, _)| at).find(|at| header.starts_with('[') && at + 1 < span.start)
    };
    last.or_else(same).map_or_else(|| "take one out".into(), place)
}

/// The line that `at` stands in, without spaces around it.
fn line_around(text: &str, at: usize) -> &str {
    let start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
    text.get(start..).and_then(|t| t.lines().next()).unwrap_or_default().trim()
}

/// The last place before `end` where a key is called `key`.
fn last_key(table: &DeTable<'_>, key: &str, end: usize, last: &mut Option<usize>) {
    for (name, value) in table {
        let start = name.span().start;
        if name.get_ref() == key && start < end {
            *last = (*last).max(Some(start));
        }
        match value.get_ref() {
            DeValue::Table(inner) => last_key(inner, key, end, last),
            DeValue::Array(list) => {
                for table in list.iter().filter_map(|v| v.get_ref().as_table()) {
                    last_key(table, key, end, last);
                }
            }
            _ => {}
        }
    }
}

/// Masks what stands behind a key like `secret` or `secrets` where the reader cannot: under a misspelt key, and, when `broken`, in
/// text that is no TOML. Only a line that merely refers to a file or the environment, in a file that parses, is shown.
fn mask_secrets(text: &str, broken: bool, report: &Report) {
    let mut at = 0;
    let mut open = false;
    for line in text.split_inclusive('\n') {
        let refers = line.contains("file:") || line.contains("env:");
        let from = if open { Some(0) } else { secret_value(line, broken) };
        if let Some(from) = from {
            let value = line.get(from..).unwrap_or_default();
            if broken || !refers {
                report.mask(at + from..at + line.trim_end().len());
            }
            open = !value.contains(']') && (open || value.contains('['));
        }
        at += line.len();
    }
}

/// Where the value begins in a line with a key like `secrets`; `broken` does without the equals sign.
fn secret_value(line: &str, broken: bool) -> Option<usize> {
    let after = line.find("secret")? + "secret".len();
    let rest = line.get(after..)?.trim_start_matches(['s', '"', '\'', ' ', '\t']);
    (broken || rest.starts_with('=')).then(|| line.len() - rest.trim_start_matches(['=', ' ']).len())
}
