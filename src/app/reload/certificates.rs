//! Certificates replaced while connections go on: whoever renews them writes the files, and needs to tell nobody.

use std::sync::Arc;

use super::{FileMark, SETTLED, is_news, may_pass};
use crate::base::clock::Timestamp;
use crate::server::tls::{Settings, Tls, TlsError};

/// The certificates in force, and what their files were when they were last read.
pub(in crate::app) struct Certificates {
    tls: Arc<Tls>,
    settings: Settings,
    seen: Vec<Option<FileMark>>,
    /// The log has said that the system would not let them be read.
    unread: bool,
}

impl Certificates {
    /// Reads what `settings` name.
    ///
    /// # Errors
    /// With the first file that cannot be used.
    pub(in crate::app) fn load(settings: &Settings, now: Timestamp) -> Result<Self, TlsError> {
        // Before the reading: a change in between is found by the next look.
        let seen = marks(settings);
        Ok(Self { tls: Tls::load(settings, now)?, settings: settings.clone(), seen, unread: false })
    }

    /// What handshakes go by.
    pub(in crate::app) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Reads the files again if they are others than last time.
    pub(super) async fn look(&mut self, now: Timestamp) {
        let found = marks(&self.settings);
        if found == self.seen {
            return;
        }
        // A certificate and its key are two files: they are read once both are there, and no one is in the middle of writing.
        tokio::time::sleep(SETTLED).await;
        if marks(&self.settings) == found {
            self.read(now);
        }
    }

    /// Reads everything again, as `settings` have it now. False when it was refused; the log says why.
    pub(super) fn take(&mut self, settings: &Settings, now: Timestamp) -> bool {
        self.settings = settings.clone();
        self.read(now)
    }

    fn read(&mut self, now: Timestamp) -> bool {
        self.seen = marks(&self.settings);
        match self.tls.reload(&self.settings, now) {
            Ok(()) => {
                self.unread = false;
                let until = self.tls.status().certificates().iter().map(|c| c.not_after).min();
                let until = until.map(|until| until.to_string()).unwrap_or_default();
                tracing::info!(valid_until = until, "the certificates are reloaded");
                true
            }
            Err(error) => {
                let unread = matches!(&error, TlsError::Unread { source, .. } if may_pass(source));
                if unread {
                    self.seen = Vec::new();
                }
                if is_news(&mut self.unread, unread) {
                    tracing::error!(%error, "the new certificates are refused; the old ones stay");
                }
                false
            }
        }
    }
}

fn marks(settings: &Settings) -> Vec<Option<FileMark>> {
    settings.files().map(FileMark::of).collect()
}
