//! The upstreams of one route, and which of them takes a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;

use crate::base::clock::Timestamp;
use crate::proxy::balance::{self, Candidate};
use crate::proxy::budget::Budget;
use crate::proxy::endpoint::{Endpoint, Membership};
use crate::proxy::health::Health;
use crate::proxy::settings::{Balance, Ejection, GroupSettings, Limits, MAX_MEMBERS, MemberSettings};

/// The upstreams of one route: part of a snapshot, over endpoints that outlive it.
#[derive(Debug)]
pub struct UpstreamGroup {
    members: Box<[Member]>,
    balance: Balance,
    ejection: Option<Ejection>,
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    /// Counts the choices made, so that equals take turns.
    turns: AtomicUsize,
}

/// One upstream in a group.
#[derive(Debug)]
pub(super) struct Member {
    membership: Membership,
    health: Option<Arc<Health>>,
    weight: u32,
    drain: bool,
    /// Of its address: the same in every process, so that a hash leads to the same member after a restart.
    seed: u64,
}

impl Member {
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.membership.endpoint()
    }

    /// Whether it is thought to be able to answer at `now`.
    fn is_well(&self, now: Timestamp) -> bool {
        self.health.as_ref().is_none_or(|health| health.is_healthy()) && !self.endpoint().is_ejected(now)
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
    pub(super) fn new(
        settings: &GroupSettings,
        mut join: impl FnMut(&MemberSettings) -> (Membership, Option<Arc<Health>>),
    ) -> Self {
        let members = settings.members.iter().take(MAX_MEMBERS).map(|member| {
            let (membership, health) = join(member);
            let seed = balance::hash(member.address.to_string().as_bytes());
            Member { membership, health, weight: member.weight.max(1), drain: member.drain, seed }
        });
        Self {
            members: members.collect(),
            balance: settings.balance.clone(),
            ejection: settings.ejection,
            limits: settings.limits,
            budget: Budget::default(),
            turns: AtomicUsize::new(0),
        }
    }

    /// Whether a request that failed at one member could go to another.
    pub(super) fn has_alternatives(&self) -> bool {
        self.members.len() > 1
    }

    /// The member for a request with `headers`, and its index: one that is not in `tried`. `None` when there is no such.
    ///
    /// When none of those left is thought to be well, one is tried all the same, as nginx does: a health check may be wrong where
    /// a request would have succeeded, a failed attempt says what is the matter where an invented 503 would not, and whoever
    /// comes back is in use at once.
    pub(super) fn pick(&self, headers: &HeaderMap, tried: Tried, now: Timestamp) -> Option<(usize, &Member)> {
        if let [only] = &*self.members {
            return (!tried.contains(0) && !only.drain).then_some((0, only));
        }
        // One turn for a request, however often it is tried: else whoever fails would be first in turn each time.
        let turn = match tried {
            Tried(0) => self.turns.fetch_add(1, Ordering::Relaxed),
            _ => self.turns.load(Ordering::Relaxed),
        };
        let among = |well_only: bool| {
            let usable = move |index: usize, member: &Member| {
                !member.drain && !tried.contains(index) && (!well_only || member.is_well(now))
            };
            let candidates = move || {
                let usable = self.members.iter().enumerate().filter(move |(i, member)| usable(*i, member));
                usable.map(|(index, member)| Candidate {
                    index,
                    weight: member.weight,
                    busy: member.endpoint().in_flight.load(Ordering::Relaxed),
                    seed: member.seed,
                })
            };
            balance::choose(&self.balance, headers, turn, candidates)
        };
        let chosen = among(true).or_else(|| among(false))?;
        self.members.get(chosen).map(|member| (chosen, member))
    }

    /// Whether there is a member that takes requests and is not in `tried`.
    pub(super) fn has_another(&self, tried: Tried) -> bool {
        self.members.iter().enumerate().any(|(index, member)| !member.drain && !tried.contains(index))
    }

    /// A request failed at `member`.
    pub(super) fn note_failure(&self, member: &Member, now: Timestamp) {
        let others = || self.members.iter().filter(|other| !std::ptr::eq(*other, member));
        let last = || !others().any(|other| !other.drain && other.is_well(now));
        member.endpoint().note_failure(now, self.ejection, last);
    }
}
