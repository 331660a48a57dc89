//! Reads request heads off the wire beside hyper, for what hyper does not show.

use std::cell::RefCell;

/// What one request head said on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadFacts {
    /// A `#` stood in the request target; hyper cuts the fragment off silently.
    pub fragment: bool,
    /// How many Content-Length field lines there were; hyper folds equal ones into one and drops all beside Transfer-Encoding.
    pub content_lengths: u8,
    /// Every Content-Length was a plain decimal without leading zeros.
    pub canonical_length: bool,
    /// How many Transfer-Encoding field lines there were.
    pub transfer_encodings: u8,
}

/// Follows one client connection (see module doc). Interior mutability: the reading side and the service share it by `Rc`.
#[derive(Debug, Default)]
pub struct HeadWatch {
    state: RefCell<()>,
}

impl HeadWatch {
    /// Takes note of bytes just read from the client.
    pub fn read(&self, _bytes: &[u8]) {
        let _ = &self.state;
    }

    /// The facts of the oldest head read and not yet taken; `None` when the request's head was not seen, which must be refused.
    pub fn take(&self) -> Option<HeadFacts> {
        None
    }

    /// The body of the newest request has been read to its end.
    pub fn body_ended(&self) {}
}
