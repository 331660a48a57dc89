//! How many sessions one user may have at a time (S34).
//!
//! The writer asks, and it makes all sessions one after the other: logins that arrive together are counted in some order, and
//! what a login ends goes in the login's own commit. So the cap is exact, and a crash never leaves a login without its ending.

use crate::session::id::StoredId;

/// The cap on one user's live sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Most live sessions of one user, 1 to 10 000.
    pub max_per_user: usize,
    /// What a login does that would be one more.
    pub at_limit: AtLimit,
}

/// What a login does that would be one session too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// It ends the user's oldest sessions, as many as are too many. The default: nobody is locked out by a device they lost.
    #[default]
    EndOldest,
    /// It is refused; the sessions there are live on.
    Refuse,
}

impl Cap {
    /// What must end so that one more session fits beside `live`, the user's sessions with the oldest first; `None` when the
    /// login is to be refused. A cap that was lowered ends as many as are too many by now.
    pub(crate) fn room(&self, live: &[StoredId]) -> Option<Vec<StoredId>> {
        let excess = live.len().saturating_add(1).saturating_sub(self.max_per_user);
        match self.at_limit {
            AtLimit::Refuse if excess > 0 => None,
            _ => Some(live.iter().take(excess).copied().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u8) -> Vec<StoredId> {
        (0..count).map(|n| StoredId::from_bytes([n; 32])).collect()
    }

    #[test]
    fn the_oldest_make_room_and_only_as_many_as_needed() {
        let cap = Cap { max_per_user: 3, at_limit: AtLimit::EndOldest };
        assert_eq!(cap.room(&ids(2)), Some(vec![]));
        assert_eq!(cap.room(&ids(3)), Some(ids(1)));
        assert_eq!(cap.room(&ids(5)), Some(ids(3)), "a cap that was lowered");
    }

    #[test]
    fn refusing_ends_nothing() {
        let cap = Cap { max_per_user: 3, at_limit: AtLimit::Refuse };
        assert_eq!(cap.room(&ids(2)), Some(vec![]));
        assert_eq!(cap.room(&ids(3)), None);
    }
}
