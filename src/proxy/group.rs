//! The upstreams of one route, and which of them takes a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;

use crate::proxy::balance::{self, Candidate};
use crate::proxy::endpoint::{Endpoint, Membership};
use crate::proxy::settings::{Balance, GroupSettings, Limits, MAX_MEMBERS, MemberSettings};

/// The upstreams of one route: part of a snapshot, over endpoints that outlive it.
#[derive(Debug)]
pub struct UpstreamGroup {
    members: Box<[Member]>,
    balance: Balance,
    pub(super) retries: u32,
    pub(super) limits: Limits,
    /// Counts the choices made, so that equals take turns.
    turns: AtomicUsize,
}

/// One upstream in a group.
#[derive(Debug)]
pub(super) struct Member {
    membership: Membership,
    pub(super) weight: u32,
    pub(super) drain: bool,
    /// Of its address: the same in every process, so that a hash leads to the same member after a restart.
    pub(super) seed: u64,
}

impl Member {
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.membership.endpoint()
    }
}

/// The members a request has been tried on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried(u128);

impl Tried {
    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= 1 << (index % MAX_MEMBERS);
    }

    fn contains(self, index: usize) -> bool {
        self.0 & (1 << (index % MAX_MEMBERS)) != 0
    }
}

impl UpstreamGroup {
    pub(super) fn new(settings: &GroupSettings, mut join: impl FnMut(&MemberSettings) -> Membership) -> Self {
        let members = settings.members.iter().take(MAX_MEMBERS).map(|member| Member {
            membership: join(member),
            weight: member.weight.max(1),
            drain: member.drain,
            seed: balance::hash(member.address.to_string().as_bytes()),
        });
        Self {
            members: members.collect(),
            balance: settings.balance.clone(),
            retries: settings.retries,
            limits: settings.limits,
            turns: AtomicUsize::new(0),
        }
    }

    /// The member for a request with `headers`, and its index: one that is not in `tried`. `None` when there is no such.
    pub(super) fn pick(&self, headers: &HeaderMap, tried: Tried) -> Option<(usize, &Member)> {
        if let [only] = &*self.members {
            return (!tried.contains(0)).then_some((0, only));
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let usable = |index: usize, member: &Member| !member.drain && !tried.contains(index);
        let candidates = || {
            let usable =
                self.members.iter().enumerate().filter(move |(index, member)| usable(*index, member));
            usable.map(|(index, member)| Candidate {
                index,
                weight: member.weight,
                busy: member.endpoint().in_flight.load(Ordering::Relaxed),
                seed: member.seed,
            })
        };
        let chosen = balance::choose(&self.balance, headers, turn, candidates)?;
        self.members.get(chosen).map(|member| (chosen, member))
    }
}
