//! HTTP/2: streams side by side, each judged and ended on its own; stalls and drains of a connection with many.

use h2::Reason;
use h2::client::Builder;

use super::support::h2::{Http2Client, in_time, piece, request, rest};
use super::*;

pub(super) fn h2c(settings: &mut Settings) {
    for listener in &mut settings.listen {
        listener.h2c = true;
    }
}

fn server() -> Running {
    let mut settings = settings(1);
    h2c(&mut settings);
    Running::with(&settings, None)
}

pub(super) fn get(path: &str) -> http::Request<()> {
    request(Method::GET, &format!("http://a{path}"), &[])
}

pub(super) fn post(path: &str) -> http::Request<()> {
    request(Method::POST, &format!("http://a{path}"), &[])
}

impl Running {
    pub(super) fn http2(&self) -> Http2Client {
        Http2Client::with_prior_knowledge(self.address)
    }

    /// A client that a few pieces are enough for, and whose other streams go on then.
    fn http2_with_a_small_stream_window(&self) -> Http2Client {
        let mut settings = Builder::new();
        settings.initial_window_size(100_000).initial_connection_window_size(10_000_000);
        Http2Client::with_settings(self.address, settings)
    }

    /// Moves time on until `done`, so that what is judged by it comes to its end; a wait that has not begun yet begins later.
    fn in_time<T: Send + 'static>(&self, step: Duration, done: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(done()));
        loop {
            match ended.recv_timeout(Duration::from_millis(20)) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) => self.clock.advance(step),
                Err(RecvTimeoutError::Disconnected) => panic!("what was waited for has panicked"),
            }
        }
    }
}

