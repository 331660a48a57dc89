//! Two gateways over one Redis server, and one without it (S10, S11, O11).

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::redis::{TestRedis, until};
use crate::support::upstream::TestUpstream;

fn over(server: &TestRedis, upstream: &TestUpstream) -> TestGateway {
    let store = format!("{{ type = \"redis\", url = \"{}\", grace = \"30s\" }}", server.url());
    Setup { store: store.leak(), ..Setup::protecting(upstream) }.start()
}

/// Asks with the session of `browser`, whichever gateway it comes from.
fn ask(gateway: &TestGateway, cookie: &(String, String)) -> u16 {
    let field = format!("{}={}", cookie.0, cookie.1);
    gateway.browser().request("GET", "/", &[("Cookie", &field)], b"").status
}

fn is_ready(gateway: &TestGateway) -> bool {
    TestBrowser::new(gateway.management()).fetch("/readyz").status == 200
}

#[test]
fn a_login_at_one_gateway_opens_the_other_and_a_logout_closes_it() {
    let (server, upstream) = (TestRedis::start(), TestUpstream::start());
    let (here, there) = (over(&server, &upstream), over(&server, &upstream));
    let mut ada = here.browser();
    ada.log_in("ada");
    let cookie = ada.session_cookie().unwrap();
    assert_eq!(ask(&there, &cookie), 200);
    assert_eq!(ada.log_out().status, 303);
    until("the other gateway learns of it", || ask(&there, &cookie) == 401);
    assert_eq!(ask(&here, &cookie), 401);
}

#[test]
fn without_the_server_sessions_go_on_for_the_grace_then_503_and_never_a_login_page() {
    let (mut server, upstream) = (TestRedis::start(), TestUpstream::start());
    let gateway = over(&server, &upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let cookie = ada.session_cookie().unwrap();
    // The server's word on the login itself has arrived and been read again by then: the session is verified.
    for _ in 0..5 {
        assert_eq!(ada.fetch("/").status, 200);
    }
    server.stop();
    until("health turns red", || !is_ready(&gateway));
    assert_eq!(ada.fetch("/").status, 200, "verified before, within the grace");
    let refused = gateway.browser().log_in_with("ada", PASSWORD, "/");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());

    gateway.advance(Duration::from_secs(31));
    let closed = ada.open("/");
    assert_eq!(closed.status, 503, "{}", closed.text());
    assert!(closed.header("retry-after").is_some());
    assert_eq!(closed.all("set-cookie").len(), 0, "the session may be a good one");
    assert_eq!(ada.fetch("/_auth/whoami").status, 503);
    assert_eq!(gateway.browser().fetch("/").status, 401, "nobody is nobody without asking");

    let out = ada.log_out();
    assert_eq!(out.status, 303);
    assert_eq!(ask(&gateway, &cookie), 401, "revoked in memory");

    server.start_again();
    until("health is good again", || is_ready(&gateway));
    ada.log_in("ada");
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(ask(&gateway, &cookie), 401);
}
