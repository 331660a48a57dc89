//! Layer 1: HTTP building blocks that know nothing of sessions, logins or routes' owners. Imports `base` only.

pub mod body;
pub mod forwarded;
pub mod head_watch;
pub mod hop_by_hop;
