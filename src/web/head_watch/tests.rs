use proptest::prelude::*;

use super::*;

const PLAIN: HeadFacts =
    HeadFacts { fragment: false, content_lengths: 0, canonical_length: true, transfer_encodings: 0 };

fn facts_of(bytes: &[u8]) -> Option<HeadFacts> {
    let watch = HeadWatch::default();
    watch.read(bytes);
    watch.take()
}

#[test]
fn a_plain_head_has_plain_facts() {
    assert_eq!(facts_of(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: b=c#d\r\n\r\n"), Some(PLAIN));
    assert_eq!(facts_of(b"\r\n\r\nGET / HTTP/1.1\nHost: a\n\n"), Some(PLAIN));
    assert_eq!(facts_of(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
}

#[test]
fn a_fragment_shows() {
    assert_eq!(facts_of(b"GET /a#b HTTP/1.1\r\n\r\n"), Some(HeadFacts { fragment: true, ..PLAIN }));
}

#[test]
fn every_content_length_line_is_counted_and_judged() {
    for (lines, content_lengths, canonical_length) in [
        ("Content-Length: 0", 1, true),
        ("content-LENGTH:5", 1, true),
        ("Content-Length: 5\r\nContent-Length: 5", 2, true),
        ("Content-Length: 05", 1, false),
        ("Content-Length: +5", 1, false),
        ("Content-Length:", 1, false),
        ("Content-Length: 99999999999999999999", 1, false),
        ("Content-Length: 9223372036854775807", 1, true),
        ("Content-Length: 9223372036854775808", 1, false),
        ("Content-Length: 5\r\nContent-Length: 05", 2, false),
        ("Content-Lengths: 5", 0, true),
        ("Content_Length: 5", 0, true),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
        let expected = HeadFacts { content_lengths, canonical_length, ..PLAIN };
        assert_eq!(facts_of(head.as_bytes()), Some(expected), "{lines}");
    }
}

#[test]
fn content_length_beside_transfer_encoding_shows() {
    let head =
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nTRANSFER-ENCODING:x\r\n\r\n";
    assert_eq!(facts_of(head), Some(HeadFacts { content_lengths: 1, transfer_encodings: 2, ..PLAIN }));
}

#[test]
fn a_body_with_a_length_is_skipped_to_the_byte() {
    let watch = HeadWatch::default();
    watch.read(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n#\r\n\r\nGET /#x HTTP/1.1\r\n\r\n");
    assert_eq!(watch.take().map(|f| f.content_lengths), Some(1));
    assert_eq!(watch.take(), Some(HeadFacts { fragment: true, ..PLAIN }));
    assert_eq!(watch.take(), None);
}

#[test]
fn a_head_behind_a_chunked_body_goes_by_unseen() {
    let watch = HeadWatch::default();
    watch.read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(watch.take().is_some());
    watch.body_ended();
    assert_eq!(watch.take(), None);
}

#[test]
fn the_rest_of_a_head_that_began_unseen_never_passes_for_a_head() {
    let watch = HeadWatch::default();
    watch.read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /#x HTTP/1.1\r\nA: b");
    assert!(watch.take().is_some());
    watch.body_ended();
    watch.read(b"c\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(watch.take(), None);
}

#[test]
fn a_head_after_a_chunked_body_is_seen() {
    for end in ["0\r\n\r\n", "0\n\n", "0\r\nA: b\r\n\r\n"] {
        let watch = HeadWatch::default();
        watch.read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        for byte in end.as_bytes() {
            watch.read(&[*byte]);
        }
        assert!(watch.take().is_some());
        watch.body_ended();
        watch.read(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(watch.take(), Some(PLAIN));
    }
}

fn all(watch: &HeadWatch) -> Vec<HeadFacts> {
    std::iter::from_fn(|| watch.take()).collect()
}

proptest! {
    #[test]
    fn facts_do_not_depend_on_how_the_bytes_are_cut(
        pieces in prop::collection::vec(prop_oneof![
            Just("GET /a#b HTTP/1.1\r\n".to_owned()),
            Just("POST / HTTP/1.1\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("Transfer-Encoding: chunked\r\n".to_owned()),
            "[Cc]ontent-[Ll]ength:[ 0]{0,70}[0-9]{0,3} {0,70}\r?\n",
            "[a-zA-Z#: ]{0,90}(\r?\n)?",
        ], 0..12),
        cuts in prop::collection::vec(1_usize..40, 1..40),
    ) {
        let stream = pieces.concat().into_bytes();
        let whole = HeadWatch::default();
        whole.read(&stream);
        let cut = HeadWatch::default();
        let mut rest = &stream[..];
        for size in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, further) = rest.split_at((*size).min(rest.len()));
            cut.read(piece);
            rest = further;
        }
        prop_assert_eq!(all(&whole), all(&cut));
        prop_assert_eq!(whole.in_body(), cut.in_body());
    }
}
