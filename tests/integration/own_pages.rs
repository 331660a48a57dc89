//! The gateway's own pages and answers (X9, X10, X31, X32).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::{Wire, WireResponse, unescaped};

fn has_page_headers(response: &WireResponse) {
    let policy = response.header("content-security-policy").expect("a policy");
    for directive in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
        "style-src 'self'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("referrer-policy"), Some("same-origin"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("vary"), Some("Cookie"));
    let html = response.text();
    assert!(
        !html.contains("<script") && !html.contains("style=\"") && !html.contains("<style"),
        "no inline script or style"
    );
}

#[test]
fn every_page_is_strict_and_works_without_script() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = {{ users = [\"ada\"] }}\n",
        upstream.url()
    ))
    .start();
    let mut bob = gateway.browser();
    has_page_headers(&bob.open("/_auth/login"));
    has_page_headers(&bob.log_in_with("bob", "wrong", "/"));
    bob.log_in("bob");
    has_page_headers(&bob.open("/_auth/logout"));
    has_page_headers(&bob.open("/"));
    has_page_headers(&bob.open("/_auth/nothing"));
}

#[test]
fn what_a_client_sent_is_escaped_when_it_is_shown_again() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let hostile = "\"><script>alert(1)</script>";
    let page = browser.log_in_with(hostile, "x", "/a?\"><script>").text();
    assert!(!page.contains("<script>"), "{page}");
}

#[test]
fn the_assets_a_page_names_are_there_and_may_be_kept() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let page = unescaped(&browser.open("/_auth/login").text());
    let names: Vec<_> =
        page.split("/_auth/assets/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert!(!names.is_empty());
    for name in names {
        let asset = browser.fetch(&format!("/_auth/assets/{name}"));
        assert_eq!(asset.status, 200, "{name}");
        assert!(asset.header("cache-control").unwrap().contains("immutable"));
    }
}

#[test]
fn whoami_tells_programs_who_is_signed_in() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    assert_eq!(browser.fetch("/_auth/whoami").status, 401);
    browser.log_in("ada");
    let answer = browser.fetch("/_auth/whoami");
    assert_eq!(
        (answer.status, &answer.json()["user"], &answer.json()["groups"]),
        (200, &"ada".into(), &serde_json::json!(["staff", "wiki"]))
    );
}

#[test]
fn a_personal_response_is_never_shared_cacheable() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: public, max-age=60\r\n\r\n",
    );
    let url = upstream.url();
    let gateway =
        Setup::routes(format!("[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/p\"\nupstream = [\"{url}\"]\naccess = \"public\"\n")).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.open("/x.css").header("cache-control"), Some("private, max-age=60"));
    assert_eq!(ada.open("/p").header("cache-control"), Some("private, max-age=60"));
    assert_eq!(gateway.browser().open("/p").header("cache-control"), Some("public, max-age=60"));
}

#[test]
fn errors_are_bland_and_carry_a_request_id() {
    let gateway =
        Setup::routes("[[routes]]\nupstream = [\"http://127.0.0.1:9\"]\naccess = \"public\"\n").start();
    let response = gateway.browser().fetch("/");
    assert_eq!(response.status, 502);
    let problem = response.json();
    assert_eq!(problem["request_id"].as_str().map(str::len), Some(16));
    assert!(!response.text().contains("127.0.0.1") && !response.text().contains("refused"));
    let page = gateway.browser().open("/");
    has_page_headers(&page);
}

#[test]
fn management_answers_on_its_own_listener_only() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let ask = |address, path: &str| {
        let mut wire = Wire::connect(address);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        wire.receive().unwrap()
    };
    assert_eq!(ask(gateway.management(), "/healthz").status, 200);
    assert_eq!(ask(gateway.management(), "/readyz").json()["status"], "ready");
    assert_eq!(ask(gateway.management(), "/_auth/login").status, 404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(gateway.address(), path).status, 401, "{path} is the app's, and the app is protected");
    }
}
