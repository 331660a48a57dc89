use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

mod upstreams;

use super::*;
use crate::policy::Access;
use crate::proxy::GroupSettings;
use crate::session::{AtLimit, Cap, SecureMode, StoreSettings};

mod tls;

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
fn each_problem_has_its_exact_place() {
    for (rest, expected) in [
        ("", "1:1: there is no route"),
        ("routes = 1\n", "5:1: unknown key \"routes\" in `login.password`"),
        (&format!("[server]\nlisten = [\"nowhere\"]\n{ROUTE}"), "6:11: \"nowhere\" is not a listen address"),
        (&format!("[server]\nlisten = []\n{ROUTE}"), "6:10: `server.listen` is empty"),
        (
            &format!("[server]\nlisten = [\"[::1]:1\", \"[::1]:1\"]\n{ROUTE}"),
            "6:22: \"[::1]:1\" is listened on twice",
        ),
        (
            &format!("[server]\ntrusted_proxies = [\"10.0.0.1/8\"]\n{ROUTE}"),
            "6:20: \"10.0.0.1/8\" has bits set",
        ),
        (
            &format!("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n{ROUTE}"),
            "6:20: \"0.0.0.0/0\" trusts every",
        ),
        (&format!("[server]\nworkers = 0\n{ROUTE}"), "6:11: `server.workers` is out of range"),
        (
            &format!("[server]\nhead_timeout = \"-5s\"\n{ROUTE}"),
            "6:16: `server.head_timeout` is not a duration",
        ),
        (&format!("[server]\nhead_timeout = \"0s\"\n{ROUTE}"), "6:16: `server.head_timeout` is out of range"),
        (&format!("[server]\nhead_timeout = 5\n{ROUTE}"), "6:16: `server.head_timeout` is of the wrong kind"),
        (&format!("[server]\nprefix = \"/\"\n{ROUTE}"), "6:10: `server.prefix` is /"),
        (&format!("[server]\nlistne = 1\n{ROUTE}"), "6:1: unknown key \"listne\" in `server`"),
        (&format!("[management]\nlisten = \"127.0.0.1:8080\"\n{ROUTE}"), "6:10: the management listener has"),
        (&format!("[management]\nlisten = \"10.0.0.1:99\"\n{ROUTE}"), "6:10: the management listener can be"),
        (&format!("[management]\nlisten = true\n{ROUTE}"), "6:10: `management.listen` is of the wrong kind"),
        (&format!("[audit_log]\ntarget = \"\"\n{ROUTE}"), "6:10: `audit_log.target` is empty"),
        (&format!("[access_log]\nformat = \"jsn\"\n{ROUTE}"), "6:10: \"jsn\" is not a value of"),
        (
            &format!("[login]\nreturn_origins = [\"https://A.example\"]\n{ROUTE}"),
            "6:19: \"https://A.example\" is not",
        ),
        (
            &format!("[login.password.hashing]\nmemory_kib = 2048\n{ROUTE}"),
            "6:14: passwords are cheap to guess",
        ),
        (&format!("{ROUTE}access = \"pubic\"\n"), "8:10: \"pubic\" is not a value of"),
        (&format!("{ROUTE}access = {{}}\n"), "8:10: this `access` names no user and no group"),
        (&format!("{ROUTE}access = {{ users = [] }}\n"), "8:10: this `access` names no user and no group"),
        (&format!("{ROUTE}host = \"a:80\"\n"), "8:8: \"a:80\" is not a host"),
        (&format!("{ROUTE}{ROUTE}"), "9:8: this route has the host and path of the route in line 6"),
        (
            &format!("{ROUTE}{ROUTE}methods = [\"GET\", \"PUT\"]\n{ROUTE}methods = [\"PUT\"]\n"),
            "13:8: this route has the host and path and a method of the route in line 9",
        ),
        (&format!("{ROUTE}methods = []\n"), "8:11: `methods` is empty"),
        (&format!("{ROUTE}max_body = true\n"), "8:12: `routes.max_body` is no limit"),
        (&format!("{ROUTE}max_body = 0\n"), "8:12: `routes.max_body` is out of range"),
        (
            &format!("{ROUTE}access = {{ client_certificates = [\"robot\"] }}\n"),
            "8:34: no client is asked for a certificate",
        ),
        ("[[routes]]\nrespond = {}\nmax_body = 1\n", "7:12: `routes.max_body` means nothing"),
        (&format!("{ROUTE}redirect = {{ to = \"/x\" }}\n"), "8:12: this route has `upstream` and `redirect`"),
        (
            "[[routes]]\nrespond = {}\nstatic = { folder = \"public\" }\n",
            "7:10: this route has `respond` and `static`",
        ),
        ("[[routes]]\nrespond = {}\nhost_header = \"pass\"\n", "7:15: `routes.host_header` means nothing"),
        (
            "[[routes]]\nrespond = {}\npath = \"/a\"\nstrip_prefix = true\n",
            "8:16: `routes.strip_prefix` means nothing",
        ),
        (
            "[[routes]]\nrespond = { status = 204, body = \"x\" }\n",
            "6:34: a response with status 204 has no body",
        ),
        (
            "[[routes]]\nredirect = { to = \"//x\" }\n",
            "6:19: \"//x\" is no target of a redirect: it must start with /",
        ),
        ("[[routes]]\nredirect = { to = \"x\" }\n", "6:19: \"x\" is no target"),
        ("[[routes]]\nredirect = { to = \"javascript:x\" }\n", "6:19: \"javascript:x\" is no target"),
        ("[[routes]]\nredirect = { to = \"{path}\" }\n", "6:19: \"{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/{path}\" }\n", "6:19: \"/{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"https://{path}\" }\n", "6:19: \"https://{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"https://u@x/\" }\n", "6:19: \"https://u@x/\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a?b{query}\" }\n", "6:19: \"/a?b{query}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a{host}\" }\n", "6:19: \"/a{host}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a\\r\\nb\" }\n", "6:19: \"/a\\r\\nb\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a\", status = 304 }\n", "6:34: 304 is no redirect"),
        ("[[routes]]\nstatic = { folder = \".\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"/\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"x/../..\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"p\", index = \"a/b\" }\n", "6:34: \"a/b\" is not a file name"),
        (
            &format!("{ROUTE}strip_prefix = true\n"),
            "8:16: this route has the path \"/\", so there is no prefix",
        ),
        (
            &format!("{}strip_prefix = true\nreplace_prefix = \"/b\"\n", ROUTE.replace("\"/\"", "\"/a\"")),
            "8:16: `strip_prefix` and `replace_prefix` stand together",
        ),
        (&format!("{ROUTE}replace_prefix = \"/a/../b\"\n"), "8:18: \"/a/../b\" is not a path"),
        (&format!("{ROUTE}host_header = \"a/b\"\n"), "8:15: \"a/b\" is not a host"),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ remote_user = \"x\" }} }}\n"),
            "8:29: \"remote_user\" carries an identity",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"X-Auth-Request-User\"] }}\n"),
            "8:31: \"x-auth-request-user\" carries",
        ),
        (
            &format!(
                "{ROUTE}headers = {{ user = \"X-Me\" }}\nrequest_headers = {{ add = {{ X_Me = \"x\" }} }}\n"
            ),
            "9:29: \"x_me\" carries",
        ),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ Host = \"x\" }} }}\n"),
            "8:29: \"Host\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"sec_websocket_key\"] }}\n"),
            "8:31: \"sec_websocket_key\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"Content.Length\"] }}\n"),
            "8:31: \"Content.Length\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ Cookie = \"x\" }} }}\n"),
            "8:29: \"Cookie\" cannot be changed",
        ),
        (
            &format!("{ROUTE}response_headers = {{ add = {{ Set-Cookie = \"x\" }} }}\n"),
            "8:30: \"Set-Cookie\" cannot be",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"Content-Length\"] }}\n"),
            "8:32: \"Content-Length\" cannot be",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"Transfer-Encoding\"] }}\n"),
            "8:32: \"Transfer-Encoding\" can",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"a b\"] }}\n"),
            "8:32: \"a b\" is not a header name",
        ),
        (
            &format!("{ROUTE}response_headers = {{ set = {{ X-A = \"a\\nb\" }} }}\n"),
            "8:36: `routes.response_headers.set` has a value",
        ),
        (&format!("{ROUTE}methods = [\"get\"]\n"), "8:12: \"get\" is not a method"),
        (&format!("{ROUTE}methods = [\"CONNECT\"]\n"), "8:12: CONNECT is never forwarded"),
        (&format!("{ROUTE}methods = [\"GET\", \"GET\"]\n"), "8:19: \"GET\" stands twice"),
        (&format!("{ROUTE}methods = [\"GETT\"]\n"), "8:12: \"GETT\" is no method that is in common use"),
        (
            &format!(
                "{}access = \"public\"\n[[routes]]\npath = \"/a\"\nexact = true\nupstream = [\"http://127.0.0.1:1\"]\n",
                ROUTE
            ),
            "10:8: this exact path needs a session, but \"/a/\" beside it is public (the route in line 6)",
        ),
        (&format!("{ROUTE}headers = {{ user = \"Cookie\" }}\n"), "8:20: \"Cookie\" has a meaning of its own"),
        (&format!("{ROUTE}headers = {{ user = \"X_U\" }}\n"), "8:20: \"X_U\" can be confused"),
        (&format!("{ROUTE}headers = {{ user = \"X-U\", name = \"x-u\" }}\n"), "8:34: \"x-u\" is used twice"),
        ("[[routes]]\npath = \"/\"\n", "5:1: `routes.upstream` is missing"),
        (
            "[[routes]]\npath = \"/_auth/x\"\nupstream = [\"http://a\"]\n",
            "6:8: \"/_auth/x\" lies below /_auth",
        ),
        ("[[routes]]\npath = \"/a/../b\"\nupstream = [\"http://a\"]\n", "6:8: \"/a/../b\" is not a path"),
        ("[[routes]]\npath = \"/\"\nupstream = [\"http://a/b\"]\n", "7:13: an upstream address has no path"),
        (
            "[[routes]]\npath = \"/\"\nupstream = [\"http://8.8.8.8\"]\n",
            "7:13: requests and identities travel",
        ),
        (
            "[[routes]]\npath = \"/\"\nupstream = [\"http://localhost:8080\"]\n",
            "7:13: this upstream is the gateway",
        ),
    ] {
        let text = with(rest);
        if rest.starts_with("routes") {
            assert!(lines(&text).iter().any(|l| l.starts_with(expected)), "{:#?}", lines(&text));
        } else {
            only(&text, expected);
        }
    }
}

