//! One reading of a request path, or a typed refusal for anything two parties could read differently (P13).
//!
//! The bytes themselves are never rewritten: what is forwarded is what was decided on. A [`PathReadings`] holds what routes and
//! rules look at: the path with its percent-escapes decoded, and, where an upstream may read it another way (empty segments
//! merged, `;parameters` and what follows an encoded `?` cut off, of a segment or of the whole path, encoded slashes as separators,
//! escapes decoded once more, a host behind `//`), those other readings too. A request whose readings lead to different routes is
//! refused.

use std::borrow::Cow;

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// The target does not start with `/`.
    #[error("the request target does not start with a slash")]
    NotAbsolute,
    /// A control byte, space, `#`, backslash or a byte that is not ASCII stands in it unencoded.
    #[error("the path holds a byte that must be encoded")]
    RawByte,
    /// A `%` without two hexadecimal digits behind it.
    #[error("the path holds an invalid percent-escape")]
    InvalidEscape,
    /// An escape that decodes to a control byte, NUL included.
    #[error("the path holds an encoded control byte")]
    EncodedControl,
    /// An escape within an escape that hides a dot, slash, backslash or control byte, or escapes within escapes without end.
    #[error("the path holds an escape within an escape that hides what it means")]
    DoubleEncoding,
    /// An overlong UTF-8 form.
    #[error("the path holds an overlong UTF-8 form")]
    Overlong,
    /// A `.` or `..` segment, plain, encoded, or with parameters.
    #[error("the path holds a dot segment")]
    DotSegment,
}

/// The readings of one path (see module doc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReadings<'a> {
    /// As it stands, decoded. An encoded slash or backslash stays encoded here, since it separates nothing.
    pub primary: Cow<'a, str>,
    /// The other readings, without the primary one; nearly always empty.
    pub others: Vec<String>,
    /// An encoded slash or backslash occurs, which a route must allow.
    pub encoded_slash: bool,
}

/// How often a path may be decoded before nothing is left to decode.
const MAX_DECODINGS: usize = 3;

/// Reads the path `raw` (no query).
///
/// # Errors
/// The first [`PathRefusal`] met.
pub fn read_path(raw: &str) -> Result<PathReadings<'_>, PathRefusal> {
    if !raw.starts_with('/') {
        return Err(PathRefusal::NotAbsolute);
    }
    if is_plain(raw.as_bytes()) {
        return Ok(PathReadings { primary: Cow::Borrowed(raw), others: Vec::new(), encoded_slash: false });
    }
    let segments = raw.split('/').skip(1).map(Segment::decode).collect::<Result<Vec<_>, _>>()?;
    let encoded_slash = segments.iter().any(|s| s.0.iter().any(|b| matches!(b, b'/' | b'\\')));
    let primary = join(&segments, Reading::default());
    let mut others: Vec<String> = Vec::new();
    let mut add = |other: String| {
        if other != primary && !others.contains(&other) {
            others.push(other);
        }
    };
    let host_first = raw.starts_with("//");
    let mut read = |segments: &[Segment]| {
        let cut = before_a_query(segments);
        for path in std::iter::once(segments).chain(cut.as_deref()) {
            Reading::all(path).for_each(|reading| add(join(path, reading)));
            if host_first {
                behind_a_host(path).for_each(&mut add);
            }
        }
    };
    read(&segments);
    // An upstream that decodes once more reads `/%2561dmin` as `/admin`.
    let mut again = segments;
    let mut depth = 1;
    while let Some(decoded) = decoded_again(&again)? {
        // Every further reading costs as much as the first, and nobody needs them.
        depth += 1;
        if depth > MAX_DECODINGS {
            return Err(PathRefusal::DoubleEncoding);
        }
        again = decoded;
        read(&again);
    }
    Ok(PathReadings { primary: Cow::Owned(primary), others, encoded_slash })
}

/// Whether the path has one obvious reading: unreserved and harmless bytes, no empty segment, no segment that starts with a dot.
fn is_plain(raw: &[u8]) -> bool {
    let mut previous = 0;
    raw.iter().all(|&byte| {
        let fine = match byte {
            b'/' => previous != b'/',
            b'.' => previous != b'/',
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
            b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'='
            | b':' | b'@' => true,
            _ => false,
        };
        previous = byte;
        fine
    })
}

/// One segment's decoded bytes.
#[derive(Clone)]
struct Segment(Vec<u8>);

