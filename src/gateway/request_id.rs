//! Request ids: unique, cheap, and telling a client nothing but themselves; or those that a trusted proxy has given (P18).

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::secret::{Random, RandomError};
use crate::web::via::ViaName;

/// The field that carries the id to the upstream and back to the client.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a proxy.
const LONGEST: usize = 64;

/// The id of one request: 16 lower-case hexadecimal characters, or what a trusted proxy has called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    number: u64,
    given: Option<Given>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    bytes: [u8; LONGEST],
    length: u8,
}

impl RequestId {
    /// As text.
    pub fn text(self) -> String {
        self.short().as_str().to_owned()
    }

    /// As text on the stack.
    pub fn short(self) -> ShortText {
        if let Some(given) = self.given {
            return ShortText { bytes: given.bytes, length: usize::from(given.length) };
        }
        let mut text = ShortText { bytes: [0; LONGEST], length: 16 };
        for (place, at) in text.bytes.iter_mut().zip((0..16).rev()) {
            let digit = u8::try_from(self.number >> (4 * at) & 0xf).unwrap_or_default();
            *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        }
        text
    }

    /// The number of this gateway's own, whatever a proxy has called the request.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The id in the `X-Request-Id` of a trusted proxy, where it is one of at most 64 letters, digits and `-_.:=+/`.
    #[must_use]
    pub fn or_given(self, headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(X_REQUEST_ID).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return self };
        Self { given: Given::read(field.as_bytes()), ..self }
    }

    /// As the value of a field: one allocation, and none for its clones.
    pub fn header(self) -> HeaderValue {
        // Its own owner, so that the clones of the bytes share it from the start.
        HeaderValue::from_maybe_shared(Bytes::from_owner(self.short()))
            .unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

impl Given {
    fn read(text: &[u8]) -> Option<Self> {
        let fine = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:=+/".contains(b);
        if text.is_empty() || !text.iter().all(fine) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short().as_str())
    }
}

/// The text of an id.
#[derive(Clone, Copy, Debug)]
pub struct ShortText {
    bytes: [u8; LONGEST],
    length: usize,
}

impl ShortText {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_ref()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for ShortText {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// One worker's ids: a random start, then an odd random stride, so that ids neither repeat within 2^64 nor count requests.
#[derive(Debug)]
pub struct RequestIds {
    next: Cell<u64>,
    stride: u64,
    via: ViaName,
}

/// What the sequences of all workers are made from.
#[derive(Clone, Copy, Debug)]
pub struct RequestIdSeed {
    start: u64,
    stride: u64,
    name: u64,
}

impl RequestIdSeed {
    /// A fresh seed.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn new(random: &dyn Random) -> Result<Self, RandomError> {
        let number = || {
            let mut bytes = [0; 8];
            random.fill(&mut bytes)?;
            Ok(u64::from_ne_bytes(bytes))
        };
        Ok(Self { start: number()?, stride: number()? | 1, name: number()? })
    }

    /// The sequence of the worker of this index: each starts a long way from the others.
    pub fn worker(self, index: usize) -> RequestIds {
        let offset = (index as u64).wrapping_mul(self.stride) << 40;
        let next = Cell::new(self.start.wrapping_add(offset));
        RequestIds { next, stride: self.stride, via: ViaName::new(self.name) }
    }
}

impl RequestIds {
    /// The next id.
    pub fn next(&self) -> RequestId {
        let id = self.next.get();
        self.next.set(id.wrapping_add(self.stride));
        RequestId { number: id, given: None }
    }

    /// What this process calls itself, the same for all its workers.
    pub fn via(&self) -> &ViaName {
        &self.via
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::SystemRandom;

    #[test]
    fn ids_of_several_workers_do_not_repeat() {
        let seed = RequestIdSeed::new(&SystemRandom).unwrap();
        let of_worker = |index| {
            let ids = seed.worker(index);
            (0..10_000).map(move |_| ids.next().text()).collect::<Vec<_>>()
        };
        let seen: std::collections::HashSet<_> = (0..4).flat_map(of_worker).collect();
        assert_eq!(seen.len(), 40_000);
        assert!(seen.iter().all(|id| id.len() == 16));
    }

    fn given(fields: &[&str]) -> RequestId {
        let headers = fields.iter().map(|field| (X_REQUEST_ID, field.parse().unwrap())).collect();
        RequestId { number: 0xa0b, given: None }.or_given(&headers)
    }

    #[test]
    fn an_id_is_taken_from_a_proxy_when_it_is_short_and_plain() {
        let longest = "x".repeat(64);
        for id in
            ["7b1d2c9e-3a5f-4e0b-9d3c-1f2e3d4c5b6a", "Root=1-67891233-abcdef01", "a/b:c+d_e.f", &longest]
        {
            assert_eq!(given(&[id]).text(), id);
        }
        for bad in [
            &[][..],
            &[""],
            &["a b"],
            &["a\tb"],
            &["<script>"],
            &["a,b"],
            &["a\"b"],
            &[&"x".repeat(65)],
            &["a", "a"],
        ] {
            assert_eq!(given(bad).text(), "0000000000000a0b", "{bad:?}");
        }
    }

    #[test]
    fn the_field_says_what_the_log_says() {
        for id in [given(&[]), given(&["abc-1"]), RequestId { number: u64::MAX, given: None }] {
            assert_eq!(id.header().to_str().unwrap(), id.text());
        }
    }
}