#[test]
fn a_column_counts_characters() {
    only(&with(&format!("[access_log]\n\"é\" = 1\n{ROUTE}")), "6:1: unknown key \"é\"");
    only(
        &with(&format!("{ROUTE}access = {{ users = [\"é\", 1] }}\n")),
        "8:26: `routes.access.users` is of the wrong",
    );
}

#[test]
fn all_problems_of_a_file_are_reported_together() {
    let text =
        with("[server]\nlisten = [\"x\"]\nworkers = 0\n[proxy]\nmax_idel = 1\n[[routes]]\npath = \"a\"\n");
    let have = lines(&text);
    assert_eq!(have.len(), 5, "{have:#?}");
}

#[test]
fn syntax_errors_and_other_problems_are_reported_together() {
    let have = lines(&with(&format!("[server]\nworkers = \n[proxy]\nmax_idel = 1\n{ROUTE}")));
    assert!(have.iter().any(|l| l.starts_with("6:")), "{have:#?}");
    assert!(have.iter().any(|l| l.starts_with("8:1: unknown key \"max_idel\"")), "{have:#?}");
}

#[test]
fn a_repeated_key_names_the_first() {
    let problems = checked(&with(&format!("[proxy]\nmax_idle = 1\nmax_idle = 2\n{ROUTE}"))).unwrap_err();
    let problem = &problems.list()[0];
    assert_eq!((problem.line, problem.column, &*problem.what), (7, 1, "duplicate key"));
    assert_eq!(problem.mend.as_deref(), Some("it stands first in line 6: take one out"));
}

