//! The audit log of a whole gateway (S39).

use std::os::unix::fs::PermissionsExt;

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

fn audited(upstream: &TestUpstream) -> TestGateway {
    Setup::protecting(upstream).sections("[audit_log]\ntarget = \"audit.log\"\n").start()
}

#[test]
fn a_login_and_its_logout_are_told_and_no_secret_with_them() {
    let gateway = audited(&TestUpstream::start());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    ada.log_out();
    gateway.browser().request("GET", "/", &[("Cookie", &format!("{name}={value}"))], b"");
    gateway.browser().request("GET", "/", &[("Cookie", "fluidgate=\"}{\"event\":\"session_created\"")], b"");
    let mode = std::fs::metadata(gateway.file("audit.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = gateway.stop_and_read("audit.log");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["event"].as_str().unwrap(), line["reason"].as_str())).collect();
    assert_eq!(
        told,
        [
            ("session_created", None),
            ("session_ended", Some("logout")),
            ("session_rejected", Some("unknown")),
            ("session_rejected", Some("malformed")),
        ]
    );
    assert_eq!((&lines[0]["user"], &lines[0]["client_ip"]), (&"ada".into(), &"127.0.0.1".into()));
    assert!(lines[..3].iter().all(|line| line["session"] == lines[0]["session"]));
    for part in value.split('.').filter(|part| part.len() > 8) {
        assert!(!log.contains(part), "{log}");
    }
}

#[test]
fn without_a_target_nothing_is_written() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    gateway.browser().log_in("ada");
    assert!(!gateway.file("audit.log").exists());
}
