//! Request smuggling (X18): a public route in front of a protected one. However a message is mangled, the upstream receives at
//! most the outer request, framed in one way, and never the inner one, for which nobody was let in.
//!
//! The mutations are made from a seed (see `support::dice`); a failure says it, and which mutation it was. What is judged is every
//! byte that the upstream got, and every byte of every answer.

mod downgrade;
mod grammar;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::dice::{Dice, mutations};
use crate::support::frames::{Frames, field};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::strict;
use crate::support::upstream::TestUpstream;
use crate::support::ways::{Ask, Doors, HOST, Way};
use crate::support::wire::Stream;

/// `/outer` is open, everything else needs a session.
fn half_open(upstream: &TestUpstream) -> Setup {
    let url = upstream.url();
    Setup::routes(format!(
        "[[routes]]\npath = \"/outer\"\nupstream = [\"{url}\"]\naccess = \"public\"\n[[routes]]\nupstream = [\"{url}\"]\n"
    ))
}

/// How long a gateway that waits for the rest of a message is listened to.
const LISTEN: Duration = Duration::from_millis(100);
/// Clients at a time. They share the gateway's connections to the upstream, so that one's request can hurt another's.
const CLIENTS: usize = 24;
/// By chance, beside those of the table.
const BY_CHANCE: usize = 700;

/// What mutation `number` asks for; its mark has six digits. The upstream's answer says it, so it must reach nobody else.
fn outer(number: usize) -> String {
    format!("/outer/{number:06}/x")
}

/// What it may smuggle.
fn inner(number: usize) -> String {
    format!("GET /smuggled/{number:06}/x HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Runs `exchange` for every number below `count`, which answers what the client received, and judges what both sides got.
fn never_smuggled(seed: u64, count: usize, exchange: impl Fn(&Doors, usize) -> String + Sync) {
    let upstream = TestUpstream::echoing_targets();
    let doors = Doors::of(half_open(&upstream));
    let say = |number: usize| format!("FLUIDGATE_SEED={seed}, mutation {number} of {count}");
    let numbers = Mutex::new(0..count);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let Some(number) = numbers.lock().unwrap().next() else { break };
                    let received = exchange(&doors, number);
                    answered.fetch_add(
                        usize::from(received.contains(&format!("/outer/{number:06}"))),
                        Ordering::Relaxed,
                    );
                    for (place, found) in received.match_indices("/outer/") {
                        // A mark that was mutated itself is nobody's.
                        let mark = received[place + found.len()..].split('/').next().unwrap_or_default();
                        let whose = (mark.len() == 6).then(|| mark.parse().ok()).flatten();
                        assert!(
                            whose.is_none_or(|whose: usize| whose == number),
                            "{}: not its own: {received}",
                            say(number)
                        );
                    }
                    assert!(!received.contains("/smuggled"), "{}: {received}", say(number));
                }
            });
        }
    });
    // Shows that all is well after them, and that the upstream was listened to.
    for way in Way::ALL {
        assert_eq!(doors.status(way, &Ask::get("/outer/last/x")), Some(200));
    }
    let log = doors.gateway.stop_and_read("access.log");
    let forwarded =
        judge(&upstream.into_tapes(), &log).unwrap_or_else(|wrong| panic!("FLUIDGATE_SEED={seed}: {wrong}"));
    let answered = answered.into_inner();
    println!(
        "FLUIDGATE_SEED={seed}: {count} mutations, {forwarded} reached the upstream, {answered} answered by it"
    );
    // A fifth is so by rights; of the answers, a busy machine gives fewer in the time that the client listens. Of what is never
    // forwarded, or never read by the client, nothing was judged.
    assert!(
        forwarded >= count / 10 && answered >= count / 50,
        "FLUIDGATE_SEED={seed}: {forwarded}, {answered} of {count}"
    );
}