#[test]
fn a_repeated_table_names_the_first() {
    let problems =
        checked(&with(&format!("[proxy]\nmax_idle = 1\n[proxy]\nmax_idle = 2\n{ROUTE}"))).unwrap_err();
    assert!(problems.to_string().contains("it stands first in line 5"), "{problems}");
}

#[test]
fn a_value_that_is_no_toml_is_one_problem() {
    only(&with(&format!("[server]\nworkers = \n{ROUTE}")), "6:11: ");
}

#[test]
fn a_problem_shows_its_place_its_line_and_the_mend() {
    let shown = checked(&with(&format!("[server]\nlistne = 1\n{ROUTE}"))).unwrap_err().to_string();
    assert!(shown.starts_with("gateway.toml:6:1: unknown key \"listne\" in `server`\n"), "{shown}");
    assert!(shown.contains("listne = 1\n") && shown.contains("^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `listen`?"), "{shown}");
}

#[test]
fn impossible_cookies_name_the_key() {
    let proxy = "[server]\ntrusted_proxies = [\"10.0.0.5\"]\n";
    for (cookie, expected) in [
        ("same_site = \"none\"", "6:13: browsers refuse `same_site`"),
        ("name = \"__host-a\"", "6:8: browsers refuse the `name`"),
        ("name = \"__Secure-a\"", "6:8: browsers refuse the `name`"),
        (
            "name = \"__Host-a\"\nsecure = true\ndomain = \"a.example\"",
            "8:10: a __Host- cookie has no `domain`",
        ),
        ("domain = \"a.example\"", "6:10: the default name __Host-fluidgate excludes a `domain`"),
        ("name = \"a\"\npath = \"/app\"", "7:8: the pages below /_auth would never see"),
        ("signed = false", "6:10: `session.cookie.signed` is false"),
        ("http_only = false", "6:13: scripts of the apps can read"),
        ("expires = \"soon\"", "6:11: \"soon\" is not a date"),
    ] {
        only(&with(&format!("[session.cookie]\n{cookie}\n{proxy}{ROUTE}")), expected);
    }
}

