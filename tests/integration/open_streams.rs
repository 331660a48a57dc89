//! What is open when its session ends (S32): event streams, downloads, uploads, requests that wait.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::browser::TestBrowser;
use crate::support::faults::{Chance, Faults, Store, Time};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::redis::until;
use crate::support::upstream::TestUpstream;
use crate::support::wire::Wire;

const HOUR: Duration = Duration::from_secs(3600);

/// An upstream that sends one event and then another whenever it is told to, until its connection is gone; every end of a
/// stream is told.
struct EventUpstream {
    upstream: TestUpstream,
    more: Arc<Mutex<Vec<Sender<()>>>>,
    ended: Receiver<()>,
}

impl EventUpstream {
    fn start() -> Self {
        let more: Arc<Mutex<Vec<Sender<()>>>> = Arc::default();
        let (tell, ended) = channel();
        let streams = more.clone();
        let upstream = TestUpstream::with(move |_, stream| {
            let (sender, receiver) = channel();
            streams.lock().unwrap().push(sender);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")?;
            // A gateway that lets go closes the connection, which only reading shows.
            let watched = stream.try_clone()?;
            let tell = tell.clone();
            std::thread::spawn(move || {
                let _ = std::io::Read::read(&mut { watched }, &mut [0]);
                let _ = tell.send(());
            });
            while receiver.recv().is_ok() {
                stream.write_all(b"5\r\nmore\n\r\n")?;
            }
            Ok(false)
        });
        Self { upstream, more, ended }
    }

    fn tell_more(&self) {
        for stream in self.more.lock().unwrap().iter() {
            let _ = stream.send(());
        }
    }

    /// Waits until the gateway has let go of a stream.
    fn wait_for_end(&self) {
        self.ended.recv_timeout(PATIENCE).expect("the upstream's connection is closed");
    }
}

/// A stream that is open: its first event has come.
fn open_stream(gateway: &TestGateway, browser: &TestBrowser, path: &str) -> Wire {
    let (name, value) = browser.session_cookie().unwrap();
    let mut wire = gateway.wire();
    let host = gateway.address();
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {name}={value}\r\n\r\n"));
    assert_eq!(wire.receive_head().unwrap().0, 200);
    assert_eq!(wire.receive_chunk().unwrap(), b"first\n");
    wire
}

/// The client sees an abort within a second, and no regular end; the upstream was let go.
fn is_cut(mut wire: Wire, upstream: &EventUpstream) {
    let since = Instant::now();
    assert!(wire.is_closed_by_peer(), "no last chunk");
    // A second is meant; the rest is for a machine that is busy with other tests.
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    upstream.wait_for_end();
}

fn still_streams(wire: &mut Wire, upstream: &EventUpstream) {
    upstream.tell_more();
    assert_eq!(wire.receive_chunk().unwrap(), b"more\n");
}

#[test]
fn a_panic_while_sessions_are_looked_at_keeps_no_later_look_from_ending_a_stream() {
    let (upstream, faults) = (EventUpstream::start(), Faults::default());
    let gateway = Setup { faults: Some(faults.clone()), ..Setup::protecting(&upstream.upstream) }.start();
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let wire = open_stream(&gateway, &browser, "/");
    faults.set(Store::Well, Time::Panics, Chance::Well);
    // More than there are tasks that look: each has panicked and gone on.
    until("every sweep has panicked", || faults.panics() >= 12);
    faults.set(Store::Well, Time::Well, Chance::Well);
    assert_eq!(browser.log_out().status, 303);
    is_cut(wire, &upstream);
}

#[test]
fn a_logout_cuts_the_users_streams_and_nobody_elses() {
    let upstream = EventUpstream::start();
    let gateway = TestGateway::protecting(&upstream.upstream);
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    ada.log_in("ada");
    bob.log_in("bob");
    let mut bobs = open_stream(&gateway, &bob, "/");
    let mut adas = open_stream(&gateway, &ada, "/");
    still_streams(&mut adas, &upstream);
    assert_eq!(bobs.receive_chunk().unwrap(), b"more\n");
    ada.log_out();
    is_cut(adas, &upstream);
    still_streams(&mut bobs, &upstream);
}

#[test]
fn a_logout_cuts_a_download_of_a_file_that_the_gateway_serves_itself() {
    const LENGTH: u64 = 4 << 30;
    let setup = Setup::routes("[[routes]]\nstatic = { folder = \"public\" }\n");
    let public = setup.folder.path().join("public");
    std::fs::create_dir(&public).unwrap();
    // Of holes alone: it takes no space.
    std::fs::File::create(public.join("large")).unwrap().set_len(LENGTH).unwrap();
    let gateway = setup.start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut wire = gateway.wire();
    let host = gateway.address();
    wire.send(format!("GET /large HTTP/1.1\r\nHost: {host}\r\nCookie: {name}={value}\r\n\r\n"));
    assert_eq!(wire.receive_head().unwrap().0, 200);
    ada.log_out();
    assert!(wire.rest() < LENGTH);
}

