//! The head watch sees the same facts however the bytes are cut, and never panics.
#![no_main]

use fluidgate::web::head_watch::{HeadFacts, HeadWatch};
use libfuzzer_sys::fuzz_target;

fn facts(pieces: &[&[u8]]) -> (Vec<HeadFacts>, bool) {
    let watch = HeadWatch::default();
    for piece in pieces {
        watch.read(piece);
    }
    let facts = std::iter::from_fn(|| watch.take()).collect();
    (facts, watch.in_body())
}

// The bytes before the first line feed say where to cut: each is the length of a piece.
fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (cuts, bytes) = (&data[..at], &data[at + 1..]);
    let whole = facts(&[bytes]);
    assert_eq!(whole, facts(&bytes.chunks(1).collect::<Vec<_>>()));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for cut in cuts {
        let (piece, tail) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    assert_eq!(whole, facts(&pieces));
});
