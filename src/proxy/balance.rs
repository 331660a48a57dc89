//! Which of several members takes a request. Pure: candidates in, an index out; a walk or three over the members, no memory.

use http::HeaderMap;

use crate::proxy::settings::Balance;
use crate::web::cookie;

/// A member that may take the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place in the group.
    pub(super) index: usize,
    /// Its share of the work, at least 1.
    pub(super) weight: u32,
    /// Its requests in flight.
    pub(super) busy: usize,
    /// See [`Member::seed`](super::group::Member).
    pub(super) seed: u64,
}

/// The index of the member for a request with `headers`. `turn` differs from request to request.
pub(super) fn choose<I: Iterator<Item = Candidate> + Clone>(
    balance: &Balance,
    headers: &HeaderMap,
    turn: usize,
    candidates: impl Fn() -> I,
) -> Option<usize> {
    // Other workers count up and down between two walks, which may leave a walk without the member that an earlier one promised.
    by_rule(balance, headers, turn, &candidates).or_else(|| candidates().next().map(|c| c.index))
}

fn by_rule<I: Iterator<Item = Candidate> + Clone>(
    balance: &Balance,
    headers: &HeaderMap,
    turn: usize,
    candidates: impl Fn() -> I,
) -> Option<usize> {
    let key = match balance {
        Balance::RoundRobin => return in_turn(turn, candidates()),
        Balance::RandomTwo => return less_busy_of_two(turn, candidates),
        Balance::LeastRequests => None,
        Balance::HashCookie(name) => cookie::values(headers, name.as_bytes()).next(),
        Balance::HashHeader(name) => headers.get(name).map(http::HeaderValue::as_bytes),
    };
    match key {
        Some(key) => by_hash(hash(key), candidates()),
        // Without the cookie or field there is nothing to be faithful to.
        None => least_busy(turn, candidates),
    }
}

/// The least busy for its weight; equals take turns by weight.
fn least_busy<I: Iterator<Item = Candidate> + Clone>(
    turn: usize,
    candidates: impl Fn() -> I,
) -> Option<usize> {
    let least = candidates().reduce(|least, c| if busier(least, c) { c } else { least })?;
    in_turn(turn, candidates().filter(|c| !busier(*c, least)))
}

/// Whether `a` has more requests in flight than `b`, each measured by its weight.
fn busier(a: Candidate, b: Candidate) -> bool {
    (a.busy as u128) * u128::from(b.weight) > (b.busy as u128) * u128::from(a.weight)
}

/// Each in its turn, as often as its weight says.
fn in_turn(turn: usize, candidates: impl Iterator<Item = Candidate> + Clone) -> Option<usize> {
    let total = candidates.clone().map(|c| u64::from(c.weight)).sum::<u64>();
    at((turn as u64).checked_rem(total)?, candidates)
}

/// The candidate that `place` falls to when each takes up its weight.
fn at(mut place: u64, mut candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
    let found = candidates.find(|c| {
        let here = place < u64::from(c.weight);
        place = place.saturating_sub(u64::from(c.weight));
        here
    });
    found.map(|c| c.index)
}

/// Two different ones taken at random by weight; the less busy of them.
fn less_busy_of_two<I: Iterator<Item = Candidate>>(turn: usize, candidates: impl Fn() -> I) -> Option<usize> {
    let random = mix(turn as u64);
    let pick = |random: u64, except: Option<usize>| {
        let rest = || candidates().filter(move |c| Some(c.index) != except);
        let total = rest().map(|c| u64::from(c.weight)).sum::<u64>();
        let index = at(random.checked_rem(total)?, rest())?;
        rest().find(|c| c.index == index)
    };
    let first = pick(random, None)?;
    let second = pick(mix(random), Some(first.index));
    Some(second.filter(|second| busier(first, *second)).unwrap_or(first).index)
}

/// Weighted rendezvous hashing: each candidate scores, the highest wins; one that comes or goes moves only its own share.
fn by_hash(key: u64, candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
    let score = |c: Candidate| {
        // The top 53 bits as a number above 0 and below 1; its negative logarithm divides the weight.
        let unit = ((mix(key ^ c.seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        f64::from(c.weight) / -unit.ln()
    };
    let scored = candidates.map(|c| (score(c), c.index));
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, index)| index)
}

/// FNV-1a, mixed. Nothing secret or hostile hangs on it: a client that chooses its key chooses its own member only.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finisher of SplitMix64: neighbours in, strangers out.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
