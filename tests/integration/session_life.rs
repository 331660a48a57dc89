//! How long a session lives and what survives (S5, S7, S13, S14).

use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_session_from_before_a_restart_is_still_valid() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let gateway = gateway.restart(Setup::protecting(&upstream));
    let response = gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={value}"))], b"");
    assert_eq!(response.status, 200);
}

#[test]
fn a_logout_from_before_a_restart_stays_a_logout() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    ada.log_out();
    let gateway = gateway.restart(Setup::protecting(&upstream));
    assert_eq!(
        gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={value}"))], b"").status,
        401
    );
}

#[test]
fn idle_and_absolute_limits_hold_together() {
    let upstream = TestUpstream::start();
    let setup = || Setup::protecting(&upstream).session("duration = \"5h\"\nidle_timeout = \"2h\"\n");
    let gateway = setup().start();
    let mut idle = gateway.browser();
    idle.log_in("ada");
    gateway.advance(2 * HOUR - Duration::from_secs(1));
    assert_eq!(idle.fetch("/").status, 200, "activity a second before the idle limit");
    gateway.advance(2 * HOUR - Duration::from_secs(1));
    assert_eq!(idle.fetch("/").status, 200, "which moved it");
    gateway.advance(HOUR + Duration::from_secs(1));
    assert_eq!(idle.fetch("/").status, 200, "a second before the absolute limit");
    gateway.advance(Duration::from_secs(1));
    assert_eq!(idle.fetch("/").status, 401, "which nothing moves");

    let mut quiet = gateway.browser();
    quiet.log_in("ada");
    gateway.advance(2 * HOUR);
    assert_eq!(quiet.fetch("/").status, 401);
}

#[test]
fn a_slow_request_in_flight_never_brings_a_logged_out_session_back() {
    let (release, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let upstream = TestUpstream::with(move |request, stream| {
        if request.target() == "/slow" {
            held.lock().unwrap().recv_timeout(PATIENCE).expect("released");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").map(|()| true)
    });
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut slow = gateway.wire();
    slow.send(format!("GET /slow HTTP/1.1\r\nHost: {}\r\nCookie: {name}={value}\r\n\r\n", gateway.address()));
    assert_eq!(upstream.next().target(), "/slow");
    gateway.advance(Duration::from_secs(300));
    ada.log_out();
    release.send(()).unwrap();
    slow.receive();
    let cookie = format!("{name}={value}");
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &cookie)], b"").status, 401);
    let gateway = gateway.restart(Setup::protecting(&upstream));
    assert_eq!(gateway.browser().request("GET", "/", &[("Cookie", &cookie)], b"").status, 401);
}

#[test]
fn sessions_in_memory_work_and_end_with_the_process() {
    let upstream = TestUpstream::start();
    let setup = || Setup { store: "{ type = \"memory\" }", ..Setup::protecting(&upstream) };
    let gateway = setup().start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/").status, 200);
    let (name, value) = ada.session_cookie().unwrap();
    let gateway = gateway.restart(setup());
    assert_eq!(
        gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={value}"))], b"").status,
        401
    );
}

#[test]
fn requests_of_a_route_that_does_not_count_as_activity_do_not_keep_a_session_alive() {
    let upstream = TestUpstream::start();
    let url = upstream.url();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/poll\"\nupstream = [\"{url}\"]\ncounts_as_activity = false\n"
    ))
    .start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    gateway.advance(HOUR);
    assert_eq!(ada.fetch("/").status, 200, "activity");
    for minutes in [30, 60, 90, 119] {
        gateway.advance(Duration::from_secs(60) * if minutes == 119 { 29 } else { 30 });
        assert_eq!(ada.fetch("/poll").status, 200, "{minutes} minutes after it");
    }
    gateway.advance(Duration::from_secs(60));
    assert_eq!(ada.fetch("/poll").status, 401, "two hours after the last request that counts");
}

#[test]
fn a_login_whose_user_is_gone_becomes_anonymous_without_an_error() {
    let (upstream, setup) = open_and_protected();
    let gateway = setup.start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/open").status, 200);
    assert_eq!(upstream.next().header("remote-user"), Some("ada"));
    gateway.change_users(|users| users.replace("[users.ada]", "[users.ann]"));
    assert!(gateway.reload());
    is_anonymous(&mut ada, &upstream);
}

#[test]
fn a_session_whose_record_vanished_becomes_anonymous_without_an_error() {
    let (upstream, setup) = open_and_protected();
    let gateway = setup.start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let (folder, clock) = gateway.stop_keeping_state();
    std::fs::remove_dir_all(folder.path().join("sessions")).unwrap();
    let gateway = Setup { folder, clock, ..open_and_protected_by(&upstream) }.start();
    let mut ada = gateway.browser();
    ada.extra.push(("Cookie".into(), format!("{name}={value}")));
    is_anonymous(&mut ada, &upstream);
}

/// `/open` for everybody, the rest for those who are signed in.
fn open_and_protected() -> (TestUpstream, Setup) {
    let upstream = TestUpstream::start();
    let setup = open_and_protected_by(&upstream);
    (upstream, setup)
}

fn open_and_protected_by(upstream: &TestUpstream) -> Setup {
    let url = upstream.url();
    Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/open\"\nupstream = [\"{url}\"]\naccess = \"public\"\n"
    ))
}

/// The public page works without an identity, the cookie is taken back, and everything else asks to sign in.
fn is_anonymous(browser: &mut TestBrowser, upstream: &TestUpstream) {
    let response = browser.fetch("/open");
    assert_eq!(response.status, 200);
    assert_eq!(upstream.next().header("remote-user"), None);
    assert!(response.all("set-cookie").iter().any(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!((browser.fetch("/").status, browser.open("/").status), (401, 303));
    assert_eq!(browser.open("/_auth/login").status, 200);
}
