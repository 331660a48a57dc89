//! Messages of HTTP/1.1 in which one party may see where the inner request begins and another may not. Every spelling of the
//! framing fields, chunk grammar, line ends, versions and forms of target; one after the other, and then by chance, several at once.

use super::{inner, outer};
use crate::support::dice::Dice;

/// Bytes that some parser somewhere trims, skips, ends a line at or takes for a sign.
const ODD: &[u8] =
    b"\0\x01\x02\x08\t\n\x0b\x0c\r\x1b\x1c\x1f !\"'(),-./:;=@[\\]_`{|}~\x7f\x80\x85\xa0\xad\xff";

#[rustfmt::skip]
const ENCODINGS: &[&str] = &[
    "chunked", "Chunked", "CHUNKED", "chunked ", "\tchunked", "chunked\t", "chunked,", ",chunked", "chunked, ", "chunked,,",
    "chunked, chunked", "chunked, identity", "identity, chunked", "identity", "gzip, chunked", "chunked, gzip", "x, chunked",
    "chunked;q=1", "chunked;a=b", "\"chunked\"", "'chunked'", "xchunked", "chunkedx", "chunk", "cow", "", " ", "chu\tnked",
    "chunked chunked", "chunked\r\n identity", "\r\n chunked", "\r\n\tchunked", "\n chunked", "chunked\rX: y", "chunked\nX: y",
    "chunked\0", "\0chunked", "{chunked}", "[chunked]", "chun\u{212a}ed", "trailers, chunked", "chunked\u{b}", "deflate",
];
#[rustfmt::skip]
const LENGTHS: &[&str] = &[
    "@", "@, @", "@,", ",@", "0@", "00@", "+@", "-@", "-0", "0x@", "@.0", "@e0", "@ 0", "0 @", "@;a=b", "\"@\"", "'@'", "", " ",
    "\t@", "@\t", "@\u{b}", "@\u{c}", "@\0", "\0@", "@\r\n ", "\r\n @", "\n @", "@\rX: y", "@\nX: y", "1_0", "@a", "a@", "١",
    "18446744073709551616", "18446744073709551615", "9223372036854775808", "4294967296", "@@", "0, @", "@, 0", "NaN", "@%",
    "99999999999999999999999999999999999999999999999999999999999999999999999999999999",
];
/// Fields that move a boundary, or that someone may believe they do.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "Expect: 100-continue", "Expect: 100-Continue", "Expect: y 100-continue", "Expect: 200-ok", "Expect:", "Expect: 100-continue, x",
    "Expect:\r\n 100-continue", "Expect : 100-continue", "Connection: close", "Connection: keep-alive", "Connection: Content-Length",
    "Connection: Transfer-Encoding", "Connection: Host", "Connection: close, Content-Length, Transfer-Encoding", "Connection: X\r\n y",
    "Keep-Alive: 300", "Proxy-Connection: keep-alive", "TE: chunked", "TE: trailers", "Trailer: Content-Length",
    "Trailer: Transfer-Encoding, Host", "Content-Encoding: chunked", "Content-Range: bytes 0-1/2", "Content-Type: message/http",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings", "Upgrade: h2c\r\nConnection: Upgrade",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Upgrade: TLS/1.2\r\nConnection: Upgrade", "Upgrade: HTTP/2.0\r\nConnection: Upgrade", "Upgrade: tcp\r\nConnection: Upgrade",
    "Host: a", "Host: b", "Host:", "X-Forwarded-Host: b", ": x", "X", "X:", "=", " X: y", "\tX: y", "X: y\r\n z", "X: y\r\n\tz",
    "X: y\rz", "X: y\nZ: z", "X: \0", "X\0: y", "X : y", "X\t: y", "X\u{a0}: y", "Content-Length\0: 0", "Method: GET", "Max-Forwards: 0",
];
/// Bodies of chunks; `@` is the inner request and `#` a chunk that holds it.
#[rustfmt::skip]
const CHUNKS: &[&str] = &[
    "0\r\n\r\n@", "00\r\n\r\n@", "0000000000000000000000000\r\n\r\n@", "0 \r\n\r\n@", "0\t\r\n\r\n@", " 0\r\n\r\n@", "0;a=b\r\n\r\n@",
    "0;a=\"\r\n\r\n\"\r\n\r\n@", "0;\n\r\n\r\n@", "0;a\rb\r\n\r\n@", "0\n\n@", "0\n\r\n@", "0\r\r\n@", "0\r\n\n@", "0\r\n\rX@", "-0\r\n\r\n@",
    "+0\r\n\r\n@", "0x0\r\n\r\n@", "0_0\r\n\r\n@", "\r\n0\r\n\r\n@", "1\r\na0\r\n\r\n@", "1\r\naXX0\r\n\r\n@", "1\r\na\n0\r\n\r\n@",
    "1\r\na\r0\r\n\r\n@", "2\r\na\r\n0\r\n\r\n@", "1\na\r\n0\r\n\r\n@", "1;\n2\r\na\r\n0\r\n\r\n@", "10000000000000000\r\na\r\n0\r\n\r\n@",
    "ffffffffffffffff\r\na\r\n0\r\n\r\n@", "fffffffffffffffff\r\na\r\n0\r\n\r\n@", "80000000\r\na\r\n0\r\n\r\n@",
    "1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n@", "1\r\na\r\n0\r\nContent-Length: 50\r\n\r\n@", "1\r\na\r\n0\r\nHost: b\r\n\r\n@",
    "1\r\na\r\n0\r\nRemote-User: ada\r\n\r\n@", "1\r\na\r\n0\r\nX: y\n\n@", "1\r\na\r\n0\r\n X: y\r\n\r\n@", "1\r\na\r\n0\r\nX\r\n\r\n@",
    "g\r\n\r\n@", "\r\n\r\n@", "@", "#0\r\n\r\n", "#0\r\n\r\n@", "#", "#00;x\r\n\r\n", "1;ext=\"@\r\na\r\n0\r\n\r\n", "1 ;x\r\na\r\n0\r\n\r\n@",
    "1;;;\r\na\r\n0\r\n\r\n@", "1\r\n\r\n\r\n0\r\n\r\n@", "0\r\n@", "0\r\nX: @\r\n\r\n", "1\u{b}\r\na\r\n0\r\n\r\n@", "1\0\r\na\r\n0\r\n\r\n@",
    "1\r\na\r\n0\r\n\r\n#", "1,1\r\na\r\n0\r\n\r\n@", "A\r\n0123456789\r\n0\r\n\r\n@", "1\r\na\r\n0;\r\n\r\n@", "1;\ra\r\na\r\n0\r\n\r\n@",
];
const REQUEST_LINES: &[&str] = &[
    "@ HTTP/1.0",
    "@ HTTP/0.9",
    "@",
    "@ HTTP/2.0",
    "@ HTTP/1.10",
    "@ http/1.1",
    "@  HTTP/1.1",
    "@ HTTP/1.1 ",
    "@\tHTTP/1.1",
    "@ HTTP/1",
    "@ HTTP/1.2",
    "@ HTTP/3.0",
    "@ HTTP/1.1\0",
    "@ HTTP/01.1",
    "@ HTTP /1.1",
    "@#x HTTP/1.1",
    "@?x#y HTTP/1.1",
    "@\\..\\x HTTP/1.1",
    "@%0d%0aX:%20y HTTP/1.1",
    "@ X HTTP/1.1",
    "@\0 HTTP/1.1",
    "@\u{e9} HTTP/1.1",
    "@\u{a0} HTTP/1.1",
    "@?\" HTTP/1.1",
    "@?x=/../y HTTP/1.1",
];
#[rustfmt::skip]
const METHODS: &[&str] = &[
    "POST ", "GET ", "PUT ", "HEAD ", "OPTIONS ", "DELETE ", "PATCH ", "TRACE ", "CONNECT ", "post ", "XYZ ", " GET ", "GET  ", "GET\t",
    "\r\nGET ", "\r\n\r\nPOST ", "\nGET ", "\0GET ", "G\0T ", "GET\r\n ", "GET: ", "PRI ", "\u{feff}GET ", "GET\u{a0}",
];
const LINE_ENDS: &[&str] =
    &["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\n", "\u{85}", "\u{2028}", "\0\r\n", " \r\n", "\r\n\r\n"];

