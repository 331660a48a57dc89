//! Streams of HTTP/2 that rest for a reason: another has the room, or both sides have nothing to say.

use super::multiplexed::{h2c, post};
use super::support::h2::{piece, rest};
use super::*;

fn server() -> Running {
    let mut settings = settings(1);
    settings.limits.idle = Duration::from_secs(5);
    h2c(&mut settings);
    Running::with(&settings, None)
}

impl Running {
    /// Returns when a sweep has judged all connections by a time that is so much later.
    fn pass(&self, seconds: u64) {
        let mut idle = self.client();
        idle.get("/");
        self.clock.advance(Duration::from_secs(seconds));
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
    for _ in 0..4 {
        server.pass(61);
    }
    server.signals.released.add_permits(4);
    for unread in unread {
        assert_eq!(unread.answer().text(), "held");
    }
    // It has its time from here on.
    server.pass(50);
    upload.send("there is room", true);
    assert_eq!(upload.answer().text(), "there is room");
}

#[test]
fn a_stream_of_messages_both_ways_may_rest_once_its_answer_has_begun() {
    let server = server();
    let mut client = server.http2();
    let (response, mut up) = client.open(post("/mirror"), false).tunnel();
    let mut down = response.into_body();
    for message in ["one", "two"] {
        for _ in 0..5 {
            server.pass(61);
        }
        up.send_data(message.into(), message == "two").unwrap();
        assert_eq!(piece(&mut down).unwrap().unwrap(), message);
    }
    assert_eq!(rest(&mut down).unwrap(), b"");
}
