//! How long the cookie lasts, and that the server never depends on it (S17).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const HOUR: Duration = Duration::from_secs(3600);

/// A gateway with these lines in `[session]`, and the cookie of a login there.
fn logged_in(session: &str) -> (TestGateway, String) {
    let gateway = Setup::protecting(&TestUpstream::start()).session(session).start();
    let cookie = set_cookie(&gateway.browser().log_in("ada").all("set-cookie"));
    (gateway, cookie)
}

fn set_cookie(all: &[&str]) -> String {
    all.iter().find(|cookie| cookie.starts_with("fluidgate=")).expect("a session cookie").to_string()
}

fn attribute<'a>(cookie: &'a str, name: &str) -> Option<&'a str> {
    let mut found =
        cookie.split("; ").skip(1).filter_map(|part| part.split_once('=')).filter(|(n, _)| *n == name);
    let value = found.next().map(|(_, value)| value);
    assert_eq!(found.next(), None, "{name} stands twice in {cookie}");
    value
}

/// What the browser compares cookies by, and how it guards them: everything but value and lifetime.
fn lasting_attributes(cookie: &str) -> BTreeSet<&str> {
    let lifetime = |part: &&str| part.starts_with("Max-Age=") || part.starts_with("Expires=");
    cookie.split("; ").skip(1).filter(|part| !lifetime(part)).collect()
}

fn status(gateway: &TestGateway, cookie: &str) -> u16 {
    let pair = cookie.split(';').next().unwrap();
    gateway.browser().request("GET", "/", &[("Cookie", pair)], b"").status
}

#[test]
fn max_age_is_what_remains_of_the_absolute_limit() {
    for (duration, seconds) in [("5h", "18000"), ("1m", "60"), ("400d", "34560000")] {
        let (_, cookie) = logged_in(&format!("duration = \"{duration}\"\n"));
        assert_eq!(attribute(&cookie, "Max-Age"), Some(seconds));
        assert_eq!(attribute(&cookie, "Expires"), None);
    }
}

#[test]
fn a_configured_max_age_is_a_ceiling_and_moves_no_limit_of_the_server() {
    let (gateway, cookie) =
        logged_in("duration = \"5h\"\nidle_timeout = \"4h\"\n[session.cookie]\nmax_age = \"1h\"\n");
    assert_eq!(attribute(&cookie, "Max-Age"), Some("3600"));
    gateway.advance(3 * HOUR);
    assert_eq!(status(&gateway, &cookie), 200, "the server's own limits decide");
    gateway.advance(2 * HOUR);
    assert_eq!(status(&gateway, &cookie), 401);

    let (gateway, cookie) = logged_in("duration = \"2h\"\n[session.cookie]\nmax_age = \"30d\"\n");
    assert_eq!(attribute(&cookie, "Max-Age"), Some("7200"), "never longer than the session");
    gateway.advance(2 * HOUR);
    assert_eq!(status(&gateway, &cookie), 401, "a long-lived cookie opens nothing");
}

#[test]
fn a_browser_session_cookie_has_no_lifetime_of_its_own() {
    let (gateway, cookie) = logged_in("[session.cookie]\nmax_age = \"session\"\n");
    assert_eq!((attribute(&cookie, "Max-Age"), attribute(&cookie, "Expires")), (None, None));
    assert_eq!(status(&gateway, &cookie), 200);
    gateway.advance(2 * HOUR);
    assert_eq!(status(&gateway, &cookie), 401, "the server's limits hold all the same");
}

#[test]
fn expires_is_a_fixed_date_beside_max_age() {
    let date = "expires = \"2030-01-02T03:04:05Z\"\n";
    let (_, cookie) = logged_in(&format!("[session.cookie]\n{date}"));
    assert_eq!(attribute(&cookie, "Expires"), Some("Wed, 02 Jan 2030 03:04:05 GMT"));
    assert_eq!(attribute(&cookie, "Max-Age"), Some("86400"));
    let (_, cookie) = logged_in(&format!("[session.cookie]\nmax_age = \"session\"\n{date}"));
    assert_eq!(attribute(&cookie, "Max-Age"), None);
    assert!(attribute(&cookie, "Expires").is_some());
}

#[test]
fn the_attributes_are_the_same_whenever_the_cookie_is_sent() {
    let upstream = TestUpstream::start();
    let cookie = "duration = \"10h\"\nidle_timeout = \"9h\"\n[session.cookie]\nname = \"x-fluidgate\"\nsame_site = \"strict\"\ndomain = \"example.test\"\n";
    let find = |all: &[&str]| all.iter().find(|c| c.starts_with("x-fluidgate=")).unwrap().to_string();
    let gateway = Setup::protecting(&upstream).session(cookie).start();
    let issued = find(&gateway.browser().log_in("ada").all("set-cookie"));
    gateway.advance(HOUR);

    let newer = gateway.file("newer.key");
    std::fs::write(&newer, "7yQmXw1rNcK4vTz0aLp9sDf3gHj6kB8eUiOoYtRrEeA").unwrap();
    std::fs::set_permissions(&newer, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut setup = Setup::protecting(&upstream).session(cookie);
    setup.secrets = r#"["file:newer.key", "file:secret.key"]"#.into();
    let gateway = gateway.restart(setup);
    let pair = issued.split(';').next().unwrap();
    let reissued = find(&gateway.browser().request("GET", "/", &[("Cookie", pair)], b"").all("set-cookie"));
    let removed = find(
        &gateway.browser().request("GET", "/", &[("Cookie", "x-fluidgate=junk")], b"").all("set-cookie"),
    );
    let expected = BTreeSet::from(["Path=/", "Domain=example.test", "HttpOnly", "SameSite=Strict"]);
    for cookie in [&issued, &reissued, &removed] {
        assert_eq!(lasting_attributes(cookie), expected, "{cookie}");
    }
    let ages = [&issued, &reissued, &removed].map(|cookie| attribute(cookie, "Max-Age").unwrap());
    assert_eq!(ages, ["36000", "32400", "0"], "a new cookie promises what remains, and no more");
}