#[test]
fn a_secure_cookie_on_plain_listeners_alone_is_refused() {
    only(&with(&format!("[session.cookie]\nsecure = true\n{ROUTE}")), "6:10: `secure` is true, but every");
}

#[test]
fn an_idle_timeout_above_the_duration_is_refused() {
    let text = with(ROUTE).replace("[login", "duration = \"1h\"\nidle_timeout = \"2h\"\n[login");
    only(&text, "4:16: `session.idle_timeout` is longer");
}

#[test]
fn a_redis_store_is_taken_and_its_password_never_shown() {
    let store = |keys: &str| {
        with(ROUTE).replace("[login", &format!("store = {{ type = \"redis\", {keys} }}\n[login"))
    };
    let config = checked(&store("url = \"redis://:hunter2@h/2\", grace = \"0s\"")).unwrap().config;
    let StoreSettings::Redis { address, grace } = &config.session.store else { panic!("another store") };
    assert_eq!((address.to_string().as_str(), grace.as_secs()), ("redis://h:6379/2", 0));
    assert!(!format!("{config:?}").contains("hunter2"));
    for (keys, expected) in [
        ("grace = \"1s\"", "a redis store needs a `url`"),
        ("url = \"rediss://:hunter2@h\"", "TLS to Redis is not in this version"),
        ("url = \"http://:hunter2@h\"", "not the address of a Redis server"),
        ("url = \"redis://:hunter2@h\", grace = \"1h\"", "`session.store.grace` is out of range"),
        ("url = \"redis://:hunter2@h\", path = \"x\"", "a redis store has no path"),
        ("url = \"env:NO_SUCH_VARIABLE\"", "the environment has no"),
    ] {
        let problems = checked(&store(keys)).unwrap_err();
        assert!(problems.to_string().contains(expected), "{keys}: {problems}");
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{keys}: {problems}");
    }
}

