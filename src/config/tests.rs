//! Reading a whole file: what its settings become, and what is wrong with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

mod files;
mod problems;
mod sessions;
mod tls;
mod upstreams;

use super::*;
use crate::policy::Access;
use crate::proxy::GroupSettings;
use crate::session::{AtLimit, Cap, SecureMode, StoreSettings};

const KEY: &str = "q0vXz9kPjB2mC7tR4wY8sLhN1dGf6aEuI3oZxVbMkJQ";
const EXAMPLE: &str = include_str!("../../gateway.toml.example");
pub(super) const GOOD: &str =
    "[session]\nsecrets = [\"file:secret.key\"]\n[login.password]\nusers = \"users.toml\"\n";
pub(super) const ROUTE: &str = "[[routes]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:3000\"]\n";

fn write(folder: &Path, name: &str, text: &[u8], mode: u32) {
    fs::write(folder.join(name), text).unwrap();
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// A certificate for `wiki.test` and its key.
static CERTIFICATE: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["wiki.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

/// A folder with a secret, a user file, and a certificate.
pub(super) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "secret.key", format!("{KEY}\n").as_bytes(), 0o600);
    write(folder.path(), "users.toml", b"", 0o600);
    write(folder.path(), "cert.pem", CERTIFICATE.0.as_bytes(), 0o644);
    write(folder.path(), "cert.key", CERTIFICATE.1.as_bytes(), 0o600);
    folder
}

pub(super) fn checked(text: &str) -> Result<Loaded, Problems> {
    parse(text, "gateway.toml", folder().path())
}

/// Each problem as `line:column: what`.
pub(super) fn lines(text: &str) -> Vec<String> {
    let problems = checked(text).map_or_else(|p| p, |l| l.warnings);
    problems.list().iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.what)).collect()
}

/// The good settings with `rest` behind them, starting at line 5.
fn with(rest: &str) -> String {
    format!("{GOOD}{rest}")
}

#[track_caller]
fn only(text: &str, expected: &str) {
    let have = lines(text);
    assert!(have.len() == 1 && have[0].starts_with(expected), "{expected}\nis not all of\n{have:#?}\n{text}");
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let loaded = checked(&with(ROUTE)).unwrap();
    assert!(loaded.warnings.list().is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.session.duration.as_secs(), 86400);
    assert_eq!(config.session.idle_timeout.as_secs(), 7200);
    assert_eq!(config.session.cookie.secure, SecureMode::Auto);
    assert_eq!(config.gateway.prefix, "/_auth");
    assert_eq!(config.gateway.routes[0].access, Access::Authenticated);
    assert_eq!(config.gateway.routes[0].name, "*/");
    assert!(config.management.is_some());
    assert_eq!(config.session.secrets[0].len(), 32);
}

#[test]
fn the_example_is_valid_without_a_warning() {
    let loaded = checked(EXAMPLE).unwrap_or_else(|p| panic!("{p}"));
    assert!(loaded.warnings.list().is_empty(), "{}", loaded.warnings);
}

#[test]
fn the_example_says_the_defaults() {
    let (example, least) = (checked(EXAMPLE).unwrap().config, checked(&with(ROUTE)).unwrap().config);
    assert_eq!(example.server, least.server);
    assert_eq!(example.session.cookie, least.session.cookie);
    assert_eq!(example.login.hashing, least.login.hashing);
    assert_eq!(example.login.throttle, least.login.throttle);
    assert_eq!(example.management, least.management);
    let upstream =
        |config: &Config| GroupSettings { members: vec![], ..config.gateway.routes[0].upstream.clone() };
    assert_eq!(upstream(&example), upstream(&least));
    assert_eq!(example.admin_socket.unwrap().file_name(), least.admin_socket.unwrap().file_name());
    assert_eq!(example.access_log, least.access_log);
}

/// All keys that the reader asks for when it reads `text`.
pub(super) fn keys_asked_for(text: &str) -> BTreeSet<String> {
    let report = Report::default();
    let (tree, _) = DeTable::parse_recoverable(text);
    read(&tree, text, &report, Path::new("."));
    report.into_parts().2
}

