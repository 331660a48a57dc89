//! Layer 1: HTTP building blocks that know nothing of sessions, logins or routes' owners. Imports `base` only.

pub mod body;
pub mod cookie;
pub mod head_watch;
