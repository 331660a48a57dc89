//! Which certificate a client gets: the one for the host that it names, else the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::server::tls::Certificate;

/// Certificates by the names in them. An exact name wins over a wildcard, an earlier certificate over a later one.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(certificates: Vec<Certificate>) -> Self {
        let mut all = Self::default();
        for Certificate { key, names, .. } in certificates {
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut all.wildcard, parent.to_owned()),
                    None => (&mut all.exact, name),
                };
                map.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            all.first.get_or_insert(key);
        }
        all
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.exact.get(&name).or_else(|| self.wildcard.get(parent?))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.first.as_ref()).cloned()
    }
}
