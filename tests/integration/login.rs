//! The login form (S27, S28, S30, X13, X14, X16).

use std::fs;
use std::time::Duration;

use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const PAGE: [(&str, &str); 2] = [("Accept", "text/html"), ("Sec-Fetch-Site", "same-origin")];

#[test]
fn a_person_is_sent_to_login_logs_in_and_lands_on_the_page_first_asked_for() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    let sent = browser.open("/wiki?page=2");
    let page = browser.open(sent.location());
    assert_eq!(page.status, 200);
    assert_eq!(page.form_field("return_to"), "/wiki?page=2");
    let back = browser.log_in_with("ada", PASSWORD, "/wiki?page=2");
    assert_eq!((back.status, back.location()), (303, "/wiki?page=2"));
    assert_eq!(back.header("cache-control"), Some("no-store"));
    assert_eq!(browser.open("/wiki?page=2").status, 200);
    let seen = upstream.next();
    assert_eq!((seen.target(), seen.header("remote-user")), ("/wiki?page=2", Some("ada")));
}

#[test]
fn wrong_unknown_and_disabled_users_get_one_and_the_same_answer() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let answer = |user: &str, password: &str| {
        let mut browser = gateway.browser();
        let response = browser.log_in_with(user, password, "/");
        assert_eq!(browser.session_cookie(), None);
        let strip = |text: String| {
            text.replace(user, "USER")
                .split("name=\"token\" value=\"")
                .map(|part| part.split_once('"').map_or("", |p| p.1).to_owned())
                .collect::<String>()
        };
        let names: Vec<_> =
            response.headers.iter().map(|(name, _)| name.clone()).filter(|n| n != "content-length").collect();
        (response.status, names, strip(response.text()))
    };
    let wrong = answer("ada", "wrong password");
    assert_eq!(wrong.0, 401);
    assert_eq!(answer("nobody", PASSWORD), wrong);
    assert_eq!(answer("eve", PASSWORD), wrong);
}

#[test]
fn a_post_from_another_site_does_nothing() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let form = [("username", "ada"), ("password", PASSWORD)];
    for proof in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.test"),
        ("Origin", "http://127.0.0.1:1"),
    ] {
        let mut browser = gateway.browser();
        assert_eq!(browser.post("/_auth/login", &[proof], &form).status, 403, "{proof:?}");
        assert_eq!(browser.session_cookie(), None);
    }
}

#[test]
fn a_browser_that_says_nothing_of_the_origin_needs_the_token_of_its_own_page() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut old = gateway.browser();
    let form = [("username", "ada"), ("password", PASSWORD)];
    assert_eq!(old.post("/_auth/login", &[], &form).status, 403);
    let token = old.request("GET", "/_auth/login", &[("Accept", "text/html")], b"").form_field("token");
    let with_token = [("username", "ada"), ("password", PASSWORD), ("token", token.as_str())];
    assert_eq!(
        gateway.browser().post("/_auth/login", &[], &with_token).status,
        403,
        "a token is bound to the browser it was shown in"
    );
    assert_eq!(old.post("/_auth/login", &[("Origin", "null")], &with_token).status, 303);
}

#[test]
fn several_tabs_can_log_in_at_once() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let mut token =
        || browser.request("GET", "/_auth/login", &[("Accept", "text/html")], b"").form_field("token");
    let (first, second) = (token(), token());
    for token in [first, second] {
        let form = [("username", "ada"), ("password", PASSWORD), ("token", token.as_str())];
        assert_eq!(browser.post("/_auth/login", &[], &form).status, 303);
    }
}

#[test]
fn each_login_mints_a_new_token_and_ends_the_session_presented() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let (name, old) = browser.session_cookie().unwrap();
    browser.log_in("bob");
    let (_, new) = browser.session_cookie().unwrap();
    assert_ne!(old, new);
    assert_eq!(browser.fetch("/").status, 200);
    let stolen = format!("{name}={old}");
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &stolen)], b"").status, 401);
}

#[test]
fn a_planted_or_unknown_cookie_is_never_adopted() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut victim = gateway.browser();
    victim.log_in("ada");
    let (name, real) = victim.session_cookie().unwrap();
    let planted = format!("{name}={}", real.replace(|c: char| c.is_ascii_digit(), "7"));
    let response = gateway.browser().post(
        "/_auth/login",
        &[("Sec-Fetch-Site", "same-origin"), ("Cookie", &planted)],
        &[("username", "bob"), ("password", PASSWORD)],
    );
    assert_eq!(response.status, 303);
    assert!(!response.all("set-cookie").iter().any(|cookie| cookie.starts_with(&planted)));
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &planted)], b"").status, 401);
}