impl Segment {
    fn decode(raw: &str) -> Result<Self, PathRefusal> {
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                // Not ASCII: an upstream may take such bytes for another character set than it takes escaped ones for.
                0..=b' ' | 0x7f.. | b'#' | b'\\' => return Err(PathRefusal::RawByte),
                b'%' => {
                    let (decoded, tail) = escape(rest).ok_or(PathRefusal::InvalidEscape)?;
                    match decoded {
                        0..0x20 | 0x7f => return Err(PathRefusal::EncodedControl),
                        _ => bytes.push(decoded),
                    }
                    rest = tail;
                }
                _ => bytes.push(byte),
            }
        }
        Self(bytes).judged()
    }

    /// The segment, if it is neither overlong nor a dot segment.
    fn judged(self) -> Result<Self, PathRefusal> {
        if is_overlong(&self.0) {
            return Err(PathRefusal::Overlong);
        }
        let pieces = self.0.split(|b| matches!(b, b'/' | b'\\'));
        if pieces.into_iter().any(|piece| matches!(without_parameters(piece), b"." | b"..")) {
            return Err(PathRefusal::DotSegment);
        }
        Ok(self)
    }

    /// The segment with the escapes that are left in it decoded once more; `None` when there are none.
    fn decoded_again(&self) -> Result<Option<Self>, PathRefusal> {
        let mut decoded = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_slice();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte == b'%' && is_wide_escape(tail) {
                return Err(PathRefusal::InvalidEscape);
            }
            match escape(tail).filter(|_| byte == b'%') {
                Some((0..0x20 | 0x7f | b'.' | b'/' | b'\\', _)) => return Err(PathRefusal::DoubleEncoding),
                Some((meant, tail)) => {
                    decoded.push(meant);
                    rest = tail;
                }
                None => decoded.push(byte),
            }
        }
        if decoded.len() == self.0.len() { Ok(None) } else { Self(decoded).judged().map(Some) }
    }
}

/// All segments with the escapes that are left in them decoded once more; `None` when there are none.
fn decoded_again(segments: &[Segment]) -> Result<Option<Vec<Segment>>, PathRefusal> {
    let mut changed = false;
    let decoded = segments.iter().map(|segment| {
        let again = segment.decoded_again()?;
        changed |= again.is_some();
        Ok(again.unwrap_or_else(|| segment.clone()))
    });
    let decoded = decoded.collect::<Result<Vec<_>, _>>()?;
    Ok(changed.then_some(decoded))
}

/// The byte that two hexadecimal digits at the start of `rest` stand for, and what follows them.
fn escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], tail) = rest.split_first_chunk::<2>()?;
    let digit = |d: u8| char::from(d).to_digit(16).and_then(|v| u8::try_from(v).ok());
    Some((digit(high)? << 4 | digit(low)?, tail))
}

/// Whether what follows a `%` makes it an escape of four digits, which some servers know.
fn is_wide_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'u' | b'U', digits @ ..] if digits.iter().take(4).filter(|d| d.is_ascii_hexdigit()).count() == 4)
}

