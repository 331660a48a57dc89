//! What can go wrong below a gateway, at will: its store, its clock and its source of randomness.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluidgate::base::clock::{Clock, ManualClock, Timestamp};
use fluidgate::base::secret::{Random, RandomError, SystemRandom};
use fluidgate::session::StoredId;
use fluidgate::session::record::Record;
use fluidgate::session::store::{Change, Loaded, MemoryStore, Outcome, SessionStore, StoreError};

/// What the store does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Store {
    #[default]
    Well,
    /// Nothing is written.
    Refuses,
    /// All is written, and the answer is a failure.
    WritesAndFails,
    /// Nothing is read, nor opened again.
    Unreadable,
    /// Everything panics.
    Panics,
}

/// What the clock shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Time {
    #[default]
    Well,
    /// Ten years on.
    FarAhead,
    /// Ten years back.
    FarBehind,
    /// 1970.
    Epoch,
    /// The last moment there is.
    LastMoment,
    /// Every look at it panics.
    Panics,
}

/// What the source of randomness does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Chance {
    #[default]
    Well,
    Fails,
    Panics,
}

pub const STORES: [Store; 5] =
    [Store::Well, Store::Refuses, Store::WritesAndFails, Store::Unreadable, Store::Panics];
pub const TIMES: [Time; 6] =
    [Time::Well, Time::FarAhead, Time::FarBehind, Time::Epoch, Time::LastMoment, Time::Panics];
pub const CHANCES: [Chance; 3] = [Chance::Well, Chance::Fails, Chance::Panics];

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What goes wrong at the moment. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: AtomicU8,
    time: AtomicU8,
    chance: AtomicU8,
    /// Looks at the clock until one panics; `usize::MAX` and around it for never.
    looks: AtomicUsize,
    counting: AtomicBool,
    /// Looks at the clock that panicked.
    panics: AtomicUsize,
    /// The records are of another version at the next load.
    undecodable: AtomicBool,
    records: Mutex<MemoryStore>,
}

impl Faults {
    pub fn set(&self, store: Store, time: Time, chance: Chance) {
        self.0.store.store(store as u8, Ordering::SeqCst);
        self.0.time.store(time as u8, Ordering::SeqCst);
        self.0.chance.store(chance as u8, Ordering::SeqCst);
        self.0.counting.store(false, Ordering::SeqCst);
    }

    /// The look at the clock behind `looks` others panics, once.
    pub fn panic_at_look(&self, looks: usize) {
        self.0.looks.store(looks, Ordering::SeqCst);
        self.0.counting.store(true, Ordering::SeqCst);
    }

    /// Whether that look was taken.
    pub fn has_panicked(&self) -> bool {
        !self.0.counting.load(Ordering::SeqCst)
    }

    /// How many looks at the clock have panicked.
    pub fn panics(&self) -> usize {
        self.0.panics.load(Ordering::SeqCst)
    }

    /// The next gateway over the store finds records that it cannot read.
    pub fn damage_records(&self) {
        self.0.undecodable.store(true, Ordering::SeqCst);
    }

    pub fn store(&self) -> FaultyStore {
        FaultyStore(self.clone())
    }

    pub fn clock(&self, clock: ManualClock) -> FaultyClock {
        FaultyClock(self.clone(), clock)
    }

    pub fn random(&self) -> FaultyRandom {
        FaultyRandom(self.clone())
    }
}

pub struct FaultyStore(Faults);

impl FaultyStore {
    fn now(&self) -> Store {
        let now = STORES[usize::from(self.0.0.store.load(Ordering::SeqCst))];
        assert_ne!(now, Store::Panics, "the store panics");
        now
    }

    fn reading(&self) -> Result<std::sync::MutexGuard<'_, MemoryStore>, StoreError> {
        match self.now() {
            Store::Unreadable => Err(StoreError::Failed("cannot read".into())),
            _ => Ok(self.0.0.records.lock().unwrap()),
        }
    }
}

impl SessionStore for FaultyStore {
    fn load(&mut self, each: &mut dyn FnMut(StoredId, Record)) -> Result<Loaded, StoreError> {
        let mut records = self.reading()?;
        if !self.0.0.undecodable.swap(false, Ordering::SeqCst) {
            return records.load(each);
        }
        let loaded = records.load(&mut |_, _| {})?;
        *records = MemoryStore::default();
        Ok(Loaded { records: 0, quarantined: loaded.records, dropped: None })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let failed = || StoreError::Failed("cannot write".into());
        match self.now() {
            Store::Well | Store::Unreadable => self.0.0.records.lock().unwrap().commit(changes),
            Store::WritesAndFails => {
                self.0.0.records.lock().unwrap().commit(changes)?;
                Err(failed())
            }
            Store::Refuses | Store::Panics => Err(failed()),
        }
    }

    fn read(&mut self, id: &StoredId) -> Result<Option<Record>, StoreError> {
        self.reading()?.read(id)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        match self.now() {
            Store::Well => Ok(()),
            _ => Err(StoreError::Failed("cannot open".into())),
        }
    }

    fn set_not_before(&mut self, moment: Timestamp) -> Result<(), StoreError> {
        self.reading()?.set_not_before(moment)
    }

    fn not_before(&self) -> Timestamp {
        self.0.0.records.lock().unwrap().not_before()
    }
}

pub struct FaultyClock(Faults, ManualClock);

impl Clock for FaultyClock {
    fn now(&self) -> Timestamp {
        let faults = &self.0.0;
        // The sweeper and its kin look too, whenever they like: only the threads that serve requests count.
        let serves = std::thread::current().name().is_some_and(|name| name.starts_with("fluidgate-"));
        if serves
            && faults.counting.load(Ordering::SeqCst)
            && faults.looks.fetch_sub(1, Ordering::SeqCst) == 0
        {
            faults.counting.store(false, Ordering::SeqCst);
            panic!("the clock panics at this look");
        }
        let now = self.1.now();
        match TIMES[usize::from(faults.time.load(Ordering::SeqCst))] {
            Time::Well => now,
            Time::FarAhead => now + TEN_YEARS,
            Time::FarBehind => now.before(TEN_YEARS),
            Time::Epoch => Timestamp::default(),
            Time::LastMoment => Timestamp::from_millis(u64::MAX),
            Time::Panics if serves => {
                faults.panics.fetch_add(1, Ordering::SeqCst);
                panic!("the clock panics")
            }
            Time::Panics => now,
        }
    }
}

pub struct FaultyRandom(Faults);

impl Random for FaultyRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        match CHANCES[usize::from(self.0.0.chance.load(Ordering::SeqCst))] {
            Chance::Well => SystemRandom.fill(bytes),
            Chance::Fails => Err(RandomError::new("it answers nothing")),
            Chance::Panics => panic!("the randomness panics"),
        }
    }
}
