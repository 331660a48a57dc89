//! What must hold of any cookie, any stored bytes and any export: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::sync::LazyLock;
use std::time::Duration;

use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::base::secret::{Random, RandomError, Secret};
use crate::session::CookieSettings;
use crate::session::cookie::{CookieCodec, HOST_NAME, PLAIN_NAME};
use crate::session::export_file::{self, ExportWriter, SessionLine};
use crate::session::id::Token;
use crate::session::keys::KeyRing;
use crate::session::record::Record;
use crate::session::store;
use crate::web::cookie::set_cookie_name;

/// Every byte the same.
struct Fixed(u8);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(self.0);
        Ok(())
    }
}

static CODEC: LazyLock<CookieCodec> = LazyLock::new(|| {
    let secret = |first: u8| Secret::new((first..first + 40).collect());
    let keys = KeyRing::new(&[secret(1), secret(100)]).unwrap();
    let settings = CookieSettings::default();
    CookieCodec::new(keys, &settings)
});

/// The value of the cookie that carries the token of this byte.
fn genuine(byte: u8) -> Vec<u8> {
    let issued = CODEC.issue(&Token::random(&Fixed(byte)).unwrap(), Duration::from_secs(60), true);
    let (_, rest) = issued.to_str().unwrap().split_once('=').unwrap();
    rest.split(';').next().unwrap().as_bytes().to_vec()
}

/// Any bytes, and any change of a genuine value (pairs of place and byte behind a first `\x01`; `\x02` cuts at a place): nothing is
/// read but what was issued, to the byte.
pub fn session_cookie(data: &[u8]) {
    let whole = genuine(7);
    let value = match data {
        [1, changes @ ..] => {
            let mut value = whole.clone();
            for change in changes.chunks_exact(2) {
                let at = usize::from(change[0]) % value.len();
                value[at] = change[1];
            }
            value
        }
        [2, at, more @ ..] => [&whole[..usize::from(*at) % whole.len()], more].concat(),
        _ => data.to_vec(),
    };
    match CODEC.read(&value) {
        Ok(presented) => {
            assert_eq!(value, whole, "only one spelling is genuine");
            assert_eq!(presented.token.stored_id(), Token::random(&Fixed(7)).unwrap().stored_id());
            assert!(
                !presented.older_key
                    && !format!("{presented:?}").contains(std::str::from_utf8(&whole[12..55]).unwrap())
            );
        }
        Err(_) => assert_ne!(value, whole),
    }
    if let Some(token) = Token::parse(&value) {
        let mut text = String::new();
        token.write_to(&mut text);
        assert_eq!(text.as_bytes(), value, "one canonical form");
    }
}

/// Any `Set-Cookie` of an upstream: whatever a browser keeps of it, under our name or to be sent as ours, is known for ours.
pub fn set_cookie(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let caught = CODEC.is_like_name(set_cookie_name(value.as_bytes()));
    // What a browser keeps (RFC 6265bis section 5.6): up to the first semicolon, name before the first `=`, blanks off; without a
    // name, it later sends the value alone.
    let text: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    let pair = text.split(';').next().unwrap();
    let blank = [' ', '\t'];
    let (name, content) = match pair.split_once('=') {
        Some((name, content)) => (name.trim_matches(blank), content.trim_matches(blank)),
        None => ("", pair.trim_matches(blank)),
    };
    let sent = if name.is_empty() { content.to_owned() } else { format!("{name}={content}") };
    let read = sent.split('=').next().unwrap().trim_matches(blank);
    assert!(caught || read != HOST_NAME && read != PLAIN_NAME, "{text:?} is sent as {sent:?}");
    // Browsers take the prefix in any case for the same promise.
    let (start, rest) = read.split_at_checked(7).unwrap_or_default();
    let alike = start.eq_ignore_ascii_case("__Host-") && rest == "fluidgate";
    assert!(caught || !alike, "{text:?} is sent as {sent:?}");
}

/// Any stored bytes are the one form of a record, or undecodable, and so it is with what the store keeps beside them.
pub fn stored(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode(), data);
        assert!(!record.user.is_empty());
    }
    store::fuzz::bookkeeping(data);
}

/// Any bytes of a Redis server, and any address of one.
pub fn redis(data: &[u8]) {
    store::redis::fuzz::answers(data);
    store::redis::fuzz::address(data);
}

/// Any file is a whole export, whose sessions written anew are read alike, or it is refused. Behind a first `\x01` stand only the lines
/// of sessions: header and trailer are put about them.
pub fn export_file(data: &[u8]) {
    if let [1, lines @ ..] = data {
        let mut writer = ExportWriter::new(Vec::new(), Timestamp::from_secs(1)).unwrap();
        let read = lines
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<SessionLine>(line).ok());
        let (mut whole, mut count) = (true, 0);
        for line in read {
            whole &= line.session().is_some();
            count += 1;
            writer.push(&line).unwrap();
        }
        let (file, written) = writer.finish().unwrap();
        assert_eq!(written, count);
        let long =
            file.split(|byte| *byte == b'\n').any(|line| line.len() as u64 + 1 > export_file::MAX_LINE);
        assert_eq!(read_back(&file).is_some(), whole && !long);
        return;
    }
    let Some(sessions) = read_back(data) else { return };
    let mut writer = ExportWriter::new(Vec::new(), Timestamp::from_secs(1)).unwrap();
    for line in &sessions {
        let (id, record) = line.session().expect("what is handed over can be read");
        assert_eq!(SessionLine::new(&id, &record), *line, "one form");
        writer.push(line).unwrap();
    }
    assert_eq!(read_back(&writer.finish().unwrap().0), Some(sessions));
}

fn read_back(file: &[u8]) -> Option<Vec<SessionLine>> {
    let mut sessions = Vec::new();
    let count = export_file::read(file, &mut |line| sessions.push(line)).ok()?;
    assert_eq!(count, sessions.len() as u64);
    Some(sessions)
}
