//! Who may use a route, and what everybody else gets (S31, X5, X6, X7).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

fn members(upstream: &TestUpstream) -> TestGateway {
    let url = upstream.url();
    Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\naccess = {{ users = [\"bob\"], groups = [\"staff\"] }}\n\
         [[routes]]\npath = \"/pub\"\nupstream = [\"{url}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/any\"\nupstream = [\"{url}\"]\n"
    ))
    .start()
}

#[test]
fn a_navigation_is_sent_to_login_with_the_page_to_come_back_to() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let response = gateway.browser().open("/wiki/Main?a=b&c=%20");
    assert_eq!(response.status, 303);
    assert_eq!(response.location(), "/_auth/login?return_to=/wiki/Main%3Fa%3Db%26c%3D%2520");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("vary"), Some("Cookie"));
    upstream.saw_nothing();
}

#[test]
fn everything_but_a_navigation_gets_401_with_json_and_the_login_url() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    let html = ("Accept", "text/html");
    let requests: [&[(&str, &str)]; 5] = [
        &[("Sec-Fetch-Mode", "cors"), html],
        &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
        &[("Sec-Fetch-Mode", "same-origin"), ("Sec-Fetch-Dest", "serviceworker"), html],
        &[("Upgrade", "websocket"), ("Connection", "upgrade"), html],
        &[("Accept", "*/*"), ("User-Agent", "Mozilla/5.0 (X11) Chrome/120")],
    ];
    for headers in requests {
        let response = browser.request("GET", "/x", headers, b"");
        assert_eq!(response.status, 401, "{headers:?}");
        assert_eq!(response.json()["login_url"], "/_auth/login");
        assert_eq!(response.header("location"), None);
    }
    upstream.saw_nothing();
}

#[test]
fn only_a_top_level_navigation_sets_where_to_come_back_to() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let frame =
        browser.request("GET", "/x", &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")], b"");
    assert_eq!(frame.location(), "/_auth/login");
    let form = browser.request(
        "POST",
        "/x",
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")],
        b"a=b",
    );
    assert_eq!((form.status, form.location()), (303, "/_auth/login"));
}

#[test]
fn members_pass_by_name_or_group_and_others_are_denied_with_the_reason() {
    let upstream = TestUpstream::start();
    let gateway = members(&upstream);
    for (user, status) in [("ada", 200), ("bob", 200), ("zoe", 403)] {
        let mut browser = gateway.browser();
        browser.log_in(user);
        assert_eq!(browser.open("/").status, status, "{user}");
    }
    let mut zoe = gateway.browser();
    zoe.log_in("zoe");
    let page = zoe.open("/secret");
    assert!(page.text().contains("zoe"), "the page says who is signed in");
    let api = zoe.fetch("/secret");
    assert_eq!((api.status, &api.json()["code"]), (403, &"not_a_member".into()));
    assert!(api.json()["request_id"].is_string());
}

#[test]
fn each_request_on_a_connection_is_judged_alone() {
    let upstream = TestUpstream::start();
    let gateway = members(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let host = gateway.address();
    let mut wire = gateway.wire();
    for (cookie, status) in [(true, 200), (false, 401), (true, 200), (false, 401)] {
        let cookie = if cookie { format!("Cookie: {name}={value}\r\n") } else { String::new() };
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n"));
        assert_eq!(wire.receive().unwrap().status, status);
    }
    assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    upstream.saw_nothing();
}

#[test]
fn nothing_the_client_claims_changes_the_decision() {
    let upstream = TestUpstream::start();
    let gateway = members(&upstream);
    let claims = [
        ("X-Forwarded-Uri", "/pub"),
        ("X-Original-URL", "/pub"),
        ("X-Rewrite-URL", "/pub"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Host", "other"),
        ("X-HTTP-Method-Override", "GET"),
        ("User-Agent", "kube-probe/1.2"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Authorization", "Bearer junk"),
        ("Forwarded", "for=127.0.0.1;host=pub"),
    ];
    for claim in claims {
        let response = gateway.browser().request("GET", "/prot", &[claim], b"");
        assert_eq!(response.status, 401, "{claim:?}");
    }
    for target in ["/prot?/pub/", "/prot?x=/pub", "/x;/pub"] {
        assert_eq!(gateway.browser().request("GET", target, &[], b"").status, 401, "{target}");
    }
    upstream.saw_nothing();
}

#[test]
fn malformed_cookies_deny_and_never_fail() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let token = "A".repeat(43);
    let long = "x".repeat(20_000);
    for cookie in [
        ";;;",
        "=",
        "fluidgate",
        "fluidgate=",
        "fluidgate=v1",
        "fluidgate=v1.a.b.c",
        &format!("fluidgate=v1.k.{token}.{token}"),
        &format!("fluidgate={long}"),
        "fluidgate=\"x\"",
        "fluidgate=%00",
        "$Version=1; fluidgate=x",
        "=fluidgate=x",
        "\u{2000}__Host-fluidgate=x",
        &"a=b; ".repeat(3000),
    ] {
        let response = gateway.browser().request("GET", "/", &[("Cookie", cookie)], b"");
        assert_eq!(response.status, 401, "{:?}", &cookie[..cookie.len().min(60)]);
    }
    upstream.saw_nothing();
}