/// A head of these lines.
fn head(lines: &[Vec<u8>], ends: &str) -> Vec<u8> {
    let mut head: Vec<u8> = lines.iter().flat_map(|line| [line, ends.as_bytes()].concat()).collect();
    head.extend(ends.as_bytes());
    head
}

fn post(number: usize, framing: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut lines = vec![format!("POST {} HTTP/1.1", outer(number)).into_bytes(), b"Host: a".to_vec()];
    lines.extend(framing.iter().map(|field| field.to_vec()));
    lines.push(b"Accept: */*".to_vec());
    [head(&lines, "\r\n"), body.to_vec()].concat()
}

/// `framing` beside an honest length, with an inner request behind a chunked body and within a chunk.
fn both_ways(number: usize, framing: &[u8]) -> [Vec<u8>; 2] {
    let inner = inner(number);
    let counted = format!("0\r\n\r\n{inner}");
    let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let length = |length: usize| format!("Content-Length: {length}").into_bytes();
    [
        post(number, &[&length(counted.len()), framing], counted.as_bytes()),
        post(number, &[&length(4), framing], chunked.as_bytes()),
    ]
}

fn filled(chunks: &str, number: usize) -> Vec<u8> {
    let inner = inner(number);
    let chunk = format!("{:x}\r\n{inner}\r\n", inner.len());
    chunks.replace('@', &inner).replace('#', &chunk).into_bytes()
}

