//! What must hold of any line of a log: the body of a fuzz target, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::observe::access_log::{Draft, Format, Opening, Outcome, escape, line};
use crate::observe::audit::{Event, ShortDigest};

/// Whatever the fields say, one NUL apart: one line comes of it, without any sign that a terminal obeys or that ends a line, and
/// the JSON one says the fields as they came.
pub fn logs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\0');
    let mut next = || texts.next().unwrap_or_default();
    let (method, host, path, user, moment, agent) = (next(), next(), next(), next(), next(), next());
    let opening = Opening {
        at: Timestamp::from_millis(u64::from_str_radix(moment, 16).unwrap_or(1_700_000_000_123)),
        request_id: b"00c0ffee",
        client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        method,
        host: host.as_bytes(),
        path,
        protocol: "HTTP/1.1",
        user_agent: Some(agent.as_bytes()),
    };
    let outcome = Outcome {
        status: 200,
        bytes_out: 5,
        bytes_in: None,
        duration: Duration::from_micros(1500),
        upstream: None,
        decision: "allow",
        reason: None,
    };
    let mut draft = Draft::default();
    draft.begin(&opening);
    draft.names(Some(host), Some(user));
    draft.end(outcome);
    let json = line(Format::Json, &draft);
    let combined = line(Format::Text, &draft);
    let mut audit = Vec::new();
    Event::new(opening.at, "session_created").of(ShortDigest([7; 6])).user(user).write_json(&mut audit);
    for written in [&json, &combined, &audit] {
        let written = std::str::from_utf8(written).expect("a line is text");
        let line = written.strip_suffix('\n').expect("a line ends");
        assert!(!line.contains(escape::is_unseen), "{line:?}");
    }
    let said: serde_json::Value = serde_json::from_slice(&json).expect("one JSON value");
    for (name, sent) in
        [("method", method), ("host", host), ("path", path), ("user", user), ("user_agent", agent)]
    {
        let said = said[name].as_str().unwrap();
        assert!(said == sent || said.len() > 1000 && sent.starts_with(said), "{name}: {said:?}");
    }
    let said: serde_json::Value = serde_json::from_slice(&audit).expect("one JSON value");
    assert!(user.starts_with(said["user"].as_str().unwrap()));
    assert_eq!(combined.iter().filter(|byte| **byte == b'"').count(), 6, "no field ends another");
}
