//! Reading the user file and the configuration again while the gateway runs (S33, S41, I13).

use std::fs;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

/// The part of the user file from `[users.name]` to the next user.
fn entry(users: &str, name: &str) -> String {
    let start = users.find(&format!("[users.{name}]")).unwrap();
    let end = users[start + 1..].find("[users.").map_or(users.len(), |at| start + 1 + at);
    users[start..end].to_owned()
}

fn without(users: &str, name: &str) -> String {
    users.replace(&entry(users, name), "")
}

/// What `change` to the user file does to ada's and bob's sessions: the status of their next requests.
fn after(change: impl FnOnce(&str) -> String) -> (u16, u16) {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    ada.log_in("ada");
    bob.log_in("bob");
    gateway.change_users(change);
    assert!(gateway.reload());
    (ada.fetch("/").status, bob.fetch("/").status)
}

#[test]
fn removing_a_user_ends_their_sessions_at_reload_and_nobody_elses() {
    assert_eq!(after(|users| without(users, "ada")), (401, 200));
}

#[test]
fn disabling_a_user_ends_their_sessions_at_reload_and_nobody_elses() {
    let disabled = |users: &str| {
        let ada = entry(users, "ada");
        users.replace(&ada, &format!("{ada}disabled = true\n"))
    };
    assert_eq!(after(disabled), (401, 200));
}

#[test]
fn a_new_password_ends_the_sessions_of_the_old_one_at_reload_and_nobody_elses() {
    // Another hash, as every `users set-password` makes; the characters stand in the salt.
    let rekeyed = |users: &str| {
        let ada = entry(users, "ada");
        let hash = ada.split('"').nth(1).unwrap();
        let (head, digest) = hash.rsplit_once('$').unwrap();
        let first = if digest.starts_with('A') { 'B' } else { 'A' };
        let other = format!("{head}${first}{}", &digest[1..]);
        users.replace(&ada, &ada.replace(hash, &other))
    };
    assert_eq!(after(rekeyed), (401, 200));
}

#[test]
fn an_ended_session_stays_ended_when_the_user_comes_back_and_after_a_restart() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let users = fs::read_to_string(gateway.file("users.toml")).unwrap();
    gateway.change_users(|users| without(users, "ada"));
    assert!(gateway.reload());
    gateway.change_users(|_| users);
    assert!(gateway.reload());
    let cookie = format!("{name}={value}");
    let ask = |gateway: &TestGateway| {
        gateway.browser().request("GET", "/", &[("Cookie", cookie.as_str())], b"").status
    };
    assert_eq!(ask(&gateway), 401);
    assert_eq!(ask(&gateway.restart(Setup::protecting(&upstream))), 401);
}

#[test]
fn a_group_change_acts_on_the_next_request_after_a_reload() {
    let upstream = TestUpstream::start();
    let routes =
        format!("[[routes]]\nupstream = [\"{}\"]\naccess = {{ groups = [\"staff\"] }}\n", upstream.url());
    let gateway = Setup::routes(routes).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(upstream.next().header("remote-groups"), Some("staff,wiki"));
    gateway.change_users(|users| users.replace("[\"staff\", \"wiki\"]", "[\"staff\", \"ops\"]"));
    assert!(gateway.reload());
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(upstream.next().header("remote-groups"), Some("staff,ops"));
    gateway.change_users(|users| users.replace("[\"staff\", \"ops\"]", "[\"ops\"]"));
    assert!(gateway.reload());
    assert_eq!(ada.fetch("/").status, 403, "still signed in, and no longer let in");
}

#[test]
fn a_changed_user_file_is_noticed_without_a_signal() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    gateway.change_users(|users| without(users, "ada"));
    let deadline = Instant::now() + PATIENCE;
    while ada.fetch("/").status != 401 {
        assert!(Instant::now() < deadline, "the change is never noticed");
        std::thread::yield_now();
    }
}

#[test]
fn a_user_file_that_is_being_written_is_not_read_before_it_is_whole() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let mut whole = String::new();
    gateway.change_users(|users| {
        whole = users.to_owned();
        users.to_owned()
    });
    // More than one look at the file falls into this.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        gateway.change_users(|_| String::new());
        gateway.change_users(|_| without(&whole, "ada"));
    }
    gateway.change_users(|_| whole.clone());
    assert_eq!(ada.fetch("/").status, 200);
}

#[test]
fn a_user_whose_time_is_over_loses_their_sessions_without_a_reload() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    gateway.change_users(|users| {
        let ada = entry(users, "ada");
        // An hour after the tests' clock begins.
        users.replace(&ada, &format!("{ada}expires = \"2027-01-15T09:00:00Z\"\n"))
    });
    assert!(gateway.reload());
    ada.log_in("ada");
    bob.log_in("bob");
    assert_eq!(ada.fetch("/").status, 200);
    gateway.advance(Duration::from_secs(3600));
    let deadline = Instant::now() + PATIENCE;
    while ada.fetch("/").status != 401 {
        assert!(Instant::now() < deadline, "the session goes on");
        std::thread::yield_now();
    }
    assert_eq!(bob.fetch("/").status, 200);
}

