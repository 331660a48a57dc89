//! Layer 0: leaf types without I/O. Imports nothing of this crate.

pub mod clock;
pub mod identity;
pub mod recurring;
pub mod secret;
