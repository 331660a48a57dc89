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
mod budget;
mod check_out;
mod connect;
mod endpoint;
mod error;
mod forward;
mod group;
mod health;
mod lane;
mod message;
mod metrics;
mod pool;
mod registry;
mod resolve;
mod retry;
mod settings;
mod tls;
mod upgrade;
mod waiting;
mod watch;

pub use address::{Place, Scheme, UpstreamAddress};
pub use body::{ForwardedBody, RequestBody};
pub use error::{BodyError, ForwardError};
pub use forward::forward;
pub use group::UpstreamGroup;
pub use metrics::UpstreamNumbers;
pub use pool::{Counters, UpstreamPool};
pub use registry::{UpstreamState, Upstreams};
pub use settings::{Balance, Ejection, GroupSettings, HealthSettings, Limits, MAX_MEMBERS, MemberSettings};
pub use tls::{Identity, TlsClient, TlsError, UpstreamTls};
pub use watch::watch;

#[cfg(test)]
mod tests;
