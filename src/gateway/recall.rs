//! What a client connection remembers of its last cookie: keep-alive clients send the same bytes again and again.
//!
//! A hit is a comparison of bytes and a look at the session itself, which knows whether it has ended: nothing is verified or
//! looked up twice, and a revocation acts on the very next request all the same.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::base::clock::Timestamp;
use crate::base::secret::are_same;
use crate::session::{Activity, Caller, LiveSession, Managed, SessionManager};

/// The memory of one connection.
#[derive(Default)]
pub struct Recall(RefCell<Option<Remembered>>);

impl fmt::Debug for Recall {
    /// Without the cookie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recall")
    }
}

struct Remembered {
    field: HeaderValue,
    secure: bool,
    session: Arc<LiveSession>,
    /// The field as the upstream gets it; `None` when nothing but our cookie was in it.
    rest: Option<HeaderValue>,
}

impl Remembered {
    /// Whether `field` is the remembered one. A proxy may put several clients on one connection, so how long it takes must not
    /// tell one of them how much of another's cookie it has guessed.
    fn has(&self, field: &HeaderValue) -> bool {
        are_same(self.field.as_bytes(), field.as_bytes())
    }
}

/// What the Cookie field of a request becomes for its upstream.
#[derive(Clone)]
pub enum Withheld {
    /// Known by memory: this is left of the one field, or nothing.
    Known(Option<HeaderValue>),
    /// To be read.
    Unread,
}

impl Recall {
    /// As [`SessionManager::manage`], by memory where the request carries the one Cookie field of the last one.
    pub fn manage(
        &self,
        sessions: &SessionManager,
        headers: &HeaderMap,
        caller: Caller,
        activity: Activity,
        now: Timestamp,
    ) -> (Managed, Withheld) {
        if let (Some(remembered), Some(field)) = (&*self.0.borrow(), only_field(headers))
            && remembered.has(field)
            && remembered.secure == caller.secure
            && sessions.revisit(&remembered.session, activity, now)
        {
            let session = Some(Arc::clone(&remembered.session));
            return (Managed { session, ..Managed::default() }, Withheld::Known(remembered.rest.clone()));
        }
        let managed = sessions.manage(headers, caller, activity, now);
        // What is remembered must be the whole answer: one cookie of ours, nothing rejected, nothing to set.
        let plain = managed.set_cookie.is_none() && managed.rejected.is_none();
        let remembered = match (&managed.session, only_field(headers).and_then(copied)) {
            (Some(session), Some(field))
                if plain && sessions.cookies_of_ours(headers, caller.secure) == 1 =>
            {
                let mut rest = HeaderMap::with_capacity(1);
                rest.insert(COOKIE, field.clone());
                sessions.withhold_cookie(&mut rest);
                Some(Remembered {
                    field,
                    secure: caller.secure,
                    session: session.clone(),
                    rest: rest.remove(COOKIE),
                })
            }
            _ => None,
        };
        let withheld = match &remembered {
            Some(remembered) => Withheld::Known(remembered.rest.clone()),
            None => Withheld::Unread,
        };
        *self.0.borrow_mut() = remembered;
        (managed, withheld)
    }
}

impl fmt::Debug for Withheld {
    /// Without the cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withheld")
    }
}

impl Withheld {
    /// As [`SessionManager::withhold_cookie`], for the request that it was found for.
    pub fn apply(self, sessions: &SessionManager, headers: &mut HeaderMap) {
        match self {
            // Not where a client had its own field removed meanwhile.
            Self::Known(Some(rest)) => drop(headers.get_mut(COOKIE).map(|field| *field = rest)),
            Self::Known(None) => drop(headers.remove(COOKIE)),
            Self::Unread => sessions.withhold_cookie(headers),
        }
    }
}

/// The field in memory of its own: the one that came is a part of the connection's buffer, all of which it would keep.
fn copied(field: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(field.as_bytes()).ok()
}

/// The Cookie field when there is exactly one.
fn only_field(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut fields = headers.get_all(COOKIE).iter();
    match (fields.next(), fields.next()) {
        (only, None) => only,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_field_that_its_client_had_removed_does_not_come_back() {
        let sessions = crate::gateway::open_streams::tests::sessions();
        let rest = Withheld::Known(Some(HeaderValue::from_static("theme=dark")));
        let mut headers = HeaderMap::new();
        rest.clone().apply(&sessions, &mut headers);
        assert!(headers.is_empty());
        headers.insert(COOKIE, HeaderValue::from_static("fluidgate=secret; theme=dark"));
        rest.apply(&sessions, &mut headers);
        assert_eq!(headers[COOKIE], "theme=dark");
    }
}
