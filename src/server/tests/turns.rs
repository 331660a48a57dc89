//! Streams of HTTP/2 that rest for a reason: another has the room, or both sides have nothing to say.

use super::multiplexed::{h2c, post};
use super::support::h2::{piece, rest};
use super::*;

fn server() -> Running {
    let mut settings = settings(1);
    h2c(&mut settings);
    Running::with(&settings, None)
}

impl Running {
    /// Returns when a sweep has judged all connections by a time that is over a minute later.
    fn pass_a_minute(&self) {
        let mut idle = self.client();
        idle.get("/");
        self.clock.advance(Duration::from_secs(61));
        idle.rest();
    }
}

#[test]
fn an_upload_that_finds_no_room_because_others_are_not_read_is_not_cut() {
    let server = server();
    let mut client = server.http2();
    // Four whose bytes nobody reads fill the connection's window.
    let unread: Vec<_> = (0..4)
        .map(|_| {
            let mut unread = client.open(post("/hold"), false);
            unread.send(vec![b'x'; 300_000], true);
            unread
        })
        .collect();
    for _ in &unread {
        server.wait_until_held();
    }
    let mut upload = client.open(post("/echo"), false);
    upload.send("first ", false);
    for _ in 0..4 {
        server.pass_a_minute();
    }
    server.signals.released.add_permits(4);
    drop(unread);
    upload.send("last", true);
    assert_eq!(upload.answer().text(), "first last");
}

#[test]
fn a_stream_of_messages_both_ways_may_rest_once_its_answer_has_begun() {
    let server = server();
    let mut client = server.http2();
    let (response, mut up) = client.open(post("/mirror"), false).tunnel();
    let mut down = response.into_body();
    for message in ["one", "two"] {
        for _ in 0..5 {
            server.pass_a_minute();
        }
        up.send_data(message.into(), message == "two").unwrap();
        assert_eq!(piece(&mut down).unwrap().unwrap(), message);
    }
    assert_eq!(rest(&mut down).unwrap(), b"");
}
