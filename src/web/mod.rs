//! Layer 1: HTTP building blocks that know nothing of sessions, logins or routes' owners. Imports `base` only.

pub mod body;
pub mod cookie;
pub mod head_watch;
pub mod host;
pub mod normalize;
pub mod path;
pub mod return_to;
pub mod route;