#[test]
fn guesses_are_limited_per_account_whatever_the_spelling_and_the_client_claims() {
    let upstream = TestUpstream::start();
    let gateway = Setup::protecting(&upstream)
        .sections("[login.throttle]\nper_account = 3\nper_source = 100\nwindow = \"5m\"\n")
        .start();
    let spellings = ["ada", "ADA", " ada ", "Ada", "ａｄａ", "ada"];
    let mut statuses = Vec::new();
    for (attempt, name) in spellings.iter().enumerate() {
        let forged = format!("10.0.0.{attempt}");
        let form = [("username", *name), ("password", "wrong")];
        let response =
            gateway.browser().post("/_auth/login", &[PAGE[0], PAGE[1], ("X-Forwarded-For", &forged)], &form);
        if response.status == 429 {
            assert!(response.header("retry-after").is_some());
        }
        statuses.push(response.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    gateway.advance(Duration::from_secs(301));
    assert_eq!(gateway.browser().log_in("ada").status, 303);
}

#[test]
fn odd_forms_are_4xx_without_a_session() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let site = ("Sec-Fetch-Site", "same-origin");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let good = format!("username=ada&password={}", PASSWORD.replace(' ', "+"));
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>, u16);
    let cases: [Case<'_>; 9] = [
        ("GET", "/_auth/login?username=ada&password=secret", &[site], vec![], 400),
        (
            "POST",
            "/_auth/login",
            &[site, ("Content-Type", "application/json")],
            br#"{"username":"ada"}"#.to_vec(),
            415,
        ),
        ("POST", "/_auth/login", &[site, ("Content-Type", "text/plain")], good.clone().into_bytes(), 415),
        ("POST", "/_auth/login", &[site, form], format!("{good}&username=bob").into_bytes(), 400),
        ("POST", "/_auth/login", &[site, form], b"username=ada%00&password=x".to_vec(), 400),
        ("POST", "/_auth/login", &[site, form], vec![b'a'; 100_000], 413),
        (
            "POST",
            "/_auth/login",
            &[site, form],
            format!("username=ada&password={}", "x".repeat(1025)).into_bytes(),
            400,
        ),
        ("PUT", "/_auth/login", &[site, form], good.clone().into_bytes(), 405),
        ("POST", "/_auth/login?username=ada", &[site, form], good.into_bytes(), 403),
    ];
    for (method, path, headers, body, status) in cases {
        let response = browser.request(method, path, headers, &body);
        assert_eq!(response.status, status, "{method} {path} {headers:?}");
        assert_eq!(browser.session_cookie(), None);
    }
}

#[test]
fn an_empty_form_is_refused_and_skips_no_step() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    assert!(matches!(browser.submit("/_auth/login", &[]).status, 400 | 401));
    assert_eq!(browser.session_cookie(), None);
}

#[test]
fn credentials_never_reach_the_log_or_a_location() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    browser.request("GET", "/_auth/login?username=ada&password=hunter2secret", &[], b"");
    let refused = browser.log_in_with("ada", "hunter2secret", "/");
    assert!(!refused.text().contains("hunter2secret"));
    browser.log_in("ada");
    let (_, cookie) = browser.session_cookie().unwrap();
    browser.open("/?token=hunter2secret");
    let log = gateway.stop_and_read("access.log");
    assert_eq!(log.lines().count(), 4);
    for secret in ["hunter2secret", PASSWORD, cookie.as_str()] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_return_target_stays_on_this_origin_for_every_known_payload() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let corpus = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpora/open_redirects.txt")).unwrap();
    let base = url::Url::parse("http://app.test/_auth/login").unwrap();
    let lines: Vec<_> = corpus.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    assert!(lines.len() > 500);
    let mut browser = gateway.browser();
    for line in lines {
        let payload = String::from_utf8_lossy(line);
        let path = format!("/_auth/login?return_to={}", percent(line));
        let target = browser.request("GET", &path, &[("Accept", "text/html")], b"").form_field("return_to");
        let goes = base.join(&target).unwrap();
        assert_eq!(goes.origin(), base.origin(), "{payload} leads to {goes}");
        assert!(!target.starts_with("//") && !target.starts_with("/\\"), "{payload} leads to {target}");
    }
    // The same after the form, where it becomes a Location.
    for payload in ["//evil.test", "/\\evil.test", "https://evil.test", "/%09/evil.test", "/_auth/logout"] {
        assert_eq!(gateway.browser().log_in_with("ada", PASSWORD, payload).location(), "/", "{payload}");
    }
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("%{b:02x}")).collect()
}
