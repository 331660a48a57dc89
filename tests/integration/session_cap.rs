//! The cap on a user's sessions (S34).

use crate::support::browser::TestBrowser;
use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::WireResponse;

const CAP: usize = 3;

fn capped(upstream: &TestUpstream, more: &str) -> TestGateway {
    Setup::protecting(upstream)
        .session(&format!("max_per_user = {CAP}\n{more}"))
        .sections("[login.throttle]\nper_account = 1000\nper_source = 1000\n")
        .start()
}

/// Ada signs in on 64 devices at once.
fn sixty_four_at_once(gateway: &TestGateway) -> Vec<(TestBrowser, WireResponse)> {
    let logins: Vec<_> = (0..64)
        .map(|_| {
            let mut browser = gateway.browser();
            std::thread::spawn(move || {
                let response = browser.log_in_with("ada", PASSWORD, "/");
                (browser, response)
            })
        })
        .collect();
    logins.into_iter().map(|login| login.join().unwrap()).collect()
}

#[test]
fn of_64_devices_that_sign_in_at_once_the_cap_stays_and_the_oldest_end() {
    let upstream = TestUpstream::start();
    let gateway = capped(&upstream, "");
    let mut devices = sixty_four_at_once(&gateway);
    assert!(devices.iter().all(|(_, response)| response.status == 303));
    let live =
        devices.iter_mut().filter_map(|(device, _)| (device.fetch("/").status == 200).then_some(())).count();
    assert_eq!(live, CAP);
    assert_eq!(gateway.browser().log_in("bob").status, 303, "bob has a cap of his own");
}

#[test]
fn with_refuse_the_64_devices_are_told_why_all_but_the_cap_are_not_let_in() {
    let upstream = TestUpstream::start();
    let gateway = capped(&upstream, "at_limit = \"refuse\"\n");
    let mut devices = sixty_four_at_once(&gateway);
    let mut live = 0;
    for (device, response) in &mut devices {
        match response.status {
            303 => live += usize::from(device.fetch("/").status == 200),
            _ => {
                assert_eq!(response.status, 403, "{}", response.text());
                assert!(response.text().contains("as many devices as is allowed"), "{}", response.text());
                assert_eq!(response.header("cache-control"), Some("no-store"));
                assert_eq!(device.session_cookie(), None);
            }
        }
    }
    assert_eq!(live, CAP);

    let form = [("username", "ada"), ("password", PASSWORD)];
    let told = gateway.browser().post("/_auth/login", &[("Sec-Fetch-Site", "same-origin")], &form);
    assert_eq!((told.status, told.json()["code"].as_str()), (403, Some("session_cap")));
    let wrong = [("username", "ada"), ("password", "wrong password")];
    let told = gateway.browser().post("/_auth/login", &[("Sec-Fetch-Site", "same-origin")], &wrong);
    assert_eq!(told.status, 401, "nobody learns of it without the password");

    let (device, _) = devices.iter_mut().find(|(device, _)| device.session_cookie().is_some()).unwrap();
    device.log_out();
    gateway.browser().log_in("ada");
    let log = gateway.stop_and_read("access.log");
    assert!(
        log.lines()
            .any(|line| line.contains("\"status\":403") && line.contains("\"reason\":\"session_cap\""))
    );
}
