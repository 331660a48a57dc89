//! Sources that send bad session cookies (S40).

use std::time::Duration;

use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const JUNK: (&str, &str) = ("Cookie", "fluidgate=v1.junk");

fn limited(upstream: &TestUpstream) -> TestGateway {
    let routes = format!(
        "[[routes]]\nupstream = [\"{0}\"]\n[[routes]]\npath = \"/open\"\naccess = \"public\"\nupstream = [\"{0}\"]\n",
        upstream.url()
    );
    Setup::routes(routes)
        .server("trusted_proxies = [\"127.0.0.1/32\"]\n")
        .session("max_bad_cookies = 5\n")
        .start()
}

#[test]
fn a_source_with_too_many_bad_cookies_gets_429_and_everybody_else_goes_on() {
    let upstream = TestUpstream::start();
    let gateway = limited(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let ask = |from: &str, cookie: (&str, &str), path: &str| {
        gateway.browser().request("GET", path, &[("X-Forwarded-For", from), cookie], b"")
    };
    for _ in 0..5 {
        assert_eq!(ask("192.0.2.1", JUNK, "/").status, 401);
    }
    for path in ["/", "/open", "/_auth/login", "/_auth/whoami"] {
        let told = ask("192.0.2.1", JUNK, path);
        assert_eq!((told.status, told.header("retry-after")), (429, Some("60")), "{path}");
        assert_eq!(told.json()["code"], "bad_cookies");
        assert!(
            told.all("set-cookie").iter().any(|c| c.starts_with("fluidgate=;") && c.contains("Max-Age=0"))
        );
    }
    upstream.saw_nothing();
    // The same source without a cookie, or with a good one, and another source with a bad one.
    assert_eq!(ask("192.0.2.1", ("X-Nothing", "1"), "/").status, 401);
    assert_eq!(ask("192.0.2.1", ("X-Nothing", "1"), "/open").status, 200);
    let (name, value) = ada.session_cookie().unwrap();
    assert_eq!(ask("192.0.2.1", ("Cookie", &format!("{name}={value}")), "/").status, 200);
    assert_eq!(ask("192.0.2.2", JUNK, "/").status, 401);
    gateway.advance(Duration::from_secs(60));
    assert_eq!(ask("192.0.2.1", JUNK, "/").status, 401);
    let log = gateway.stop_and_read("access.log");
    assert_eq!(log.lines().filter(|line| line.contains("\"reason\":\"bad_cookies\"")).count(), 4);
}

#[test]
fn an_honest_browser_at_such_a_source_drops_its_cookie_and_signs_in() {
    let gateway = limited(&TestUpstream::start());
    for _ in 0..5 {
        gateway.browser().request("GET", "/", &[JUNK], b"");
    }
    let mut honest = gateway.browser();
    let base = honest.base.clone();
    honest.jar.parse("fluidgate=v1.from-before; Path=/", &base).unwrap();
    assert_eq!(honest.open("/").status, 429);
    let sent = honest.open("/");
    assert_eq!(sent.status, 303, "the cookie is gone");
    assert_eq!(honest.log_in_with("ada", PASSWORD, "/").status, 303);
    assert_eq!(honest.open("/").status, 200);
}

#[test]
fn zero_means_no_limit() {
    let gateway = Setup::protecting(&TestUpstream::start()).session("max_bad_cookies = 0\n").start();
    assert!((0..150).all(|_| gateway.browser().request("GET", "/", &[JUNK], b"").status == 401));
}