/// Every one of the lists, one at a time.
pub fn table() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (name, value) in [("Transfer-Encoding", "chunked"), ("Content-Length", "4")] {
        let [name, value] = [name.as_bytes(), value.as_bytes()];
        for byte in ODD {
            let byte = std::slice::from_ref(byte);
            for framing in [
                [name, byte, b": ", value].concat(),
                [byte, name, b": ", value].concat(),
                [name, b":", byte, value].concat(),
                [name, b": ", value, byte].concat(),
                [b"X: x".as_slice(), byte, name, b": ", value].concat(),
                [name, b": ", &value[..1], byte, &value[1..]].concat(),
                String::from_utf8_lossy(name)
                    .into_owned()
                    .into_bytes()
                    .split(|b| *b == b'-')
                    .collect::<Vec<_>>()
                    .join(byte)
                    .into_iter()
                    .chain(*b": ")
                    .chain(value.iter().copied())
                    .collect(),
            ] {
                let [one, other] = both_ways(all.len(), &framing);
                // With the value of a length, what counts is which of the two is believed.
                all.push(if all.len().is_multiple_of(2) { one } else { other });
            }
        }
    }
    for encoding in ENCODINGS {
        let field = format!("Transfer-Encoding: {encoding}").into_bytes();
        all.extend(both_ways(all.len(), &field));
        let body = filled("0\r\n\r\n@", all.len());
        all.push(post(all.len(), &[&field], &body));
        let body = filled("#0\r\n\r\n", all.len());
        all.push(post(all.len(), &[b"Transfer-Encoding: chunked", &field], &body));
    }
    for length in LENGTHS {
        let field = format!("Content-Length: {}", length.replace('@', "4")).into_bytes();
        for fields in [vec![&*field], vec![b"Content-Length: 0", &field], vec![&field, b"Content-Length: 0"]]
        {
            all.push(post(all.len(), &fields, inner(all.len()).as_bytes()));
        }
    }
    for other in OTHERS {
        let body = filled("0\r\n\r\n@", all.len());
        all.push(post(all.len(), &[other.as_bytes(), b"Transfer-Encoding: chunked"], &body));
        let length = format!("Content-Length: {}", inner(all.len()).len());
        all.push(post(all.len(), &[length.as_bytes(), other.as_bytes()], inner(all.len()).as_bytes()));
        all.push(post(all.len(), &[other.as_bytes()], inner(all.len()).as_bytes()));
    }
    for chunks in CHUNKS {
        all.push(post(all.len(), &[b"Transfer-Encoding: chunked"], &filled(chunks, all.len())));
    }
    for line in REQUEST_LINES {
        let line = format!("GET {}", line.replace('@', &outer(all.len())));
        let body = inner(all.len()).into_bytes();
        all.push([head(&[line.into_bytes(), b"Host: a".to_vec()], "\r\n"), body].concat());
    }
    for method in METHODS {
        let line = format!("{method}{} HTTP/1.1", outer(all.len()));
        let body = inner(all.len()).into_bytes();
        all.push([head(&[line.into_bytes(), b"Host: a".to_vec()], "\r\n"), body].concat());
    }
    for ends in LINE_ENDS {
        let line = format!("GET {} HTTP/1.1", outer(all.len()));
        let body = inner(all.len()).into_bytes();
        all.push([head(&[line.into_bytes(), b"Host: a".to_vec(), b"X: y".to_vec()], ends), body].concat());
    }
    all
}

