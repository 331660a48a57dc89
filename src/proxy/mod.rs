//! Layer 2: the engine that forwards. Imports `base`, `web`, `observe`, and of its siblings `policy::Permit` alone, so that
//! forwarding without a decision does not compile.
//!
//! Everything here belongs to one worker: connections, their driver tasks and the futures are `!Send` and share by `Rc`.
//!
//! ```text
//! forward ── check out ──▶ idle list (LIFO) ──▶ hyper connection (own local task) ──▶ upstream
//!    ▲                        ▲        └─ empty: connect
//!    └── response head        └── check in, when the response body has ended
//! ```

mod address;
mod balance;
mod body;
mod connect;
mod endpoint;
mod error;
mod forward;
mod group;
mod pool;
mod settings;
mod upgrade;
mod waiting;

pub use address::{Place, Scheme, UpstreamAddress};
pub use body::{ForwardedBody, RequestBody};
pub use endpoint::Upstreams;
pub use error::ForwardError;
pub use forward::forward;
pub use group::UpstreamGroup;
pub use pool::{Counters, UpstreamPool};
pub use settings::{Balance, DEFAULT_RETRIES, GroupSettings, Limits, MAX_MEMBERS, MemberSettings};

#[cfg(test)]
mod tests;
