//! The session cookie between browser, gateway and upstream (S3, S20, S22 to S26).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

#[test]
fn over_plain_http_the_cookie_is_host_only_http_only_and_lax() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let response = gateway.browser().log_in("ada");
    let cookie = response.all("set-cookie").into_iter().find(|c| c.starts_with("fluidgate=v1.")).unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains("Secure"), "{cookie}");
}

#[test]
fn secure_follows_a_trusted_proxys_word_and_nobody_elses() {
    let upstream = TestUpstream::start();
    let trusting = Setup::protecting(&upstream).server("trusted_proxies = [\"127.0.0.1/32\"]\n").start();
    let mut browser = trusting.browser();
    browser.extra.push(("X-Forwarded-Proto".into(), "https".into()));
    let response = browser.log_in("ada");
    let cookie =
        response.all("set-cookie").into_iter().find(|c| c.starts_with("__Host-fluidgate=v1.")).unwrap();
    assert!(cookie.contains("Secure") && cookie.contains("Path=/") && !cookie.contains("Domain"), "{cookie}");

    let trusting_nobody = TestGateway::protecting(&upstream);
    let mut browser = trusting_nobody.browser();
    browser.extra.push(("X-Forwarded-Proto".into(), "https".into()));
    assert!(
        browser
            .log_in("ada")
            .all("set-cookie")
            .iter()
            .any(|c| c.starts_with("fluidgate=v1.") && !c.contains("Secure"))
    );
}

#[test]
fn our_cookie_never_reaches_the_upstream_and_others_stay_byte_for_byte() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let ours = format!("{name}={value}");
    let cases: [(Vec<String>, Option<&str>); 7] = [
        (vec![ours.clone()], None),
        (vec![format!("{ours}; a=1; b=\"x y\"")], Some("a=1; b=\"x y\"")),
        (vec![format!("a=1; {ours}; b=%zz")], Some("a=1; b=%zz")),
        (vec![format!("a=1; b= 2 ; {ours}")], Some("a=1; b= 2 ")),
        (vec![format!("a=1; {ours}; {ours}; fluidgate=x; __Host-fluidgate=y; c")], Some("a=1; c")),
        (vec!["a=1".into(), ours.clone(), "b=2".into()], Some("a=1; b=2")),
        (vec![format!("a=1;{ours};b=2")], Some("a=1;b=2")),
    ];
    for (fields, expected) in cases {
        let headers: Vec<_> = fields.iter().map(|field| ("Cookie", field.as_str())).collect();
        let response = gateway.browser().request("GET", "/", &headers, b"");
        assert_eq!(response.status, 200, "{fields:?}");
        let seen = upstream.next();
        let trimmed = |text: Option<&str>| text.map(|t| t.trim().to_owned());
        assert_eq!(trimmed(seen.header("cookie")), trimmed(expected), "{fields:?}");
    }
}

#[test]
fn an_upstream_cannot_set_our_cookie() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: fluidgate=evil\r\nSet-Cookie: app=1\r\nSet-Cookie: __HOST-fluidgate=evil; Secure; Path=/\r\n\r\n",
    );
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.open("/").all("set-cookie"), ["app=1"]);
    assert_eq!(ada.open("/").status, 200);
}

#[test]
fn a_stale_cookie_is_anonymous_and_removed_once() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let (name, value) = browser.session_cookie().unwrap();
    browser.log_out();
    let response = gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={value}"))], b"");
    assert_eq!(response.status, 401);
    let cookies = response.all("set-cookie");
    assert!(
        cookies.len() == 1 && cookies[0].starts_with("fluidgate=;") && cookies[0].contains("Max-Age=0"),
        "{cookies:?}"
    );
}

#[test]
fn of_two_cookies_of_our_name_the_one_that_verifies_wins_and_two_sessions_are_none() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let cookie = |user: &str| {
        let mut browser = gateway.browser();
        browser.log_in(user);
        let (name, value) = browser.session_cookie().unwrap();
        format!("{name}={value}")
    };
    let (ada, bob) = (cookie("ada"), cookie("bob"));
    let ask = |cookies: &str| gateway.browser().request("GET", "/", &[("Cookie", cookies)], b"");
    assert_eq!(ask(&format!("fluidgate=garbage; {ada}")).status, 200);
    assert_eq!(ask(&format!("{ada}; fluidgate=v1.x.y.z")).status, 200);
    assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    let conflict = ask(&format!("{ada}; {bob}"));
    assert_eq!(conflict.status, 401);
    assert!(
        conflict.all("set-cookie").iter().any(|c| c.contains("Max-Age=0")),
        "no login loop: the cookie is removed"
    );
}

#[test]
fn a_cookie_of_an_older_secret_is_reissued_under_the_newest() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, old) = ada.session_cookie().unwrap();
    let second = "7yQmXw1rNcK4vTz0aLp9sDf3gHj6kB8eUiOoYtRrEeA";
    let newer = gateway.file("newer.key");
    std::fs::write(&newer, second).unwrap();
    std::fs::set_permissions(&newer, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut setup = Setup::protecting(&upstream);
    setup.secrets = r#"["file:newer.key", "file:secret.key"]"#.into();
    let gateway = gateway.restart(setup);
    let response = gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={old}"))], b"");
    assert_eq!(response.status, 200);
    let reissued = response
        .all("set-cookie")
        .into_iter()
        .find(|c| c.starts_with("fluidgate=v1."))
        .expect("a new cookie")
        .to_owned();
    assert!(!reissued.contains(&old));
    let mut setup = Setup::protecting(&upstream);
    setup.secrets = r#"["file:newer.key"]"#.into();
    let gateway = gateway.restart(setup);
    let moved = reissued.split(';').next().unwrap();
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", moved)], b"").status, 200);
    assert_eq!(
        gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={old}"))], b"").status,
        401
    );
}
