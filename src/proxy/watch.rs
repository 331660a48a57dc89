//! What the control thread does for upstreams: it asks whether they are well, and looks their names up again.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::proxy::balance;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::health::Health;
use crate::proxy::registry::Upstreams;

/// How often a name is looked up again. getaddrinfo, which follows the machine's own configuration, tells no TTL.
const LOOKUP_PERIOD: Duration = Duration::from_secs(30);

/// Watches `upstreams`, those that a reload brings included, until it is dropped. Call it on the control thread's local tasks.
pub async fn watch(upstreams: Arc<Upstreams>) {
    let mut tasks = JoinSet::new();
    let (mut asked, mut looked_up) = (Vec::<Weak<Health>>::new(), HashSet::new());
    loop {
        // By identity: a check that was taken out and comes back is another one, and nobody asks for it yet.
        asked.retain(|known| known.strong_count() > 0);
        for check in upstreams.checks() {
            let check = Arc::downgrade(&check);
            if !asked.iter().any(|known| known.ptr_eq(&check)) {
                asked.push(check.clone());
                tasks.spawn_local(ask_regularly(check));
            }
        }
        let named: Vec<_> =
            upstreams.endpoints().into_iter().filter(|e| e.address.dns_name().is_some()).collect();
        looked_up.retain(|known| named.iter().any(|endpoint| endpoint.id == *known));
        for endpoint in named {
            if looked_up.insert(endpoint.id) {
                tasks.spawn_local(look_up_regularly(Arc::downgrade(&endpoint)));
            }
        }
        upstreams.changed.notified().await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn ask_regularly(check: Weak<Health>) {
    let mut round = 0u64;
    while let Some(check) = check.upgrade() {
        let answer = check.ask().await;
        check.note(answer);
        let interval = check.settings.interval;
        // A tenth more or less, so that many checks do not fall together.
        let spread = balance::hash(&[check.endpoint().id.to_be_bytes(), round.to_be_bytes()].concat()) % 200;
        round += 1;
        drop(check);
        let pause = interval.mul_f64(0.9 + spread as f64 / 1000.0);
        tokio::time::sleep(pause).await;
    }
}

/// Publishes what the name stood for in the last two answers: one that tells a part of a large set each time must not make the
/// connections to the other parts go.
async fn look_up_regularly(endpoint: Weak<Endpoint>) {
    let mut before: Option<Vec<SocketAddr>> = None;
    while let Some(known) = endpoint.upgrade() {
        let (lookup, retired) = (known.lookup.clone(), known.is_retired());
        drop(known);
        if retired {
            // Something still goes on there, and a reload may bring it back.
            tokio::time::sleep(LOOKUP_PERIOD).await;
            continue;
        }
        let Some(lookup) = lookup else { return };
        match lookup.addresses().await {
            Ok(mut found) => {
                found.sort_unstable();
                let known = before.replace(found.clone());
                if let Some(endpoint) = endpoint.upgrade() {
                    publish(&endpoint, found, known);
                }
            }
            // Old addresses that work are better than none.
            Err(error) => tracing::debug!(?lookup, %error, "cannot look an upstream's name up again"),
        }
        tokio::time::sleep(LOOKUP_PERIOD).await;
    }
}

pub(super) fn publish(endpoint: &Endpoint, found: Vec<SocketAddr>, before: Option<Vec<SocketAddr>>) {
    let mut addresses = found;
    addresses.extend(before.into_iter().flatten());
    addresses.sort_unstable();
    addresses.dedup();
    let same = endpoint.addresses.load().as_ref().is_some_and(|known| **known == addresses);
    if !same && !addresses.is_empty() {
        endpoint.moved_to(addresses);
    }
}