#[test]
fn upstreams_of_protect_may_be_short() {
    let http = |host: &str, port| Ok(UpstreamAddress::http(host, port));
    assert_eq!(upstream_address("3000"), http("127.0.0.1", 3000));
    assert_eq!(upstream_address("localhost:3000"), http("localhost", 3000));
    assert_eq!(upstream_address("http://[::1]:80/"), http("::1", 80));
    let whole = |text: &str| upstream_address(text).unwrap().to_string();
    assert_eq!(whole("https://App.internal"), "https://app.internal:443");
    assert_eq!(whole("h2c://app:50051"), "h2c://app:50051");
    assert_eq!(whole("unix:/run/app.sock"), "unix:/run/app.sock");
    for bad in ["", "0", "70000", "wss://a", "http://", "a:b", "http://a:+1", "http://u:p@a", "::1", "1.2.3"]
    {
        assert!(upstream_address(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_settings_of_protect_pass_the_same_checks() {
    let folder = folder();
    let upstream = upstream_address("http://[::1]:3000").unwrap();
    let listen = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let config = for_upstream(&upstream, &listen, folder.path()).unwrap();
    assert_eq!(config.server.listen, [ListenerSettings::plain(listen.clone())]);
    assert_eq!(config.gateway.routes[0].upstream, GroupSettings::single(upstream.clone()));
    assert_eq!(config.management, None);
    assert!(for_upstream(&upstream, &listen, &folder.path().join("none")).is_err());
}

#[test]
fn a_file_is_read_with_paths_beside_it() {
    let folder = folder();
    write(folder.path(), "gateway.toml", with(ROUTE).as_bytes(), 0o644);
    let config = load(&folder.path().join("gateway.toml")).unwrap().config;
    assert_eq!(config.login.users, folder.path().join("users.toml"));
    write(folder.path(), "gateway.toml", b"a\n\xff", 0o644);
    let error = load(&folder.path().join("gateway.toml")).unwrap_err().to_string();
    assert!(error.ends_with("line 2 is not UTF-8 text"), "{error}");
}

#[test]
fn a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_and_nobody_waits_for_it() {
    let folder = folder();
    let pipe = |name: &str| {
        let path = folder.path().join(name);
        let _ = fs::remove_file(&path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        path
    };
    let error = load(&pipe("gateway.toml")).unwrap_err().to_string();
    assert!(error.contains("gateway.toml: not a regular file"), "{error}");
    assert!(load(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    fs::remove_file(folder.path().join("gateway.toml")).unwrap();
    write(folder.path(), "gateway.toml", with(ROUTE).as_bytes(), 0o644);
    let secret = pipe("secret.key");
    let error = load(&folder.path().join("gateway.toml")).unwrap_err().to_string();
    assert!(error.contains(&format!("{} is not a secret file", secret.display())), "{error}");
}

fn show(text: &str) {
    let problems = parse(text, "gateway.toml", Path::new("/nonexistent")).map_or_else(|p| p, |l| l.warnings);
    assert!(problems.render(true).len() >= problems.to_string().len());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("gateway.toml"), bytes).unwrap();
        prop_assert!(load(&folder.path().join("gateway.toml")).is_err());
    }

    #[test]
    fn no_text_panics(text in "\\PC*|[\\x00-\\x7f\u{e9}\u{200b}]*") {
        show(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0usize..EXAMPLE.len(), gone in 0usize..40, put in "[\\[\\]{}\"=\\n\\t.,é#0-9a-z]{0,6}") {
        let start = (0..=at).rev().find(|i| EXAMPLE.is_char_boundary(*i)).unwrap();
        let end = (at..=EXAMPLE.len()).find(|i| *i >= at + gone && EXAMPLE.is_char_boundary(*i)).unwrap_or(EXAMPLE.len());
        show(&format!("{}{put}{}", &EXAMPLE[..start], &EXAMPLE[end..]));
    }
}