fn is_overlong(bytes: &[u8]) -> bool {
    bytes.iter().any(|b| matches!(b, 0xc0 | 0xc1))
        || bytes.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

/// A segment up to its `;`, or up to what was an encoded `?` or `#`, behind which an upstream that decodes first sees no path.
fn without_parameters(piece: &[u8]) -> &[u8] {
    piece.split(|b| ends_a_segment(*b)).next().unwrap_or_default()
}

/// What an upstream may do to a path before it looks at it.
#[derive(Clone, Copy, Default)]
struct Reading {
    merge_empty: bool,
    cut_parameters: bool,
    split_encoded: bool,
}

impl Reading {
    /// The readings that can differ for `segments`: most paths have nothing that an upstream could merge, cut or split.
    fn all(segments: &[Segment]) -> impl Iterator<Item = Reading> + use<> {
        let has = |find: fn(&[u8]) -> bool| segments.iter().any(|segment| find(&segment.0));
        let merge =
            has(|bytes| bytes.split(|b| separates(*b)).any(|piece| without_parameters(piece).is_empty()));
        let cut = has(|bytes| bytes.iter().any(|b| ends_a_segment(*b)));
        let split = has(|bytes| bytes.iter().any(|b| separates(*b)));
        let masks = u8::from(merge) | u8::from(cut) << 1 | u8::from(split) << 2;
        (0..8_u8).filter(move |mask| mask & !masks == 0).map(|mask| Reading {
            merge_empty: mask & 1 != 0,
            cut_parameters: mask & 2 != 0,
            split_encoded: mask & 4 != 0,
        })
    }
}

/// Whether an upstream that decodes first may take the byte for the end of a segment.
fn separates(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Whether an upstream may take the byte for the end of what names anything in a segment.
fn ends_a_segment(byte: u8) -> bool {
    matches!(byte, b';' | b'?' | b'#')
}

/// The path of an upstream that decodes the whole target first and then looks for the query: it ends at the first `?` or `#` that
/// shows, whatever segments follow. `None` when there is none.
fn before_a_query(segments: &[Segment]) -> Option<Vec<Segment>> {
    let ends = |byte: &u8| matches!(byte, b'?' | b'#');
    let last = segments.iter().position(|segment| segment.0.iter().any(ends))?;
    let mut path = segments.get(..=last)?.to_vec();
    let Segment(bytes) = path.last_mut()?;
    bytes.truncate(bytes.iter().position(ends)?);
    Some(path)
}

/// The readings of an upstream that parses the target as a URL: what comes first behind `//` is a host there, behind more slashes
/// too, and the path begins after it.
fn behind_a_host(segments: &[Segment]) -> impl Iterator<Item = String> {
    let host = segments.iter().position(|segment| !segment.0.is_empty());
    let path = host.and_then(|host| segments.get(host + 1..)).unwrap_or_default();
    Reading::all(path).map(move |reading| if path.is_empty() { "/".to_owned() } else { join(path, reading) })
}

/// The path text of one reading. Bytes that are not UTF-8 become U+FFFD, which no configured path contains.
fn join(segments: &[Segment], reading: Reading) -> String {
    let mut path = String::with_capacity(segments.iter().map(|segment| segment.0.len() + 1).sum());
    let last = segments.len().saturating_sub(1);
    for (index, Segment(bytes)) in segments.iter().enumerate() {
        let mut rest = Some(bytes.as_slice());
        while let Some(bytes) = rest {
            let end = bytes.iter().position(|b| separates(*b)).filter(|_| reading.split_encoded);
            let (piece, behind) = match end {
                Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..)),
                None => (bytes, None),
            };
            rest = behind;
            let piece = if reading.cut_parameters { without_parameters(piece) } else { piece };
            let is_last = index == last && rest.is_none();
            if piece.is_empty() && reading.merge_empty && !is_last {
                continue;
            }
            path.push('/');
            push_text(&mut path, piece);
        }
    }
    #[cfg(test)]
    tests::JOINED.with(|joined| joined.set(joined.get() + path.len()));
    path
}