#[test]
fn a_bad_user_file_is_refused_and_the_old_users_stay() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let good = fs::read_to_string(gateway.file("users.toml")).unwrap();
    for bad in ["[users.ada\n", "[users.ada]\npassword = \"plain\"\n", "users = 1\n"] {
        gateway.change_users(|_| bad.into());
        assert!(!gateway.reload(), "{bad}");
        assert_eq!(ada.fetch("/").status, 200, "{bad}");
        assert_eq!(gateway.browser().log_in("bob").status, 303, "{bad}");
    }
    fs::remove_file(gateway.file("users.toml")).unwrap();
    assert!(!gateway.reload(), "a file that is gone");
    assert_eq!(ada.fetch("/").status, 200);
    gateway.change_users(|_| without(&good, "ada"));
    assert!(gateway.reload());
    assert_eq!(ada.fetch("/").status, 401, "the next good file acts");
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_and_its_sessions_stay() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    for bad in ["[[routes", "", "[[routes]]\npath = \"/x\"\nupstream = [\"ftp://x\"]\n"] {
        gateway.change_config(|text| if bad.is_empty() { String::new() } else { format!("{text}{bad}") });
        assert!(!gateway.reload(), "{bad:?}");
        assert_eq!(ada.fetch("/x").status, 200, "{bad:?}");
        assert_eq!(upstream.next().target(), "/x");
    }
}

#[test]
fn sessions_survive_a_reload_and_a_new_route_works_after_it() {
    let (old, new) = (TestUpstream::start(), TestUpstream::start());
    let gateway = TestGateway::protecting(&old);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    gateway.change_config(|text| {
        format!(
            "{text}\n[[routes]]\npath = \"/new\"\nupstream = [\"{}\"]\nheaders = \"x-forwarded\"\n",
            new.url()
        )
    });
    assert!(gateway.reload());
    assert_eq!((ada.fetch("/new").status, ada.fetch("/").status), (200, 200));
    assert_eq!(new.next().header("x-forwarded-user"), Some("ada"));
    assert_eq!(old.next().target(), "/");
}

#[test]
fn new_access_rules_and_trusted_proxies_act_on_open_connections_too() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let ask = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nCookie: {name}={value}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
        gateway.address()
    );
    let mut wire = gateway.wire();
    assert_eq!(wire.send(&ask).receive().unwrap().status, 200);
    assert_eq!(upstream.next().header("x-real-ip"), Some("127.0.0.1"));
    gateway
        .change_config(|text| text.replace("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n"));
    assert!(gateway.reload());
    assert_eq!(wire.send(&ask).receive().unwrap().status, 200);
    assert_eq!(upstream.next().header("x-real-ip"), Some("203.0.113.7"));
    gateway.change_config(|text| format!("{text}access = {{ users = [\"bob\"] }}\n"));
    assert!(gateway.reload());
    assert_eq!(wire.send(&ask).receive().unwrap().status, 403);
}

#[test]
fn what_needs_a_restart_stays_as_it_was_until_then() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    gateway.change_config(|text| {
        text.replace("[session]\n", "[session]\nidle_timeout = \"1m\"\n")
            .replace("[server]\n", "[server]\nprefix = \"/_door\"\n")
    });
    assert!(gateway.reload());
    gateway.advance(Duration::from_secs(3600));
    assert_eq!(ada.fetch("/_auth/whoami").status, 200);
}

#[test]
fn a_hangup_signal_reloads() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    // Answered by the task that listens for the signal.
    assert!(gateway.reload());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    gateway.change_config(|text| format!("{text}access = {{ users = [\"bob\"] }}\n"));
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ada.fetch("/").status != 403 {
        assert!(Instant::now() < deadline, "the signal does nothing");
        std::thread::yield_now();
    }
}

#[test]
fn a_hangup_signal_right_after_the_start_does_not_end_the_program() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let socket = gateway.file("early.sock");
    gateway.change_config(|text| {
        text.replace(
            "listen = [\"127.0.0.1:0\"]\nworkers",
            &format!("listen = [\"unix:{}\"]\nworkers", socket.display()),
        )
    });
    let file = gateway.file("gateway.toml");
    let folder = gateway.folder();
    gateway.stop();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fluidgate"));
    program
        .args(["run", "--config"])
        .arg(&file)
        .stderr(fs::File::create(folder.path().join("early.log")).unwrap());
    let mut child = program.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // The listener is the first thing that anybody can see of the program; the store opens after it.
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it listens");
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let reloaded = || {
        fs::read_to_string(folder.path().join("early.log")).unwrap().contains("the configuration is reloaded")
    };
    while !reloaded() {
        assert!(Instant::now() < deadline, "the signal of the start is not lost");
        assert!(child.try_wait().unwrap().is_none(), "it was ended by the signal");
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