/// Several of them at once, by chance.
pub fn mutation(number: usize, dice: &mut Dice) -> Vec<u8> {
    let inner = inner(number);
    let body = match dice.below(5) {
        0 => inner.clone().into_bytes(),
        1 => format!("0\r\n\r\n{inner}").into_bytes(),
        2 => format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()).into_bytes(),
        _ => filled(dice.pick(CHUNKS), number),
    };
    let mut fields = vec![b"Host: a".to_vec()];
    for _ in 0..=dice.below(2) {
        fields.push(match dice.below(4) {
            0 | 1 => transfer_encoding(dice),
            2 => content_length(dice, body.len(), inner.len()),
            _ => dice.pick(OTHERS).as_bytes().to_vec(),
        });
    }
    if dice.once_in(2) {
        fields.push(content_length(dice, body.len(), inner.len()));
    }
    dice.shuffle(&mut fields);
    let method = if dice.once_in(4) { dice.pick(METHODS) } else { "POST " };
    let line = if dice.once_in(6) { dice.pick(REQUEST_LINES) } else { "@ HTTP/1.1" };
    let target = match dice.below(10) {
        0 => format!("http://a{}", outer(number)),
        1 => format!("{}?{}", outer(number), "x=y"),
        2 => format!("http://b{}", outer(number)),
        _ => outer(number),
    };
    let mut lines = vec![format!("{method}{}", line.replace('@', &target)).into_bytes()];
    lines.extend(fields);
    let ends = if dice.once_in(10) { dice.pick(LINE_ENDS) } else { "\r\n" };
    let mut message = [head(&lines, ends), body].concat();
    if dice.once_in(8) {
        // An honest one before it, so that the mutated one is not the connection's first.
        message =
            [format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", outer(number)).into_bytes(), message].concat();
    }
    if dice.once_in(8) {
        let place = dice.below(message.len());
        message.insert(place, ODD[dice.below(ODD.len())]);
    }
    message
}

/// A field of this name and value, spelt oddly now and then.
fn spelt(dice: &mut Dice, name: &str, value: &str) -> Vec<u8> {
    let mut name = name.as_bytes().to_vec();
    if dice.once_in(3) {
        for byte in &mut name {
            if dice.once_in(2) {
                byte.make_ascii_uppercase();
            }
        }
    }
    let mut field = [&name, &b": "[..], value.as_bytes()].concat();
    if dice.once_in(2) {
        let place = match dice.below(5) {
            0 => 0,
            1 => name.len(),
            2 => name.len() + 1,
            3 => field.len(),
            _ => dice.below(field.len()),
        };
        field.insert(place, ODD[dice.below(ODD.len())]);
    }
    field
}

fn transfer_encoding(dice: &mut Dice) -> Vec<u8> {
    let name = [
        "Transfer-Encoding",
        "transfer-encoding",
        "Transfer_Encoding",
        "Transfer.Encoding",
        "TransferEncoding",
    ];
    let name = if dice.once_in(5) { dice.pick(&name) } else { name[0] };
    let value = if dice.once_in(2) { dice.pick(ENCODINGS) } else { "chunked" };
    spelt(dice, name, value)
}

fn content_length(dice: &mut Dice, body: usize, inner: usize) -> Vec<u8> {
    let name = ["Content-Length", "content-length", "Content_Length", "Content.Length", "ContentLength"];
    let name = if dice.once_in(5) { dice.pick(&name) } else { name[0] };
    let numbers = [0, 1, 4, body, body.saturating_sub(inner), inner, body + 10, body.saturating_sub(1)];
    let number = numbers[dice.below(numbers.len())].to_string();
    let value = if dice.once_in(3) { dice.pick(LENGTHS).replace('@', &number) } else { number };
    spelt(dice, name, &value)
}
