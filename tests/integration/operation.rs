//! Starting, stopping, and the example configuration.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluidgate::app::Ended;

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::redis::until;
use crate::support::upstream::TestUpstream;

#[test]
fn a_drain_finishes_the_request_in_flight_and_ends_clean() {
    let (release, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let upstream = TestUpstream::with(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
        held.lock().unwrap().recv_timeout(PATIENCE).expect("released");
        stream.write_all(b"later").map(|()| true)
    });
    let gateway =
        Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
            .start();
    let address = gateway.address();
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    upstream.next();
    wire.receive_head().unwrap();
    let stopping = std::thread::spawn(move || gateway.stop());
    // The listener is gone before the request is: that is what draining means.
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the listener stays open");
        std::thread::yield_now();
    }
    release.send(()).unwrap();
    assert_eq!(stopping.join().unwrap(), Ended::Clean);
}

#[test]
fn the_lines_of_requests_that_a_stop_cuts_are_waited_for_as_others_are() {
    let (_release, held) = channel::<()>();
    let held = Mutex::new(held);
    let upstream = TestUpstream::with(move |_, _| {
        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
        Ok(false)
    });
    let setup = Setup::protecting(&upstream).server("grace_period = \"1s\"\n");
    let setup = Setup { routes: setup.routes.clone() + "access = \"public\"\n", ..setup };
    // A log that takes nothing for now: a pipe that is full.
    let log = setup.folder.path().join("access.log");
    rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut pipe =
        fs::OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&log).unwrap();
    let mut full = 0;
    while let Ok(count) = pipe.write(&[b'\n'; 4096]) {
        full += count;
    }
    let gateway = setup.start();
    let mut wire = gateway.wire();
    wire.send(format!("GET /cut HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    upstream.next();
    let (end, ended) = channel();
    std::thread::spawn(move || end.send(gateway.stop()));
    wire.rest();
    assert_eq!(
        ended.recv_timeout(Duration::from_millis(500)),
        Err(RecvTimeoutError::Timeout),
        "the line cannot be written yet"
    );
    let mut text = vec![0; full];
    pipe.read_exact(&mut text).unwrap();
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(Ended::Cut));
    let mut line = String::new();
    let _ = pipe.read_to_string(&mut line);
    assert!(line.contains("\"/cut\"") && line.contains("broken_off") && line.ends_with("}\n"), "{line}");
}

#[test]
fn the_line_of_a_single_request_is_written_without_others_that_follow() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    gateway.browser().open("/x");
    let written = || fs::read_to_string(gateway.file("access.log")).unwrap_or_default();
    until("the line is there", || written().ends_with("}\n"));
    assert_eq!(written().lines().count(), 1);
}

#[test]
fn there_is_one_access_log_line_per_request() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.open("/x?secret=1");
    ada.log_in("ada");
    ada.open("/y");
    let log = gateway.stop_and_read("access.log");
    let mut lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each worker hands its lines over by itself: their order says nothing.
    lines.sort_by_key(|line| line["path"].to_string());
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["path"].as_str().unwrap(),
                line["status"].as_u64().unwrap(),
                line["decision"].as_str().unwrap(),
                line["user"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("/_auth/login", 303, "own", None),
            ("/x", 303, "challenge", None),
            ("/y", 200, "allow", Some("ada"))
        ]
    );
    assert_eq!(lines[2]["bytes_out"], 5);
    assert!(lines.iter().all(|line| line["request_id"].is_string() && line["client_ip"] == "127.0.0.1"));
}

#[test]
fn a_second_gateway_on_the_same_store_is_refused_and_the_first_unharmed() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let loaded = fluidgate::config::load(&gateway.file("gateway.toml")).unwrap();
    let clock = Arc::new(fluidgate::base::clock::SystemClock::default());
    let second =
        fluidgate::app::start(&loaded.config, clock, Arc::new(fluidgate::base::secret::SystemRandom));
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("another process") || error.contains("in use"), "{error}");
    assert_eq!(gateway.browser().log_in("ada").status, 303);
}

#[test]
fn a_management_address_that_is_somebodys_file_is_refused_and_the_file_stays() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut config = fluidgate::config::load(&gateway.file("gateway.toml")).unwrap().config;
    let users = gateway.file("users.toml");
    config.management = Some(fluidgate::server::ListenAddress::Unix(users.clone()));
    let clock = Arc::new(fluidgate::base::clock::SystemClock::default());
    let started = fluidgate::app::start(&config, clock, Arc::new(fluidgate::base::secret::SystemRandom));
    assert!(matches!(started.err(), Some(fluidgate::app::AppError::Management { .. })));
    assert!(users.is_file());
}

#[test]
fn the_example_configuration_starts_and_asks_for_a_login() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    // The example with ports of its own; its secret and users lie where it says, as the README has them made.
    let example = include_str!("../../gateway.toml.example")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9091", "127.0.0.1:0");
    let folder = tempfile::tempdir().unwrap();
    for name in ["secret.key", "users.toml"] {
        std::fs::copy(gateway.file(name), folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, example).unwrap();
    let loaded = fluidgate::config::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let clock = Arc::new(fluidgate::base::clock::SystemClock::default());
    let running =
        fluidgate::app::start(&loaded.config, clock, Arc::new(fluidgate::base::secret::SystemRandom));
    let running = running.unwrap_or_else(|error| panic!("{error}"));
    let Some(fluidgate::server::ListenAddress::Tcp(address)) = running.addresses().first() else {
        panic!("no address")
    };
    let host = loaded
        .config
        .gateway
        .routes
        .iter()
        .find_map(|route| route.host.clone())
        .unwrap_or("localhost".into());
    let mut wire = crate::support::wire::Wire::connect(*address);
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\n\r\n", host.replace("*.", "a.")));
    let answer = wire.receive().unwrap();
    assert_eq!((answer.status, answer.location()), (303, "/_auth/login"));
    assert_eq!(running.stop(), Ended::Clean);
}
