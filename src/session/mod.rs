//! Layer 2: who holds which session, until when. Imports `base`, `web`, `observe`.
//!
//! ```text
//!             create                 idle limit, absolute limit, logout, revocation, reload
//! (nothing) ---------> live session ---------------------------------------------------------> over, for good
//!                        |      ^
//!                        +------+ manage: marks activity, never past the absolute limit
//! ```
//!
//! A request reads [`cookie`] → [`keys`] → [`id`] → the table → [`lifetime`], and waits for nobody. What must last goes to
//! the writer thread, which owns the [`store`] and answers once it would survive a power cut. The token is in the cookie only;
//! table and store know its hash.

mod administration;
mod cap;
mod coherence;
pub mod cookie;
pub mod counters;
pub mod export_file;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod id;
mod index;
pub mod inspection;
pub mod keys;
pub mod lifetime;
mod live;
mod logout;
mod manager;
mod metrics;
mod open;
mod outcome;
mod plan;
pub mod record;
mod shared;
mod sources;
pub mod store;
mod sweeper;
mod table;
mod trail;
mod upkeep;
mod writer;

pub use self::administration::ImportReport;
pub use self::cap::{AtLimit, Cap};
pub use self::counters::{Counters, EndReason, Rejection};
pub use self::id::StoredId;
pub use self::live::LiveSession;
pub use self::manager::SessionManager;
pub use self::open::{OpenError, OpenReport};
pub use self::outcome::{
    Activity, Caller, CleanReport, Created, Managed, SessionDetails, SessionError, StoreHealth,
};
pub use self::record::Origin;
pub use self::store::{RedisAddress, RedisAddressProblem};
pub use self::sweeper::sweep_forever;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::secret::Secret;

/// Checked settings of the session layer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signing secrets, 32 bytes or more each: the first signs, all verify.
    pub secrets: Vec<Secret>,
    /// Absolute limit of a session's life (the seed's `sessionDuration`). Default 24 h.
    pub duration: Duration,
    /// Longest pause between two requests. Default 2 h; never above `duration`.
    pub idle_timeout: Duration,
    /// Where sessions are kept.
    pub store: StoreSettings,
    /// How the session cookie is written.
    pub cookie: CookieSettings,
    /// How many sessions one user may have; `None`, the default, for any number.
    pub cap: Option<Cap>,
    /// Bad cookies per minute and source before more of them are answered 429. Default 100; 0 for no limit.
    pub max_bad_cookies: u32,
}

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSettings {
    /// The embedded sled store in this folder.
    Sled {
        /// The store's own folder.
        path: PathBuf,
    },
    /// A Redis or Valkey server that several gateways may share.
    Redis {
        /// Where it is.
        address: RedisAddress,
        /// How long sessions that were verified go on when the server is lost. Default 30 s; zero to 5 min.
        grace: Duration,
    },
    /// In memory only: every session ends with the process.
    Memory,
}

/// How the session cookie is written: the nine cookie options of the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSettings {
    /// Own name; `None` for `__Host-fluidgate` when Secure, else `fluidgate`.
    pub name: Option<String>,
    /// `HttpOnly`. Default true.
    pub http_only: bool,
    /// `Secure`. Default: follows the scheme of the request.
    pub secure: SecureMode,
    /// `SameSite`. Default Lax.
    pub same_site: SameSite,
    /// `Max-Age`. Default: what remains of the server's limits.
    pub max_age: MaxAge,
    /// `Expires`: a fixed date, beside Max-Age.
    pub expires: Option<Timestamp>,
    /// `Path`. Default `/`.
    pub path: String,
    /// `Domain`. Default none.
    pub domain: Option<String>,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self {
            name: None,
            http_only: true,
            secure: SecureMode::Auto,
            same_site: SameSite::Lax,
            max_age: MaxAge::Derived,
            expires: None,
            path: "/".into(),
            domain: None,
        }
    }
}

/// When the cookie carries `Secure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureMode {
    /// On requests that came by TLS, to us or to a trusted proxy.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The `SameSite` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Not sent on any cross-site request.
    Strict,
    /// Sent on top-level navigations.
    Lax,
    /// Always sent; needs Secure.
    None,
}

/// The `Max-Age` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// What remains of the absolute limit, at most 400 days.
    Derived,
    /// The same with a ceiling.
    Ceiling(Duration),
    /// No Max-Age: the cookie ends with the browser session.
    BrowserSession,
}

#[cfg(test)]
#[path = "../../tests/integration/support/redis.rs"]
pub(crate) mod test_redis;
#[cfg(test)]
mod tests;