/// Holds what the upstream got against what was decided: every request whole or broken off, framed in one way, let in under its
/// own id and target, once; and everything that was answered by the upstream is there. Answers how many they are.
fn judge(tapes: &[Vec<u8>], log: &str) -> Result<usize, String> {
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let allowed: HashMap<String, String> = lines
        .iter()
        .filter(|line| line["decision"] == "allow")
        .map(|line| (text(line, "request_id"), text(line, "path")))
        .collect();
    let mut seen = HashSet::new();
    for tape in tapes {
        for message in strict::messages(tape)? {
            let id = message.header("x-request-id").unwrap_or_default().to_owned();
            let path = message.target.split('?').next().unwrap_or_default();
            let wrong = |what: &str| Err(format!("{what}: {message:?}"));
            match allowed.get(&id) {
                None => return wrong("a request that nobody let in"),
                Some(decided) if decided != path => return wrong("not the path that was decided on"),
                Some(_) if !path.starts_with("/outer") && path != "*" => {
                    return wrong("not the outer request");
                }
                Some(_) => {}
            }
            if !message.trailers.is_empty() {
                return wrong("trailers");
            }
            if !seen.insert(id) {
                return wrong("a request that came twice");
            }
        }
    }
    for line in lines.iter().filter(|line| line["upstream_ms"].is_number()) {
        if !seen.contains(&text(line, "request_id")) {
            return Err(format!("answered by nobody: {line}"));
        }
    }
    Ok(seen.len())
}

/// Sends a message and an honest request behind it, now and then in two pieces, and answers with all that comes back.
fn speak(mut stream: impl Stream, number: usize, message: &[u8], cut: Option<usize>) -> String {
    let tail = format!("GET /outer/{number:06}/tail HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (first, second) = message.split_at(cut.unwrap_or(0).min(message.len()));
    for part in [first, &[second, tail.as_bytes()].concat()] {
        let _ = stream.write_all(part).and_then(|()| stream.flush());
    }
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    String::from_utf8_lossy(&received).into_owned()
}

fn http1_is_never_smuggled(way: Way, usual_seed: u64) {
    let seed = Dice::new(usual_seed).seed();
    let table = grammar::table();
    let count = table.len() + mutations(BY_CHANCE);
    never_smuggled(seed, count, |doors, number| {
        let mut dice = Dice::of(seed, number);
        let message = table.get(number).cloned().unwrap_or_else(|| grammar::mutation(number, &mut dice));
        let cut = dice.once_in(3).then(|| dice.below(message.len()));
        let received = speak(doors.stream(way, LISTEN), number, &message, cut);
        assert!(
            !received.contains("HTTP/1.1 500") && !received.contains("HTTP/1.1 502"),
            "FLUIDGATE_SEED={seed}, mutation {number}: {:?} -> {received}",
            String::from_utf8_lossy(&message)
        );
        received
    });
}

#[test]
fn no_message_of_http_1_hides_a_request() {
    http1_is_never_smuggled(Way::Http1, 1);
}

#[test]
fn no_message_of_http_1_over_tls_hides_a_request() {
    http1_is_never_smuggled(Way::Http1Tls, 2);
}

#[test]
fn no_stream_of_http_2_hides_a_request() {
    let seed = Dice::new(3).seed();
    never_smuggled(seed, mutations(BY_CHANCE + 300), |doors, number| {
        let mut frames = Frames::over(doors.stream(Way::Http2, LISTEN));
        downgrade::mutation(number, &mut Dice::of(seed, number), &mut frames);
        let tail = format!("/outer/{number:06}/tail");
        let honest = [(":method", "GET"), (":scheme", "https"), (":path", &tail), (":authority", HOST)];
        frames.headers(3, &honest.map(|(name, value)| field(name, value)), true);
        let fates = frames.fates(&[1, 3]);
        assert_ne!(
            fates.get(&1).and_then(|fate| fate.status),
            Some(500),
            "FLUIDGATE_SEED={seed}, mutation {number}"
        );
        fates.values().map(|fate| String::from_utf8_lossy(&fate.body).into_owned()).collect()
    });
}

#[test]
fn the_body_of_an_unseen_head_does_not_vouch_for_it() {
    let (go, gate) = channel();
    let gate = Mutex::new(gate);
    let upstream = TestUpstream::with(move |_, stream| {
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").map(|()| true)
    });
    let gateway: TestGateway = half_open(&upstream).start();
    let mut wire = gateway.wire();
    // The second head comes in the same packet as the end of the first body, so it goes by unseen; it has two framings.
    wire.send(
        "POST /outer/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         POST /outer/2#x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(upstream.next().target(), "/outer/1");
    // Its body reads like an innocent head.
    let body = "x\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    go.send(()).unwrap();
    assert_eq!(wire.receive().unwrap().status, 200);
    drop(go);
    assert_eq!(wire.receive().map(|response| response.status), Some(400));
    assert!(wire.is_closed_by_peer());
    upstream.saw_nothing();
}
