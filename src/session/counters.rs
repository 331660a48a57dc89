//! What happened, in numbers. The live gauge is not here: it is the table's own length.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EndReason {
    /// The user logged out.
    Logout = 1,
    /// A new login took its place.
    Replaced = 2,
    /// Too long without a request.
    Idle = 3,
    /// Its absolute limit came.
    Absolute = 4,
    /// An administrator, or the user from another session.
    Revoked = 5,
    /// The user's credential changed.
    CredentialChange = 6,
    /// The user is gone from the directory.
    UserGone = 7,
    /// The user had more sessions than the cap allows.
    Cap = 8,
    /// Everything before a moment was ended at once.
    NotBefore = 9,
}

impl EndReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Logout,
        Self::Replaced,
        Self::Idle,
        Self::Absolute,
        Self::Revoked,
        Self::CredentialChange,
        Self::UserGone,
        Self::Cap,
        Self::NotBefore,
    ];

    /// The stable code for logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::Revoked => "revoked",
            Self::CredentialChange => "credential_change",
            Self::UserGone => "user_gone",
            Self::Cap => "cap",
            Self::NotBefore => "not_before",
        }
    }
}

/// Why a presented cookie opened nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// Not the form of our cookie.
    Malformed,
    /// Our form, but no key of ours made it.
    BadMac,
    /// Genuine, but no such session (any more).
    Unknown,
    /// Its session is past a limit.
    Expired,
    /// Two genuine cookies for two live sessions.
    Duplicate,
}

impl Rejection {
    /// All rejections, in the order of their counters.
    pub const ALL: [Self; 5] = [Self::Malformed, Self::BadMac, Self::Unknown, Self::Expired, Self::Duplicate];

    /// The stable code for logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadMac => "bad_mac",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Counts since the start. Every field only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions created.
    pub created: AtomicU64,
    /// Records read from the store after the start.
    pub store_reads: AtomicU64,
    /// Commits made durable.
    pub commits: AtomicU64,
    /// Touches written to the store: sessions extended.
    pub touches: AtomicU64,
    /// Writes that the store refused or failed.
    pub store_errors: AtomicU64,
    /// Records that could not be decoded and were set aside.
    pub quarantined: AtomicU64,
    /// Cookies issued again under the newest key.
    pub reissued: AtomicU64,
    /// Logins refused because the user had as many sessions as the cap allows.
    pub refused_at_cap: AtomicU64,
    /// Requests with a bad cookie from a source that had sent too many.
    pub throttled: AtomicU64,
    /// Cookies of our name that upstreams tried to set, and that were dropped.
    pub forged_set_cookies: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    rejected: [AtomicU64; Rejection::ALL.len()],
}

impl Counters {
    /// Sessions ended for `reason`.
    pub fn ended(&self, reason: EndReason) -> u64 {
        slot(&self.ended, reason as usize - 1).map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// Cookies rejected for `rejection`.
    pub fn rejected(&self, rejection: Rejection) -> u64 {
        slot(&self.rejected, rejection as usize).map_or(0, |n| n.load(Ordering::Relaxed))
    }

    pub(crate) fn count_ended(&self, reason: EndReason) {
        slot(&self.ended, reason as usize - 1).map(add_one);
    }

    pub(crate) fn count_rejected(&self, rejection: Rejection) {
        slot(&self.rejected, rejection as usize).map(add_one);
    }
}

/// Adds one to a counter.
pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn slot(counters: &[AtomicU64], index: usize) -> Option<&AtomicU64> {
    counters.get(index)
}
