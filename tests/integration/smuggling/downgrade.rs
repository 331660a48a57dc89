//! Requests of HTTP/2 that would fall apart into several, or change their framing, when they are written down as HTTP/1.1; in
//! frames made by hand, because no client library would send them.

use super::{inner, outer};
use crate::support::dice::Dice;
use crate::support::frames::{Frames, RawField, field};
use crate::support::ways::HOST;

/// What may stand in a name or a value and is a boundary in HTTP/1.1, or nearly.
#[rustfmt::skip]
const BREAKS: &[&str] = &[
    "\r\n", "\n", "\r", "\0", " ", "\t", ":", ": ", "\r\n\r\n", "\n\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\x7f", "\u{a0}", "\\r\\n",
    "%0d%0a", "\r\n ", "\r\nX: y", "\r\nTransfer-Encoding: chunked", "\r\nContent-Length: 0\r\n\r\n", "\u{10a}", "\u{560a}", "嘊嘍", "#", "@", "\"", ",", ";",
    "\r\nRemote-User: ada", " HTTP/1.1\r\nX: y", "\x01", "\x1f", "/", "?", "_",
];
#[rustfmt::skip]
const FIELDS: &[(&str, &str)] = &[
    ("transfer-encoding", "chunked"), ("transfer-encoding", "Chunked"), ("transfer-encoding", "gzip, chunked"), ("transfer-encoding", ""),
    ("transfer-encoding", " chunked"), ("Transfer-Encoding", "chunked"), ("transfer_encoding", "chunked"), ("transfer.encoding", "chunked"),
    ("transfer-encoding ", "chunked"), (" transfer-encoding", "chunked"), ("transfer-encoding:", "chunked"), ("transfer-encoding\0", "chunked"),
    ("transfer-encoding: chunked\r\nx", "y"), ("x", "y\r\ntransfer-encoding: chunked"), ("content-length", "0"), ("content-length", "1"),
    ("content-length", "4"), ("content-length", "1000"), ("content-length", "+4"), ("content-length", " 4"), ("content-length", "04"),
    ("content-length", "4, 4"), ("content-length", ""), ("content-length", "4\r\n"), ("content-length", "18446744073709551616"),
    ("Content-Length", "0"), ("content_length", "0"), ("content-length ", "0"), ("connection", "close"), ("connection", "keep-alive"),
    ("connection", "transfer-encoding"), ("connection", "content-length, host"), ("Connection", "close"), ("keep-alive", "5"),
    ("proxy-connection", "keep-alive"), ("upgrade", "h2c"), ("upgrade", "websocket"), ("http2-settings", "AAMAAABk"), ("te", "gzip"),
    ("te", "trailers"), ("te", "trailers, chunked"), ("trailer", "content-length"), ("expect", "100-continue"), ("expect", "x"),
    ("host", HOST), ("host", "evil.test"), ("host", ""), ("host", "wiki.test\r\nx: y"), ("host", "wiki.test, evil.test"), (" host", "x"),
    ("Host", HOST), ("", "x"), (" ", "x"), (":", "x"), ("x:y", "z"), ("x y", "z"), ("x\ty", "z"), ("x\r\ny", "z"), ("X-Upper", "z"), ("x\0", "y"),
    ("x\u{e9}", "y"), ("x", " y "), ("x", "\ty"), ("x", "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), ("cookie", "a=b\r\nx: y"),
    ("cookie", "a=b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"), (":path", "/smuggled"), (":authority", "evil.test"), (":method", "GET"),
    (":scheme", "http"), (":status", "200"), (":protocol", "websocket"), (":protocol", "h2c"), (":x", "y"), (":host", "a"), (":path ", "/"),
    ("get /smuggled http/1.1\r\nhost", "a"), ("x-forwarded-host", "evil.test\r\n"), ("sec-websocket-key", "x\r\n"), ("authorization", "x\n y"),
];
#[rustfmt::skip]
const METHODS: &[&str] = &[
    "GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "XYZ", "", " GET", "GET ", "G ET", "GET\0", "GET\r\n", "GET /smuggled HTTP/1.1\r\nX:",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nPOST", "GET /smuggled", "G\u{e9}T", "GET:", "PRI",
];
/// `@` is the outer path.
#[rustfmt::skip]
const PATHS: &[&str] = &[
    "", "*", "@ ", " @", "@ HTTP/1.1\r\nX: y", "@ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nX:", "@\r\n", "@\n", "@\0", "@\t", "@#x",
    "@?x#y", "@\\..\\..\\smuggled", "@/../../smuggled", "@/%2e%2e/%2e%2e/smuggled", "http://a@", "https://wiki.test@", "//evil.test@", "outer", "?x",
    "/smuggled", "@\u{e9}", "@\u{a0}", "@%0d%0aX:%20y", "@?a=b HTTP/1.1", "@;/../smuggled", "@?\r\nX: y", "@\x7f", "@\"", "@%00", "@%zz", "/outer#/../smuggled",
];
#[rustfmt::skip]
const AUTHORITIES: &[&str] = &[
    "", "wiki.test:443", "WIKI.test", "wiki.test.", "u@wiki.test", "wiki.test/smuggled", "wiki.test#", "wiki.test?x", "a b", "wiki.test\r\nX: y",
    "wiki.test\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "wiki.test:99999", "wiki.test:", ":443", "[::1]", "[::1", "wiki.test,evil.test",
    "w\u{131}ki.test", "wiki.test\0", " wiki.test", "wiki.test ", "wiki.test\t", "evil.test", "%77iki.test", "wiki.test\\", "*", "..", "wiki..test",
];
const SCHEMES: &[&str] = &[
    "http",
    "ftp",
    "",
    "HTTPS",
    "https ",
    "https\r\n",
    "https://evil.test/?",
    "javascript",
    "https:",
    "h2c",
    "ws",
    "\0",
    "ht\ttps",
];

/// Writes mutation `number` as stream 1.
pub fn mutation(number: usize, dice: &mut Dice, frames: &mut Frames) {
    let mut pseudo = [
        field(":method", "POST"),
        field(":scheme", "https"),
        field(":path", &outer(number)),
        field(":authority", HOST),
    ];
    let mut fields = vec![field("accept", "*/*"), field("x-long", &"x".repeat(dice.below(200)))];
    let inner = inner(number);
    let body = match dice.below(5) {
        0 => String::new(),
        1 => inner.clone(),
        2 => format!("0\r\n\r\n{inner}"),
        3 => format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        _ => "body".into(),
    };
    for _ in 0..=dice.below(3) {
        change(number, dice, &mut pseudo, &mut fields, body.len());
    }
    let mut all: Vec<RawField> = pseudo.iter().chain(&fields).cloned().collect();
    match dice.below(20) {
        0 => dice.shuffle(&mut all),
        1 => drop(all.remove(dice.below(4))),
        2 => {
            let place = dice.below(4);
            all.push(all[place].clone());
        }
        _ => {}
    }
    let piece = if dice.once_in(6) { 1 + dice.below(40) } else { usize::MAX };
    let trailers = dice.once_in(5).then(|| trailers(dice));
    frames.headers_in(1, &all, body.is_empty() && trailers.is_none(), piece);
    if !body.is_empty() {
        let middle = if dice.once_in(3) { dice.below(body.len()) } else { 0 };
        let (first, second) = body.split_at_checked(middle).unwrap_or(("", &body));
        if !first.is_empty() {
            frames.data(1, first.as_bytes(), false);
        }
        frames.data(1, second.as_bytes(), trailers.is_none());
    }
    if let Some(trailers) = trailers {
        frames.headers(1, &trailers, true);
    }
    if dice.once_in(12) {
        // Behind the end of the stream.
        frames.data(1, inner.as_bytes(), true);
    }
}

fn change(
    number: usize,
    dice: &mut Dice,
    pseudo: &mut [RawField; 4],
    fields: &mut Vec<RawField>,
    body: usize,
) {
    let outer = outer(number);
    match dice.below(9) {
        0 => pseudo[0].1 = dice.pick(METHODS).into(),
        1 => pseudo[1].1 = dice.pick(SCHEMES).into(),
        2 => pseudo[2].1 = dice.pick(PATHS).replace('@', &outer).into(),
        3 => pseudo[3].1 = dice.pick(AUTHORITIES).into(),
        4 => fields
            .push(field("content-length", &(body + dice.below(3)).saturating_sub(dice.below(3)).to_string())),
        5 | 6 => {
            let (name, value) = FIELDS[dice.below(FIELDS.len())];
            let place = dice.below(fields.len() + 1);
            fields.insert(place, field(name, value));
        }
        _ => {
            // A break in any name or value.
            let all = pseudo.len() + fields.len();
            let place = dice.below(all);
            let (name, value) = if place < 4 { &mut pseudo[place] } else { &mut fields[place - 4] };
            let text = if dice.once_in(2) { name } else { value };
            let place = dice.below(text.len() + 1);
            text.splice(place..place, dice.pick(BREAKS).bytes());
        }
    }
}

fn trailers(dice: &mut Dice) -> Vec<RawField> {
    let list = [
        ("x", "y"),
        ("remote-user", "ada"),
        ("content-length", "4"),
        ("transfer-encoding", "chunked"),
        (":path", "/smuggled"),
        ("host", "evil.test"),
        ("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("x\r\ny", "z"),
        ("X", "y"),
        ("connection", "close"),
        ("", "x"),
    ];
    (0..=dice.below(2))
        .map(|_| list[dice.below(list.len())])
        .map(|(name, value)| field(name, value))
        .collect()
}
