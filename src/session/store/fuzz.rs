//! What must hold of any bytes that a store's own files hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use super::marker;
use super::summary::Summary;

/// Any bytes are the one form of a summary, or none, and so it is with a slot of the marker.
pub(in crate::session) fn bookkeeping(data: &[u8]) {
    if let Some(summary) = Summary::decode(data) {
        assert_eq!(summary.encode(), data);
    }
    marker::check_slot(data);
}
