//! Layer 1: HTTP building blocks that know nothing of sessions, logins or routes' owners. Imports `base` only.

pub mod body;
pub mod cookie;
pub mod fields;
pub mod forwarded;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod head_watch;
pub mod hop_by_hop;
pub mod host;
pub mod normalize;
pub mod path;
pub mod return_to;
pub mod route;
pub mod trace_context;
pub mod trailers;
pub mod tunnel;
pub mod upgrade;
pub mod via;
