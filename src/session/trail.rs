//! What becomes of sessions, told to the audit log (S39). A session is named by a short digest under a key of its own: enough to
//! follow one through the log, nothing that opens it or names it in the store. The token is not known here.

use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::observe::audit::{AuditLog, Event, ShortDigest};
use crate::session::counters::{EndReason, Rejection};
use crate::session::id::StoredId;
use crate::session::live::LiveSession;
use crate::session::record::Record;

/// The way to the audit log. Handing an event over never waits.
pub(crate) struct Trail {
    log: Arc<AuditLog>,
    key: Hmac<Sha256>,
    clock: Arc<dyn Clock>,
}

impl Trail {
    /// A trail into `log`; the key of the digests is derived from `secret`, the one that signs, so they change when it does.
    pub(crate) fn new(log: Arc<AuditLog>, secret: &Secret, clock: Arc<dyn Clock>) -> Self {
        Self { log, key: secret.mac_for(b"fluidgate audit digest v1\0"), clock }
    }

    pub(crate) fn created(&self, id: &StoredId, record: &Record) {
        let event = self.event("session_created").of(self.digest(id)).user(&record.user);
        self.log.note(Event { client: record.origin.address, ..event });
    }

    /// The cookie was issued again under a newer key. Limited: a client that ignores the new one can ask as often as it likes.
    pub(crate) fn renewed(&self, session: &LiveSession) {
        self.log.note_limited(self.about("session_renewed", session));
    }

    /// Activity was written to the store.
    pub(crate) fn extended(&self, session: &LiveSession) {
        self.log.note(self.about("session_extended", session));
    }

    pub(crate) fn ended(&self, session: &LiveSession, reason: EndReason) {
        self.log.note(Event { reason: Some(reason.code()), ..self.about("session_ended", session) });
    }

    /// Limited: anybody can cause it.
    pub(crate) fn rejected(&self, rejection: Rejection, id: Option<&StoredId>, client: Option<IpAddr>) {
        let session = id.map(|id| self.digest(id));
        let event = self.event("session_rejected");
        self.log.note_limited(Event { reason: Some(rejection.code()), session, client, ..event });
    }

    fn about(&self, name: &'static str, session: &LiveSession) -> Event {
        self.event(name).of(self.digest(session.id_ref())).user(session.user())
    }

    fn event(&self, name: &'static str) -> Event {
        Event::new(self.clock.now(), name)
    }

    fn digest(&self, id: &StoredId) -> ShortDigest {
        let [a, b, c, d, e, f, ..]: [u8; 32] =
            self.key.clone().chain_update(id.as_bytes()).finalize().into_bytes().into();
        ShortDigest([a, b, c, d, e, f])
    }
}
