//! The rows of the table "From FluidAuth" in docs/sessions.md that have no test elsewhere, and that every row's test exists (S42).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;

/// The session cookie that a login sets with these lines in `[session.cookie]`, over https as a trusted proxy tells it.
fn cookie_with(lines: &str) -> String {
    let gateway = Setup::protecting(&TestUpstream::start())
        .server("trusted_proxies = [\"127.0.0.1/32\"]\n")
        .session(&format!("[session.cookie]\n{lines}\n"))
        .start();
    let mut browser = gateway.browser();
    browser.base = "https://wiki.example.test/".parse().unwrap();
    browser.extra.push(("X-Forwarded-Proto".into(), "https".into()));
    let response = browser.log_in("ada");
    let all = response.all("set-cookie");
    all.iter().find(|cookie| cookie.contains("=v1.")).expect("a session cookie").to_string()
}

fn has(cookie: &str, attribute: &str) -> bool {
    cookie.split("; ").any(|part| part == attribute)
}

/// What the configuration says against these lines in `[session]`.
fn refused(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[session]\n{lines}\n[[routes]]\nupstream = [\"http://127.0.0.1:1\"]\n");
    fluidgate::config::parse(&text, "gateway.toml", folder.path()).unwrap_err().to_string()
}

#[test]
fn option_cookie_name_is_the_cookies_name() {
    assert!(cookie_with("").starts_with("__Host-fluidgate=v1."));
    assert!(cookie_with("name = \"sid\"").starts_with("sid=v1."));
}

#[test]
fn option_cookie_http_only_is_on_unless_switched_off() {
    assert!(has(&cookie_with(""), "HttpOnly"));
    assert!(!has(&cookie_with("http_only = false"), "HttpOnly"));
}

#[test]
fn option_cookie_secure_follows_the_scheme_unless_it_is_said() {
    assert!(has(&cookie_with(""), "Secure"));
    assert!(has(&cookie_with("secure = true"), "Secure"));
    assert!(!has(&cookie_with("secure = false"), "Secure"));
}

#[test]
fn option_cookie_same_site_is_lax_unless_it_is_said() {
    assert!(has(&cookie_with(""), "SameSite=Lax"));
    assert!(has(&cookie_with("same_site = \"strict\""), "SameSite=Strict"));
    assert!(has(&cookie_with("same_site = \"none\"\nsecure = true"), "SameSite=None"));
}

#[test]
fn option_cookie_path_is_the_whole_host_unless_it_is_said() {
    assert!(has(&cookie_with(""), "Path=/"));
    assert!(has(&cookie_with("name = \"sid\"\npath = \"/_auth\""), "Path=/_auth"));
}

#[test]
fn option_cookie_domain_is_none_unless_it_is_said() {
    assert!(!cookie_with("").contains("Domain"));
    assert!(has(&cookie_with("name = \"sid\"\ndomain = \"example.test\""), "Domain=example.test"));
}

#[test]
fn option_cookie_signed_cannot_be_switched_off() {
    assert!(cookie_with("signed = true").contains("=v1."));
    assert!(refused("[session.cookie]\nsigned = false").contains("session.cookie.signed"));
}

#[test]
fn option_session_duration_takes_sensible_values_only() {
    for odd in ["0", "\"0s\"", "\"-5m\"", "\"NaN\"", "\"soon\"", "\"401d\"", "inf", "1800000", "true"] {
        let said = refused(&format!("duration = {odd}"));
        assert!(said.contains("session.duration"), "{odd}: {said}");
    }
}

#[test]
fn what_is_stored_is_the_name_and_the_directory_says_the_rest() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let users = gateway.file("users.toml");
    let text = fs::read_to_string(&users).unwrap().replace("Ada Lovelace", "Ada King");
    fs::write(&users, text).unwrap();
    let gateway = gateway.restart(Setup::protecting(&upstream));
    let cookie = format!("{name}={value}");
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &cookie)], b"").status, 200);
    assert_eq!(upstream.next().header("remote-name"), Some("Ada King"));
}

#[test]
fn a_failed_login_is_a_page_with_401_and_no_redirect() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let response = gateway.browser().log_in_with("ada", "wrong password", "/x");
    assert_eq!((response.status, response.header("location")), (401, None));
    assert_eq!(response.form_field("return_to"), "/x");
}

#[test]
fn a_provider_that_is_not_in_this_version_is_refused_by_name() {
    let said = refused("secrets = [\"file:s\"]\n[login.github]\nclient_id = \"x\"");
    assert!(said.contains("github"), "{said}");
}

#[test]
fn login_logout_and_is_authenticated_are_paths_of_the_gateway() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    assert_eq!(browser.fetch("/_auth/whoami").status, 401);
    assert_eq!(browser.log_in_with("ada", PASSWORD, "/").status, 303);
    let whoami = browser.fetch("/_auth/whoami");
    assert_eq!((whoami.status, whoami.json()["user"].as_str()), (200, Some("ada")));
    assert_eq!(browser.log_out().status, 303);
    assert_eq!(browser.fetch("/_auth/whoami").status, 401);
}

/// The names of all functions below `folder`.
fn functions(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text
                .lines()
                .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
            into.extend(names.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_row_of_the_mapping_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/sessions.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&root.join("src"), &mut known);
    functions(&root.join("tests"), &mut known);
    let section =
        text.split("\n## ").find(|section| section.starts_with("From FluidAuth")).expect("the table");
    let is_row =
        |line: &&str| line.starts_with("| ") && !line.starts_with("| -") && !line.ends_with("| test |");
    let rows: Vec<_> = section.lines().filter(is_row).collect();
    assert!(rows.len() >= 48, "only {} rows", rows.len());
    for row in rows {
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        let tests: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in: {row}");
        for test in tests {
            assert!(known.contains(test), "there is no test `{test}`, which this row names: {row}");
        }
    }
    for defect in 1..=16 {
        let name = format!("f{defect:02}_");
        assert!(known.iter().any(|test| test.starts_with(&name)), "no test for defect {defect}");
        assert!(section.contains(&format!("`{name}")), "no row for defect {defect}");
    }
}
