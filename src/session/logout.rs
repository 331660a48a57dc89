//! Logging out: every session that the request's cookies open ends, not only the one a request would be judged by.

use http::HeaderMap;

use crate::base::clock::Timestamp;
use crate::session::counters::EndReason;
use crate::session::id::StoredId;
use crate::session::manager::{MAX_TRIES, SessionManager, Unusable};
use crate::session::outcome::SessionError;
use crate::web::cookie;

impl SessionManager {
    /// The sessions that the cookies of a request open, or, as far as only a shared store can tell, may open; each once. Two
    /// cookies for different sessions leave a request anonymous, and yet both are what its browser holds.
    pub fn presented(&self, headers: &HeaderMap, secure: bool, now: Timestamp) -> Vec<StoredId> {
        let mut found = Vec::new();
        for value in cookie::values(headers, self.cookies.name(secure).as_bytes()).take(MAX_TRIES) {
            let id = match self.try_cookie(value, now) {
                Ok((_, session)) => session.stored_id(),
                Err(Unusable::Unresolved(id)) => id,
                Err(Unusable::Refused(_)) => continue,
            };
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }

    /// Ends the sessions that [`SessionManager::presented`] found: at once for every worker, and resolves once that is durable.
    /// One that could not be resolved is over on this gateway at once, and on the others when the store works again.
    ///
    /// # Errors
    /// As [`SessionManager::destroy`].
    pub async fn log_out(&self, ids: Vec<StoredId>) -> Result<(), SessionError> {
        for id in &ids {
            match (self.shared.table.find(id), &self.shared.coherence) {
                (Some(session), _) => drop(self.shared.end(&session, EndReason::Logout)),
                (None, Some(coherence)) => coherence.bury(*id),
                (None, None) => {}
            }
        }
        self.forget(ids).await
    }
}
