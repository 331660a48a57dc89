//! Upstreams that answer with more, less or something else than one message (P4, P17, X18), and keep their connections open: whatever
//! of it a client gets is its own, and nothing of it reaches the next request.

use std::io::Write;
use std::sync::mpsc::channel;

use crate::support::PATIENCE;
use crate::support::dice::Dice;
use crate::support::gateway::Setup;
use crate::support::strict;
use crate::support::upstream::{TestUpstream, echo};
use crate::support::ways::{Ask, Doors, Way};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// (what a hostile upstream says, what a client may get of it: a status, or nothing whole)
fn answers() -> Vec<(String, &'static [u16])> {
    let ok = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked";
    vec![
        (ok(&format!("Content-Length: 4\r\n{chunked}"), "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        (ok(&format!("{chunked}\r\nContent-Length: 4"), "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        (ok("Content-Length: 4\r\nContent-Length: 4", "evil"), &[502]),
        (ok("Content-Length: 4\r\nContent-Length: 6", "evil"), &[502]),
        (ok("Content-Length: 4, 4", "evil"), &[502]),
        (ok("Content-Length: +4", "evil"), &[502]),
        (ok("Content-Length: 0x4", "evil"), &[502]),
        (ok("Content-Length : 4", "evil"), &[502]),
        (ok("Content-Length: 4\r\n , 6", "evil"), &[502]),
        (ok(&format!("{chunked}, chunked"), "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        (ok(&format!("{chunked}\r\n{chunked}"), "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        (ok("Transfer-Encoding: gzip, chunked", "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        (ok("Transfer-Encoding: identity", "evil"), &[502]),
        (ok("Transfer-Encoding:\x0bchunked", "4\r\nevil\r\n0\r\n\r\n"), &[502]),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n".into(), &[502]),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nevil".into(), &[502]),
        ("evil\r\n\r\n".into(), &[502]),
        (format!("{}{EVIL}", ok("Content-Length: 2", "ok")), &[200]),
        (format!("{}{EVIL}", ok(chunked, "2\r\nok\r\n0\r\n\r\n")), &[200]),
        (format!("{}\r\n\r\n{EVIL}", ok("Content-Length: 2", "ok")), &[200]),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}"), &[204]),
        (format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil{EVIL}"), &[304]),
        (format!("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n{EVIL}"), &[200]),
        (format!("{}{}", hints.repeat(500), ok("Content-Length: 2", "ok") + EVIL), &[200]),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{}{EVIL}", ok("Content-Length: 2", "ok")), &[200]),
        (ok(chunked, "2\r\nok\r\n-4\r\nevil\r\n0\r\n\r\n"), &[]),
        (ok(chunked, "2\r\nok\r\nfffffffffffffffff\r\nevil"), &[]),
        (ok(chunked, "2\r\nokevil\r\n0\r\n\r\n"), &[]),
    ]
}

#[test]
fn nothing_of_a_hostile_answer_reaches_another_request() {
    for (answer, statuses) in answers() {
        let said = answer.clone();
        let upstream = TestUpstream::with(move |request, stream| {
            let answer = if request.target() == "/hostile" { said.clone() } else { echo(request) };
            stream.write_all(answer.as_bytes()).map(|()| true)
        });
        let doors = Doors::of(Setup::routes(format!(
            "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n",
            upstream.url()
        )));
        for way in [Way::Http1, Way::Http2] {
            for round in 0..2 {
                let got = doors.ask(way, &Ask::get("/hostile"));
                let fits = match &got {
                    Some(got) => statuses.contains(&got.status) || (statuses.is_empty() && got.status == 200),
                    None => statuses.is_empty(),
                };
                assert!(fits, "{answer:?}: {got:?}");
                assert!(got.is_none_or(|got| !got.body.contains("evil")), "{answer:?}");
                // Both workers' connections, and more than once.
                for number in 0..6 {
                    let target = format!("/honest/{round}/{number}");
                    let got = doors.ask(way, &Ask::get(&target)).unwrap();
                    assert_eq!((got.status, &*got.body), (200, &*target), "behind {answer:?}");
                }
            }
        }
        drop(doors);
        for tape in upstream.into_tapes() {
            let messages = strict::messages(&tape).unwrap();
            let hostile = messages.iter().position(|message| message.target == "/hostile");
            assert!(
                hostile.is_none_or(|place| place + 1 == messages.len()),
                "a connection went on after {answer:?}"
            );
        }
    }
}

#[test]
fn an_answer_that_comes_late_to_a_connection_at_rest_is_nobodys() {
    let (said, all) = channel();
    let upstream = TestUpstream::with(move |request, stream| {
        stream.write_all(echo(request).as_bytes())?;
        if request.target() == "/twice" {
            // A second answer, in a packet of its own. One that came when the next request is out already would be its answer.
            stream.write_all(EVIL.as_bytes())?;
            said.send(()).unwrap();
        }
        Ok(true)
    });
    let doors = Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n",
        upstream.url()
    )));
    for round in 0..100 {
        assert_eq!(doors.ask(Way::Http1, &Ask::get("/twice")).unwrap().body, "/twice");
        all.recv_timeout(PATIENCE).unwrap();
        let target = format!("/honest/{round}");
        let got = doors.ask(Way::Http1, &Ask::get(&target)).unwrap();
        assert_eq!((got.status, &*got.body), (200, &*target));
    }
}

#[test]
fn an_upload_that_is_answered_early_or_broken_off_leaves_nothing_on_the_upstreams_connection() {
    let upstream = TestUpstream::at_the_head(|request, stream| {
        stream.write_all(echo(request).as_bytes()).map(|()| true)
    });
    let doors = Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n",
        upstream.url()
    )));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut dice = Dice::new(5);
    for number in 0..60 {
        let target = format!("/upload/{number}");
        let length = inner.len() * 4;
        let framing = if dice.once_in(2) {
            format!("Content-Length: {length}\r\n\r\n")
        } else {
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n")
        };
        let mut wire = doors.gateway.wire();
        wire.send(format!("POST {target} HTTP/1.1\r\nHost: wiki.test\r\n{framing}"));
        wire.send(&inner.repeat(4)[..dice.below(length)]);
        if dice.once_in(2) {
            assert_eq!(wire.receive().unwrap().text(), target);
        }
        drop(wire);
        let honest = format!("/honest/{number}");
        assert_eq!(doors.ask(Way::Http1, &Ask::get(&honest)).unwrap().body, honest);
    }
    drop(doors);
    let mut uploads = 0;
    for tape in upstream.into_tapes() {
        for message in strict::messages(&tape).unwrap() {
            assert!(!message.target.contains("smuggled"), "FLUIDGATE_SEED={}: {message:?}", dice.seed());
            uploads += usize::from(message.target.starts_with("/upload"));
            assert!(message.whole || message.target.starts_with("/upload"));
        }
    }
    assert!(uploads > 0);
}
