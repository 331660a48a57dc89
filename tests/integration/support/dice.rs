//! Chance that can be had again: whoever rolls says the seed, and `FLUIDGATE_SEED` gives it back.
//!
//! By default the seed is a fixed one, so that a test says the same every time; `FLUIDGATE_SEED=random` takes another one, and
//! `FLUIDGATE_MUTATIONS` says how many mutations are made instead of the few that a test makes by itself (`scripts/mutations`).

/// SplitMix64: small, and good enough to choose from lists.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// By `FLUIDGATE_SEED`, or `usual`.
    pub fn new(usual: u64) -> Self {
        let seed = match std::env::var("FLUIDGATE_SEED").as_deref() {
            Ok("random") => std::process::id().into(),
            Ok(given) => given.parse().expect("FLUIDGATE_SEED is a number, or `random`"),
            Err(_) => usual,
        };
        Self { seed, state: seed }
    }

    /// Those of one mutation, whatever the others have rolled.
    pub fn of(seed: u64, number: usize) -> Self {
        let mut dice = Self { seed, state: seed.rotate_left(32) ^ number as u64 };
        dice.roll();
        dice
    }

    /// What makes the same rolls again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of a list.
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// The list in another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place + 1));
        }
    }
}

/// How many mutations to make: `FLUIDGATE_MUTATIONS`, or `usual`.
pub fn mutations(usual: usize) -> usize {
    std::env::var("FLUIDGATE_MUTATIONS").map_or(usual, |given| given.parse().expect("a number"))
}
