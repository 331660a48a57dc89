//! What is to be known from outside about the certificates served: for metrics and warnings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::base::clock::Timestamp;
use crate::server::tls::Certificate;

/// How reloading went so far, and what is served now.
#[derive(Debug)]
pub struct TlsStatus {
    last_reload_ok: AtomicBool,
    reloads: AtomicU64,
    failures: AtomicU64,
    certificates: ArcSwap<Vec<CertificateStatus>>,
}

/// One certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Its file.
    pub path: PathBuf,
    /// When it ends.
    pub not_after: Timestamp,
}

impl TlsStatus {
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        Self {
            last_reload_ok: AtomicBool::new(true),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            certificates: ArcSwap::from_pointee(list(certificates)),
        }
    }

    /// Whether the last reload could be used; true when there was none.
    pub fn last_reload_ok(&self) -> bool {
        self.last_reload_ok.load(Ordering::Relaxed)
    }

    /// How many reloads could be used.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How many could not.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What is served, in the order of the configuration.
    pub fn certificates(&self) -> Arc<Vec<CertificateStatus>> {
        self.certificates.load_full()
    }

    pub(super) fn reloaded(&self, ok: bool) {
        self.last_reload_ok.store(ok, Ordering::Relaxed);
        let counter = if ok { &self.reloads } else { &self.failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn serves(&self, certificates: Vec<CertificateStatus>) {
        self.certificates.store(Arc::new(certificates));
    }
}

pub(super) fn list(certificates: &[Certificate]) -> Vec<CertificateStatus> {
    let one = |c: &Certificate| CertificateStatus { path: c.path.clone(), not_after: c.not_after };
    certificates.iter().map(one).collect()
}