#[test]
fn the_redis_address_may_stand_in_a_file_of_its_own() {
    let folder = folder();
    let file = folder.path().join("redis.url");
    fs::write(&file, "redis://:hunter2@h/1\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("store = {{ type = \"redis\", url = \"file:{}\" }}\n[login", file.display());
    let config = checked(&with(ROUTE).replace("[login", &url)).unwrap().config;
    let StoreSettings::Redis { address, .. } = &config.session.store else { panic!("another store") };
    assert_eq!(address.to_string(), "redis://h:6379/1");
}

#[test]
fn a_cap_is_a_number_and_what_happens_at_it() {
    let session = |lines: &str| checked(&with(ROUTE).replace("[login", &format!("{lines}\n[login")));
    let cap = |lines: &str| session(lines).unwrap().config.session.cap;
    assert_eq!(cap(""), None);
    assert_eq!(cap("max_per_user = 3"), Some(Cap { max_per_user: 3, at_limit: AtLimit::EndOldest }));
    let refuse = "max_per_user = 10000\nat_limit = \"refuse\"";
    assert_eq!(cap(refuse), Some(Cap { max_per_user: 10_000, at_limit: AtLimit::Refuse }));
    for (lines, what) in [
        ("max_per_user = 0", "`session.max_per_user` is out of range"),
        ("max_per_user = 10001", "`session.max_per_user` is out of range"),
        ("max_per_user = 3\nat_limit = \"oldest\"", "did you mean \"end_oldest\"?"),
        ("at_limit = \"refuse\"", "does nothing without `session.max_per_user`"),
        ("max_bad_cookies = -1", "`session.max_bad_cookies` is out of range"),
    ] {
        let problems = session(lines).unwrap_err().to_string();
        assert!(problems.contains(what), "{lines}: {problems}");
    }
    assert_eq!(session("").unwrap().config.session.max_bad_cookies, 100);
    assert_eq!(session("max_bad_cookies = 0").unwrap().config.session.max_bad_cookies, 0);
}

#[test]
fn a_memory_store_is_taken() {
    let text = with(ROUTE).replace("[login", "store = { type = \"memory\" }\n[login");
    assert_eq!(checked(&text).unwrap().config.session.store, StoreSettings::Memory);
}

#[test]
fn a_literal_secret_is_refused_and_never_shown() {
    for line in [
        "[\"hunter2\"]",
        "\"hunter2\"",
        "[\"hunter2",
        "{ a = \"hunter2\" }",
        "[\"hunter2\", \"file:secret.key\"]",
        "[\n  \"hunter2\n]",
        "[\"file:a\", \"hunter2",
    ] {
        let problems = checked(&with(ROUTE).replace("[\"file:secret.key\"]", line)).unwrap_err();
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{line}: {problems}");
    }
}

#[test]
fn a_literal_secret_under_a_misspelt_key_is_not_shown() {
    for line in ["secret = [\"hunter2\"]", "\"secrets\" [\"hunter2\"]", "x = { secrets = [\"hunter2\" }"] {
        let problems = checked(&format!("[session]\n{line}\n{ROUTE}")).unwrap_err();
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{line}: {problems}");
    }
}

#[test]
fn weak_loose_sample_and_missing_secrets_are_refused_and_never_shown() {
    for (bytes, mode, expected) in [
        ("hunter2".into(), 0o600, "this secret has only 7 bytes"),
        (KEY.to_owned(), 0o640, "others may use the secret file"),
        ("a".repeat(43), 0o600, "this secret is not random"),
        ("change-me-change-me-change-me-change-me".into(), 0o600, "this secret is a sample"),
        (String::new(), 0o600, "this secret has only 0 bytes"),
    ] {
        let folder = folder();
        write(folder.path(), "secret.key", bytes.as_bytes(), mode);
        let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
        assert!(problems.list()[0].what.starts_with(expected), "{problems}");
        assert!(bytes.is_empty() || !problems.to_string().contains(&bytes), "{problems}");
    }
    only(&with(ROUTE).replace("file:secret.key", "file:none"), "2:12: the secret file");
    only(&with(ROUTE).replace("file:secret.key", "env:FLUIDGATE_NOT_SET"), "2:12: the environment has no");
}

#[test]
fn a_missing_or_loose_user_file_is_refused_with_the_mend() {
    let problems = checked(&with(ROUTE).replace("users.toml", "none.toml")).unwrap_err();
    assert!(problems.to_string().contains("fluidgate users add NAME --file"), "{problems}");
    let folder = folder();
    write(folder.path(), "users.toml", b"", 0o666);
    let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
    assert!(problems.to_string().contains("others may change the user file"), "{problems}");
}

#[test]
fn a_store_folder_that_everyone_may_write_to_is_refused() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("state/sessions")).unwrap();
    fs::set_permissions(folder.path().join("state/sessions"), fs::Permissions::from_mode(0o777)).unwrap();
    let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
    assert!(problems.to_string().contains("everyone may write to the store's folder"), "{problems}");
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
