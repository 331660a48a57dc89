//! Visitors who never sign in: they leave nothing behind, and a login they began is worth little to anybody else (S45, S46).

use std::path::Path;
use std::time::Duration;

use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::Wire;

/// Bytes of the store: its folder and the files beside it.
fn store_size(gateway: &TestGateway) -> u64 {
    fn size(path: &Path) -> u64 {
        let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
        if !metadata.is_dir() {
            return metadata.len();
        }
        std::fs::read_dir(path).unwrap().flatten().map(|entry| size(&entry.path())).sum()
    }
    ["sessions", "sessions.marker", "sessions.lock"].iter().map(|name| size(&gateway.file(name))).sum()
}

/// Anonymous requests of all kinds on kept connections, some with a cookie of our name, and logins that end at the form.
fn visit(gateway: &TestGateway, requests: usize, abandoned: usize) {
    let host = gateway.address();
    let kinds = [
        "GET / HTTP/1.1\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "GET /api HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nCookie: fluidgate=v1.junk; a=1\r\n",
        "POST /form HTTP/1.1\r\nContent-Length: 0\r\n",
        "GET /_auth/whoami HTTP/1.1\r\n",
    ];
    let login = "GET /_auth/login?return_to=/x HTTP/1.1\r\nAccept: text/html\r\n";
    let send = |wire: &mut Wire, head: &str| {
        wire.send(format!("{head}Host: {host}\r\n\r\n")).receive().expect("an answer").status
    };
    let mut wire = gateway.wire();
    for n in 0..requests {
        if n % 1000 == 999 {
            wire = gateway.wire();
        }
        assert!(matches!(send(&mut wire, kinds[n % kinds.len()]), 303 | 401), "{}", kinds[n % kinds.len()]);
    }
    for n in 0..abandoned {
        if n % 1000 == 999 {
            wire = gateway.wire();
        }
        assert_eq!(send(&mut wire, login), 200);
    }
}

fn unthrottled(upstream: &TestUpstream) -> TestGateway {
    Setup::protecting(upstream).session("max_bad_cookies = 0\n").start()
}

#[test]
fn three_thousand_requests_and_five_hundred_abandoned_logins_leave_the_store_as_it_was() {
    let upstream = TestUpstream::start();
    let gateway = unthrottled(&upstream);
    gateway.browser().log_in("ada");
    let before = store_size(&gateway);
    visit(&gateway, 3_000, 500);
    assert_eq!(store_size(&gateway), before);
    upstream.saw_nothing();
}

#[test]
#[ignore = "takes minutes: cargo test --test integration anonymous -- --ignored --nocapture"]
fn three_hundred_thousand_requests_and_fifty_thousand_abandoned_logins_leave_the_store_as_it_was() {
    let gateway = unthrottled(&TestUpstream::start());
    gateway.browser().log_in("ada");
    let before = store_size(&gateway);
    visit(&gateway, 300_000, 50_000);
    let grown = store_size(&gateway) - before;
    println!("the store grew from {before} by {grown} bytes");
    assert!(grown < 20 * 1024 * 1024);
}

/// A browser that says neither Sec-Fetch-Site nor Origin, and the token of a login form that it was shown.
fn old_browser(gateway: &TestGateway) -> (crate::support::browser::TestBrowser, String) {
    let mut browser = gateway.browser();
    let page = browser.request("GET", "/_auth/login", &[("Accept", "text/html")], b"");
    let token = page.form_field("token");
    (browser, token)
}

#[test]
fn a_login_form_is_good_for_an_hour_and_then_shown_again_with_the_name_in_it() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (mut browser, token) = old_browser(&gateway);
    let form = [("username", "ada"), ("password", PASSWORD), ("token", token.as_str())];
    gateway.advance(Duration::from_secs(3601));
    let again = browser.post("/_auth/login", &[("Accept", "text/html")], &form);
    assert_eq!(again.status, 403);
    assert!(again.text().contains("value=\"ada\""), "{}", again.text());
    let fresh = again.form_field("token");
    let form = [("username", "ada"), ("password", PASSWORD), ("token", fresh.as_str())];
    assert_eq!(browser.post("/_auth/login", &[], &form).status, 303);
}

#[test]
fn a_login_form_sent_again_needs_the_password_again_and_opens_another_session() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (mut browser, token) = old_browser(&gateway);
    let form = [("username", "ada"), ("password", PASSWORD), ("token", token.as_str())];
    assert_eq!(browser.post("/_auth/login", &[], &form).status, 303);
    let (_, first) = browser.session_cookie().unwrap();
    // The token alone is worth nothing: without the password, and in another browser.
    let without = [("username", "ada"), ("password", "wrong password"), ("token", token.as_str())];
    assert_eq!(browser.post("/_auth/login", &[], &without).status, 401);
    assert_eq!(gateway.browser().post("/_auth/login", &[], &form).status, 403);
    // With both it is one more login, which ends the session presented and hands out a fresh token.
    assert_eq!(browser.post("/_auth/login", &[], &form).status, 303);
    let (name, second) = browser.session_cookie().unwrap();
    assert_ne!(first, second);
    let old = format!("{name}={first}");
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &old)], b"").status, 401);
}

#[test]
fn a_login_form_sent_again_and_again_meets_the_limit_on_attempts() {
    let gateway = Setup::protecting(&TestUpstream::start())
        .sections("[login.throttle]\nper_account = 3\nper_source = 100\n")
        .start();
    let (mut browser, token) = old_browser(&gateway);
    let form = [("username", "ada"), ("password", "wrong password"), ("token", token.as_str())];
    let statuses: Vec<_> = (0..5).map(|_| browser.post("/_auth/login", &[], &form).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}
