//! Logging out (S21, S28, S29).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::WireResponse;

fn is_a_full_logout(response: &WireResponse) {
    assert_eq!(response.status, 303);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("clear-site-data"), Some("\"cache\", \"storage\""));
    let cookies = response.all("set-cookie");
    let removals: Vec<_> = cookies.iter().filter(|cookie| cookie.contains("Max-Age=0")).collect();
    assert_eq!(removals.len(), 1, "{cookies:?}");
}

#[test]
fn a_logout_ends_the_session_on_every_worker_for_the_very_next_request() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let (name, value) = browser.session_cookie().unwrap();
    let cookie = format!("{name}={value}");
    // Connections spread over the workers, all alive before the logout.
    let mut wires: Vec<_> = (0..8).map(|_| gateway.wire()).collect();
    let ask = format!("GET / HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", gateway.address());
    for wire in &mut wires {
        assert_eq!(wire.send(&ask).receive().unwrap().status, 200);
    }
    is_a_full_logout(&browser.log_out());
    for wire in &mut wires {
        assert_eq!(wire.send(&ask).receive().unwrap().status, 401);
    }
    assert_eq!(browser.session_cookie(), None, "the jar holds no cookie of ours");
}

#[test]
fn a_logout_works_when_repeated_when_expired_and_when_the_upstream_is_down() {
    let gateway = Setup::routes("[[routes]]\nupstream = [\"http://127.0.0.1:9\"]\n").start();
    let mut browser = gateway.browser();
    browser.log_in("ada");
    is_a_full_logout(&browser.log_out());
    is_a_full_logout(&browser.log_out());
    browser.log_in("ada");
    gateway.advance(std::time::Duration::from_secs(25 * 3600));
    is_a_full_logout(&browser.log_out());
}

#[test]
fn a_get_only_asks() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let page = browser.open("/_auth/logout");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("method=\"post\""), "{}", page.text());
    let image = browser.request(
        "GET",
        "/_auth/logout",
        &[("Sec-Fetch-Dest", "image"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Site", "cross-site")],
        b"",
    );
    assert_eq!(image.status, 200);
    browser.request("GET", "/_auth/logout", &[("Sec-Purpose", "prefetch")], b"");
    assert_eq!(browser.fetch("/").status, 200);
}

#[test]
fn a_post_from_another_site_does_not_log_out() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    browser.log_in("ada");
    for proof in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.test"), ("Origin", "null")] {
        assert_eq!(browser.post("/_auth/logout", &[proof], &[]).status, 403, "{proof:?}");
    }
    assert_eq!(browser.fetch("/").status, 200);
    let token = browser.open("/_auth/logout").form_field("token");
    is_a_full_logout(&browser.post("/_auth/logout", &[], &[("token", &token)]));
}

#[test]
fn the_removal_cookie_repeats_every_attribute() {
    for (cookie, attributes) in [
        ("", "Path=/; HttpOnly; SameSite=Lax"),
        ("secure = false\nsame_site = \"strict\"\nhttp_only = false", "Path=/; SameSite=Strict"),
    ] {
        let gateway = Setup::protecting(&TestUpstream::start())
            .sections(&format!("[session.cookie]\n{cookie}\n"))
            .start();
        let mut browser = gateway.browser();
        let set = |response: &WireResponse| {
            response.all("set-cookie").iter().find(|c| c.starts_with("fluidgate=")).unwrap().to_string()
        };
        let given = set(&browser.log_in("ada"));
        let removed = set(&browser.log_out());
        let parts = |text: &str| {
            let mut parts: Vec<_> = text
                .split("; ")
                .skip(1)
                .filter(|p| !p.starts_with("Max-Age") && !p.starts_with("Expires"))
                .map(str::to_owned)
                .collect();
            parts.sort();
            parts
        };
        assert_eq!(parts(&given), parts(&removed));
        let mut expected: Vec<_> = attributes.split("; ").map(str::to_owned).collect();
        expected.sort();
        assert_eq!(parts(&given), expected);
        assert_eq!(browser.jar.iter_any().filter(|c| c.name() == "fluidgate" && !c.is_expired()).count(), 0);
    }
}

#[test]
fn clear_site_data_can_be_switched_off() {
    let gateway =
        Setup::protecting(&TestUpstream::start()).sections("[login]\nclear_site_data = false\n").start();
    assert_eq!(gateway.browser().log_out().header("clear-site-data"), None);
}

/// Two sessions whose cookies one browser sends together, as when one was set for a parent domain.
fn with_two_cookies(gateway: &TestGateway) -> (String, String) {
    let mut pair = ["ada", "bob"].map(|user| {
        let mut browser = gateway.browser();
        browser.log_in(user);
        let (name, value) = browser.session_cookie().unwrap();
        format!("{name}={value}")
    });
    (std::mem::take(&mut pair[0]), std::mem::take(&mut pair[1]))
}

fn status_of(gateway: &TestGateway, cookie: &str) -> u16 {
    gateway.browser().request("GET", "/", &[("Cookie", cookie)], b"").status
}

#[test]
fn a_logout_with_two_valid_cookies_ends_both_sessions() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (one, other) = with_two_cookies(&gateway);
    let both = format!("{one}; {other}");
    assert_eq!(status_of(&gateway, &both), 401, "neither is taken for the other");
    let mut browser = gateway.browser();
    is_a_full_logout(&browser.post(
        "/_auth/logout",
        &[("Sec-Fetch-Site", "same-origin"), ("Cookie", &both)],
        &[],
    ));
    assert_eq!((status_of(&gateway, &one), status_of(&gateway, &other)), (401, 401));
}

#[test]
fn a_token_of_one_session_logs_no_other_one_out() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (one, other) = with_two_cookies(&gateway);
    let page =
        gateway.browser().request("GET", "/_auth/logout", &[("Cookie", &one), ("Accept", "text/html")], b"");
    let both = format!("{one}; {other}");
    let answer = gateway.browser().post(
        "/_auth/logout",
        &[("Cookie", &both)],
        &[("token", &page.form_field("token"))],
    );
    is_a_full_logout(&answer);
    assert_eq!((status_of(&gateway, &one), status_of(&gateway, &other)), (401, 200));
    let foreign = gateway.browser().post(
        "/_auth/logout",
        &[("Cookie", &other)],
        &[("token", &page.form_field("token"))],
    );
    assert_eq!(foreign.status, 403);
    assert_eq!(status_of(&gateway, &other), 200);
}

#[test]
fn a_login_with_two_valid_cookies_ends_both_sessions() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (one, other) = with_two_cookies(&gateway);
    let mut browser = gateway.browser();
    browser.extra.push(("Cookie".into(), format!("{one}; {other}")));
    browser.log_in("ada");
    assert_eq!((status_of(&gateway, &one), status_of(&gateway, &other)), (401, 401));
    let (name, value) = browser.session_cookie().unwrap();
    assert_eq!(status_of(&gateway, &format!("{name}={value}")), 200);
}