#[test]
fn ending_a_session_from_another_one_cuts_its_stream() {
    let upstream = EventUpstream::start();
    let gateway = TestGateway::protecting(&upstream.upstream);
    let (mut phone, mut desk) = (gateway.browser(), gateway.browser());
    phone.log_in("ada");
    desk.log_in("ada");
    let (phones, mut desks) = (open_stream(&gateway, &phone, "/"), open_stream(&gateway, &desk, "/"));
    let token = desk.open("/_auth/account").form_field("token");
    assert_eq!(desk.submit("/_auth/account", &[("token", &token), ("action", "end_others")]).status, 303);
    is_cut(phones, &upstream);
    still_streams(&mut desks, &upstream);
}

#[test]
fn the_access_log_says_why_a_stream_ended() {
    let upstream = EventUpstream::start();
    let gateway = TestGateway::protecting(&upstream.upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let stream = open_stream(&gateway, &ada, "/events");
    ada.log_out();
    is_cut(stream, &upstream);
    let log = gateway.stop_and_read("access.log");
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<_> = lines.filter(|line| line["path"] == "/events").collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["reason"], &told[0]["status"]), (&"session_over".into(), &200.into()));
    assert_eq!((&told[0]["user"], &told[0]["bytes_out"]), (&"ada".into(), &6.into()));
}

#[test]
fn the_idle_limit_cuts_a_stream() {
    let upstream = EventUpstream::start();
    let gateway = TestGateway::protecting(&upstream.upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let stream = open_stream(&gateway, &ada, "/");
    gateway.advance(2 * HOUR);
    is_cut(stream, &upstream);
}

#[test]
fn the_absolute_limit_cuts_a_stream_of_a_busy_session() {
    let upstream = EventUpstream::start();
    let gateway =
        Setup::protecting(&upstream.upstream).session("duration = \"3h\"\nidle_timeout = \"2h\"\n").start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let mut stream = open_stream(&gateway, &ada, "/");
    gateway.advance(HOUR);
    drop(open_stream(&gateway, &ada, "/"));
    upstream.wait_for_end();
    gateway.advance(HOUR);
    still_streams(&mut stream, &upstream);
    gateway.advance(HOUR);
    is_cut(stream, &upstream);
}

#[test]
fn a_user_removed_from_the_file_loses_the_stream() {
    let upstream = EventUpstream::start();
    let gateway = TestGateway::protecting(&upstream.upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let stream = open_stream(&gateway, &ada, "/");
    gateway.change_users(|users| users.replace("[users.ada]", "[users.ann]"));
    assert!(gateway.reload());
    is_cut(stream, &upstream);
}

#[test]
fn a_stream_of_a_public_route_goes_on_after_a_logout() {
    let upstream = EventUpstream::start();
    let url = upstream.upstream.url();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/open\"\nupstream = [\"{url}\"]\naccess = \"public\"\n"
    ))
    .start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let mut public = open_stream(&gateway, &ada, "/open");
    // Enough for every worker to have one: when all are cut, no worker has overlooked the public one.
    let others: Vec<_> = (0..8).map(|_| open_stream(&gateway, &ada, "/")).collect();
    ada.log_out();
    for other in others {
        is_cut(other, &upstream);
    }
    still_streams(&mut public, &upstream);
}

#[test]
fn a_long_download_is_cut_by_a_logout_and_looks_incomplete() {
    let upstream = TestUpstream::with(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let block = vec![b'x'; 65536];
        loop {
            stream.write_all(&block)?;
        }
    });
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut wire = gateway.wire();
    let host = gateway.address();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {name}={value}\r\n\r\n"));
    assert_eq!(wire.receive_head().unwrap().0, 200);
    ada.log_out();
    assert!(wire.rest() < 1_000_000_000, "the download ends before its end");
}

#[test]
fn a_request_that_still_waits_for_its_answer_gets_401_after_a_logout() {
    let (release, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let upstream = TestUpstream::with(move |_, _| {
        // Never answers; ends with the test.
        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
        Ok(false)
    });
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut wire = gateway.wire();
    let host = gateway.address();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {name}={value}\r\n\r\n"));
    upstream.next();
    ada.log_out();
    let response = wire.receive().expect("an answer");
    assert_eq!((response.status, response.json()["code"].as_str()), (401, Some("session_over")));
    drop(release);
}

#[test]
fn an_upload_in_flight_is_ended_by_a_logout() {
    let (tell, ended) = channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Reads what comes, answers nothing, and tells how it ended.
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        let mut got = 0;
        while let Ok(read @ 1..) = std::io::Read::read(&mut stream, &mut bytes) {
            got += read;
            let _ = tell.send(got);
        }
    });
    let gateway = Setup::routes(format!("[[routes]]\nupstream = [\"http://{address}\"]\n")).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut wire = gateway.wire();
    let host = gateway.address();
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nCookie: {name}={value}\r\nContent-Length: 100\r\n\r\nhello"
    ));
    ended.recv_timeout(PATIENCE).expect("the upload has begun");
    ada.log_out();
    let (status, headers) = wire.receive_head().expect("an answer");
    assert_eq!(status, 401);
    assert!(headers.iter().any(|(name, value)| name == "connection" && value == "close"));
    while ended.recv_timeout(PATIENCE).is_ok() {}
}