/// A piece's text behind `path`, its slashes encoded again. Nothing is allocated for a piece: a path may have thousands.
fn push_text(path: &mut String, piece: &[u8]) {
    for chunk in piece.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '/' => path.push_str("%2F"),
                '\\' => path.push_str("%5C"),
                other => path.push(other),
            }
        }
        if !chunk.invalid().is_empty() {
            path.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        /// The bytes of all readings that were made.
        pub(super) static JOINED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    fn refusal(raw: &str) -> PathRefusal {
        read_path(raw).expect_err(raw)
    }

    #[test]
    fn a_plain_path_is_read_as_it_stands_without_a_copy() {
        for raw in ["/", "/a/b", "/a/b/", "/a.b/c..d", "/Wiki:Main_Page", "/@user/~x", "/a+b=c,d"] {
            let read = read_path(raw).unwrap();
            assert!(matches!(&read.primary, Cow::Borrowed(p) if *p == raw), "{raw}");
            assert!(read.others.is_empty() && !read.encoded_slash);
        }
    }

    #[test]
    fn dot_segments_are_refused_plain_encoded_and_with_parameters() {
        for raw in [
            "/pub/../prot",
            "/pub/./../prot",
            "/pub/..",
            "/.",
            "/pub/%2e%2e/prot",
            "/%2E%2E",
            "/pub/.%2e/prot",
            "/pub/..;/prot",
            "/pub/..;a=b/prot",
            "/pub/..%2fprot",
            "/pub%2f..%2fprot",
            "/pub/..%5cprot",
            "/pub%5c..%5cprot",
            "/x/.;y",
        ] {
            assert_eq!(refusal(raw), PathRefusal::DotSegment, "{raw}");
        }
        for raw in ["/.well-known/x", "/...", "/..a", "/a..", "/.git"] {
            assert!(read_path(raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn bytes_and_escapes_that_parties_read_differently_are_refused() {
        let cases = [
            ("a", PathRefusal::NotAbsolute),
            ("", PathRefusal::NotAbsolute),
            ("/a#b", PathRefusal::RawByte),
            ("/pub/..\\prot", PathRefusal::RawByte),
            ("/a\tb", PathRefusal::RawByte),
            ("/a b", PathRefusal::RawByte),
            ("/caf\u{e9}", PathRefusal::RawByte),
            ("/%zz", PathRefusal::InvalidEscape),
            ("/%", PathRefusal::InvalidEscape),
            ("/%2", PathRefusal::InvalidEscape),
            ("/%u002e", PathRefusal::InvalidEscape),
            ("/pub%00/x", PathRefusal::EncodedControl),
            ("/prot%0a", PathRefusal::EncodedControl),
            ("/prot%09", PathRefusal::EncodedControl),
            ("/x%7f", PathRefusal::EncodedControl),
            ("/pub/%252e%252e/prot", PathRefusal::DoubleEncoding),
            ("/a%252fb", PathRefusal::DoubleEncoding),
            ("/a%255cb", PathRefusal::DoubleEncoding),
            ("/a%2500", PathRefusal::DoubleEncoding),
            ("/a%25252fb", PathRefusal::DoubleEncoding),
            ("/pub/%25%32%65%25%32%65/prot", PathRefusal::DoubleEncoding),
            ("/pub/%252%65%2%35%32%65/prot", PathRefusal::InvalidEscape),
            ("/pub/%252%65%252%65/prot", PathRefusal::DoubleEncoding),
            ("/a%25%32%66b", PathRefusal::DoubleEncoding),
            ("/a%25%35%63b", PathRefusal::DoubleEncoding),
            ("/a%250d%250ab", PathRefusal::DoubleEncoding),
            ("/a%257f", PathRefusal::DoubleEncoding),
            ("/pub/%25u002e%25u002e/prot", PathRefusal::InvalidEscape),
            ("/pub/%2525U002e./prot", PathRefusal::InvalidEscape),
            ("/pub/..%253bx/prot", PathRefusal::DotSegment),
            ("/pub/..%25253f/prot", PathRefusal::DotSegment),
            ("/pub/%25c0%25ae%25c0%25ae/prot", PathRefusal::Overlong),
            ("/%c0%ae%c0%ae/x", PathRefusal::Overlong),
            ("/%e0%80%af", PathRefusal::Overlong),
        ];
        for (raw, why) in cases {
            assert_eq!(refusal(raw), why, "{raw}");
        }
    }

    #[test]
    fn escapes_of_ordinary_letters_are_decoded_for_the_decision() {
        assert_eq!(read_path("/%61dmin").unwrap().primary, "/admin");
        assert_eq!(read_path("/100%25").unwrap().primary, "/100%");
        assert_eq!(read_path("/caf%C3%A9").unwrap().primary, "/café");
    }

    #[test]
    fn an_empty_segment_is_read_both_ways() {
        let read = read_path("//prot//x/").unwrap();
        assert_eq!(read.primary, "//prot//x/");
        assert_eq!(read.others, ["/prot/x/", "//x/", "/x/"]);
    }

    #[test]
    fn what_follows_two_slashes_is_read_as_a_host_too() {
        for (path, behind) in [
            ("//x/prot", "/prot"),
            ("///x/prot", "/prot"),
            ("//u@x:80/prot", "/prot"),
            ("//x/%2570rot", "/prot"),
            ("//x/prot;y", "/prot"),
            ("//x", "/"),
            ("//", "/"),
        ] {
            assert!(read_path(path).unwrap().others.iter().any(|other| other == behind), "{path}");
        }
        assert!(!read_path("/x//y/prot").unwrap().others.iter().any(|other| other == "/prot"));
    }

    #[test]
    fn parameters_are_read_with_and_without() {
        let read = read_path("/prot;x/y").unwrap();
        assert_eq!(read.primary, "/prot;x/y");
        assert_eq!(read.others, ["/prot/y"]);
        assert_eq!(read_path("/prot%3fx").unwrap().others, ["/prot"]);
        assert_eq!(read_path("/prot%23x").unwrap().others, ["/prot"]);
    }

    #[test]
    fn the_whole_path_is_read_up_to_what_was_an_encoded_query_too() {
        for path in [
            "/report%3f/x",
            "/report%23/x",
            "/report%3fa/b%3fc/d",
            "/report%253f/x",
            "/report%25253f/x",
            "/report%2523/x",
            "/%2572eport%3f/x",
            "/report%253fa%3f/x",
            "//report%3f/x",
            "//host/report%3f/x",
        ] {
            assert!(read_path(path).unwrap().others.iter().any(|other| other == "/report"), "{path}");
        }
        assert_eq!(read_path("/a%3fb/c").unwrap().others, ["/a/c", "/a"]);
        assert_eq!(read_path("/%3f/x").unwrap().others, ["//x", "/x", "/"].map(str::to_owned));
    }

    #[test]
    fn reading_a_path_costs_a_bounded_number_of_passes_however_deep_its_escapes_are() {
        // Three times decoded, read whole or up to a query, with and without a host before it, in eight ways each.
        const PASSES: usize = 3 * 2 * 2 * 8 + 1;
        let nested = format!("%{}", "25".repeat(4000));
        for path in [
            format!("/{nested}"),
            format!("//{nested}//{nested}"),
            format!("/a/{nested}3f{nested};{nested}/b"),
            format!("/{}", "%2525252561/".repeat(1000)),
            format!("/{}", "%252561;%25253f/".repeat(1000)),
            format!("//{}", "%252561".repeat(1000)),
        ] {
            JOINED.set(0);
            let read = read_path(&path);
            let joined = JOINED.get();
            assert!(
                joined > 0 && joined <= PASSES * path.len(),
                "{joined} of {}: {:?}",
                path.len(),
                read.err()
            );
        }
    }

    #[test]
    fn the_readings_that_are_made_are_all_that_there_are() {
        const SEGMENTS: [&str; 9] = ["", "a", ";", "b;c", "%2f", "x%5c", "%3fy", "%2f;", "%c3%a9"];
        let every = |mask: u8| Reading {
            merge_empty: mask & 1 != 0,
            cut_parameters: mask & 2 != 0,
            split_encoded: mask & 4 != 0,
        };
        for place in 0..9_usize.pow(3) {
            let raw = [SEGMENTS[place % 9], SEGMENTS[place / 9 % 9], SEGMENTS[place / 81]];
            let segments: Vec<_> = raw.iter().map(|segment| Segment::decode(segment).unwrap()).collect();
            let made: Vec<String> = Reading::all(&segments).map(|reading| join(&segments, reading)).collect();
            for mask in 0..8 {
                assert!(made.contains(&join(&segments, every(mask))), "{raw:?} {mask}");
            }
        }
        let plain = Segment::decode("a%20b").unwrap();
        assert_eq!(Reading::all(&[plain]).count(), 1);
    }

    #[test]
    fn escapes_of_escapes_are_read_once_and_more_often() {
        let read = read_path("/%2561dmin").unwrap();
        assert_eq!(read.primary, "/%61dmin");
        assert_eq!(read.others, ["/admin"]);
        assert_eq!(read_path("/%252561").unwrap().others, ["/%61", "/a"]);
        assert_eq!(refusal("/%25252561"), PathRefusal::DoubleEncoding);
        assert_eq!(refusal(&format!("/%{}", "25".repeat(8000))), PathRefusal::DoubleEncoding);
        assert_eq!(read_path("/100%25").unwrap().others, Vec::<String>::new());
    }

    #[test]
    fn an_encoded_slash_is_told_and_read_both_ways() {
        let read = read_path("/a%2Fb%5cc").unwrap();
        assert!(read.encoded_slash);
        assert_eq!(read.primary, "/a%2Fb%5Cc");
        assert_eq!(read.others, ["/a/b/c"]);
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics_and_no_reading_holds_a_dot_segment(
            raw in "/([%./;\\\\a-f0-9 ]{0,40}|(%|25|2|5|%32|%35|%65|%45|2e|%2e|%3b|\\.|/|;|a){0,16})",
        ) {
            if let Ok(read) = read_path(&raw) {
                for path in std::iter::once(&*read.primary).chain(read.others.iter().map(String::as_str)) {
                    proptest::prop_assert!(path.starts_with('/'));
                    let name = |segment: &str| segment.split([';', '?', '#']).next().unwrap_or_default().to_owned();
                    proptest::prop_assert!(path.split('/').all(|s| !matches!(&*name(s), "." | "..")));
                }
            }
        }
    }
}