#[test]
fn streams_are_answered_side_by_side() {
    let server = server();
    let mut client = server.http2();
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    assert_eq!(client.get("http://a/", &[]).text(), "hello");
    assert_eq!(client.get("http://a/facts", &[]).text(), "None");
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn the_authority_is_there_as_host_and_a_cookie_in_pieces_is_one() {
    let server = server();
    let mut client = server.http2();
    let seen =
        client.get("http://wiki.test/heads", &[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")]).text();
    assert!(seen.contains("host: wiki.test\n") && seen.contains("cookie: a=b; c=d\n"), "{seen}");
    assert_eq!(seen.matches("cookie").count(), 1);
    // Another one is left for the reader of the request to refuse.
    assert!(
        client.get("http://wiki.test/heads", &[("host", "evil.test")]).text().contains("host: evil.test\n")
    );
}

#[test]
fn of_a_head_with_too_many_fields_only_what_shows_it_is_kept() {
    let server = server();
    let mut client = server.http2();
    let names: Vec<String> = (0..300).map(|number| format!("x-{number}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "y")).collect();
    // 100 are allowed.
    for (sent, kept) in [(100, 100), (101, 101), (300, 101)] {
        let seen = client.get("http://a/heads", &fields[..sent]).text();
        assert_eq!(seen.lines().filter(|line| line.starts_with("x-")).count(), kept, "{sent}");
    }
    let same = client.get("http://a/heads", &[("x", "y"); 300]).text();
    assert_eq!(same.matches("x: y").count(), 101);
}

#[test]
fn bodies_go_both_ways_and_a_reset_reaches_the_service() {
    let server = server();
    let mut client = server.http2();
    let mut echoed = client.open(post("/echo"), false);
    echoed.send("one ", false);
    echoed.send("two", true);
    assert_eq!(echoed.answer().text(), "one two");
    let mut aborted = client.open(get("/hold"), true);
    server.wait_until_held();
    aborted.body.send_reset(Reason::CANCEL);
    assert!(aborted.head().is_err());
    // The permit is for whoever still waits: the aborted one does not.
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_panic_is_500_and_ends_its_stream_alone() {
    let server = server();
    let mut client = server.http2();
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    for path in ["/panic", "/panic-at-once"] {
        assert_eq!(client.get(&format!("http://a{path}"), &[]).status, 500);
    }
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_panic_in_a_body_ends_its_stream_alone() {
    let server = server();
    let mut client = server.http2();
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    let head = client.open(get("/panicking-body"), true).head();
    assert!(head.and_then(|head| rest(&mut head.into_body())).is_err());
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_body_that_breaks_off_is_a_reset() {
    let server = server();
    let mut client = server.http2();
    // It may be there before the head was looked at.
    let head = client.open(get("/broken"), true).head();
    assert!(head.and_then(|head| rest(&mut head.into_body())).unwrap_err().is_reset());
}

#[test]
fn a_silent_connection_is_told_to_go_and_then_cut() {
    let server = server();
    let client = server.http2();
    let reason = server.in_time(Duration::from_secs(61), move || client.wait_for_end());
    assert!(matches!(reason, None | Some(Reason::NO_ERROR)), "{reason:?}");
    // One that leaves the farewell unanswered.
    let mut deaf = server.client();
    deaf.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    server.in_time(Duration::from_secs(61), move || {
        let mut all = Vec::new();
        let _ = deaf.0.read_to_end(&mut all);
    });
}

#[test]
fn partial_prefaces_and_heads_do_not_live_for_ever() {
    let server = server();
    let settings = "\0\0\0\x04\0\0\0\0\0";
    // A HEADERS frame of one byte without END_HEADERS.
    let open_head = "\0\0\x01\x01\x01\0\0\0\x01\u{2}";
    for beginning in [
        "PRI * HTT".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}{open_head}"),
    ] {
        let mut client = server.client();
        client.send(&beginning);
        server.in_time(Duration::from_secs(61), move || {
            let mut all = Vec::new();
            let _ = client.0.read_to_end(&mut all);
        });
    }
}

#[test]
fn pings_alone_keep_no_connection_open() {
    let server = server();
    let mut client = server.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut writer = client.0.try_clone().unwrap();
    server.in_time(Duration::from_secs(20), move || {
        let ping = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
        while writer.write_all(ping).is_ok() {
            let mut some = [0; 4096];
            if !matches!(client.0.read(&mut some), Ok(1..)) {
                break;
            }
        }
    });
}

#[test]
fn a_request_body_that_stops_coming_ends_its_stream_and_no_other() {
    let server = server();
    let mut client = server.http2();
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    let mut stalled = client.open(post("/echo"), false);
    stalled.send("half", false);
    let ended = server.in_time(Duration::from_secs(30), move || stalled.head().map(|_| ()));
    assert!(ended.unwrap_err().is_reset());
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_response_that_nobody_takes_ends_its_stream_and_no_other() {
    let server = server();
    let mut client = server.http2_with_a_small_stream_window();
    let mut unread = client.open(get("/endless"), true).head().unwrap().into_body();
    let first = in_time(unread.data()).unwrap().unwrap();
    assert!(!first.is_empty());
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    let ended = server.in_time(Duration::from_secs(30), move || {
        // Taken without making room for more.
        while let Some(piece) = in_time(unread.data()) {
            piece?;
        }
        Ok::<_, h2::Error>(())
    });
    assert!(ended.unwrap_err().is_reset());
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_response_that_is_taken_slowly_and_a_request_that_takes_long_go_on() {
    let server = server();
    let mut client = server.http2_with_a_small_stream_window();
    let held = client.open(get("/hold"), true);
    server.wait_until_held();
    let mut slow = client.open(get("/endless"), true).head().unwrap().into_body();
    for _ in 0..50 {
        // Far more than is under way at a time, so each round took some.
        for _ in 0..20 {
            piece(&mut slow).unwrap().unwrap();
        }
        server.clock.advance(Duration::from_secs(10));
        // The sweep has been when this is answered a little later.
        assert_eq!(client.get("http://a/", &[]).text(), "hello");
    }
    server.signals.released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
}

#[test]
fn a_drain_says_goaway_finishes_the_streams_in_flight_and_takes_no_more() {
    let server = server();
    let mut busy = server.http2();
    let held = busy.open(get("/hold"), true);
    server.wait_until_held();
    let mut idle = server.http2();
    assert_eq!(idle.get("http://a/", &[]).text(), "hello");
    let released = server.signals.released.clone();
    let finishing = std::thread::spawn(move || server.drain(Duration::from_secs(30)));
    assert!(matches!(idle.wait_for_end(), None | Some(Reason::NO_ERROR)));
    released.add_permits(1);
    assert_eq!(held.answer().text(), "held");
    assert!(matches!(busy.wait_for_end(), None | Some(Reason::NO_ERROR)));
    assert!(!busy.takes_requests());
    assert_eq!(finishing.join().unwrap(), DrainReport { finished: 1, cut: 0 });
}

#[test]
fn no_more_streams_than_allowed_are_open_at_a_time() {
    let mut settings = settings(1);
    h2c(&mut settings);
    settings.http2.max_concurrent_streams = 2;
    let server = Running::with(&settings, None);
    let mut client = server.http2();
    client.get("http://a/", &[]);
    let held: Vec<_> = (0..2).map(|_| client.open(get("/hold"), true)).collect();
    for _ in &held {
        server.wait_until_held();
    }
    let waiting = client.open(get("/"), true);
    server.signals.released.add_permits(2);
    for held in held {
        assert_eq!(held.answer().text(), "held");
    }
    assert_eq!(waiting.answer().text(), "hello");
}

#[test]
fn a_header_list_beyond_the_limit_is_431() {
    let mut settings = settings(1);
    h2c(&mut settings);
    settings.http2.max_header_list = 8192;
    let server = Running::with(&settings, None);
    let mut client = server.http2();
    let large = "x".repeat(9000);
    let answer = client.open(request(Method::GET, "http://a/", &[("x", &large)]), true).head();
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(server.http2().get("http://a/", &[]).text(), "hello");
}

#[test]
fn a_client_that_opens_and_resets_streams_over_and_over_loses_its_connection() {
    let server = server();
    let mut other = server.http2();
    other.get("http://a/", &[]);
    let mut raw = server.client();
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut frames = Vec::new();
    for n in 0..20_000_u32 {
        let id = (2 * n + 1).to_be_bytes();
        // :method GET, :scheme http, :path /, :authority a.
        let head = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
        frames.extend([0, 0, head.len() as u8, 1, 5]);
        frames.extend(id);
        frames.extend(head);
        frames.extend([0, 0, 4, 3, 0]);
        frames.extend(id);
        frames.extend([0, 0, 0, 8]);
    }
    // The writing fails, or everything that comes back ends, once the connection is closed.
    let mut reader = raw.0.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = reader.read_to_end(&mut all);
    });
    let _ = raw.0.write_all(&frames);
    reading.join().unwrap();
    assert_eq!(other.get("http://a/", &[]).text(), "hello");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn floods_of_frames_end_their_connection_or_are_absorbed_and_others_go_on() {
    let server = server();
    let mut other = server.http2();
    // :method POST, :scheme http, :path /echo, :authority a; the body is to follow.
    let post = frame(1, 4, 1, b"\x83\x86\x44\x05/echo\x41\x01a");
    let begun = frame(1, 0, 1, b"\x82");
    for (first, flood) in [
        (Vec::new(), frame(6, 0, 0, b"abcdefgh")),
        (Vec::new(), frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        (Vec::new(), frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        (Vec::new(), frame(8, 0, 0, &[0, 0, 0, 1])),
        (Vec::new(), frame(0xfa, 0, 0, b"unknown")),
        (post.clone(), frame(0, 0, 1, b"")),
        (post, frame(8, 0, 1, &[0, 0, 0, 1])),
        (begun, frame(9, 0, 1, b"\x00\x01a\x01b")),
    ] {
        let mut raw = server.client();
        raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        raw.0.write_all(&first).unwrap();
        let mut reader = raw.0.try_clone().unwrap();
        let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let piece = flood.repeat(1000);
        for _ in 0..50 {
            // Closed: that is one way.
            if raw.0.write_all(&piece).is_err() {
                break;
            }
        }
        assert_eq!(other.get("http://a/", &[]).text(), "hello", "while frames of kind {} come", flood[3]);
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
        let _ = reading.join().unwrap();
    }
}
