//! Counts, and shows where.

use std::collections::BTreeMap;
use std::fmt;

use dhat::{HeapStats, Profiler};
use serde_json::Value;

/// Requests that are counted together. What is left to do after one falls into the next one's time, as it does before the first.
const BATCH: u64 = 10;
const BATCHES: usize = 100;
/// Frames that are looked at for those of interest, and how many of these are shown.
const DEPTH: usize = 40;
const SHOWN: usize = 4;
/// Files of the standard library, as far as their paths are told: what calls them is the place.
const LIBRARY: &[&str] = &[
    "???",
    "alloc/",
    "core/",
    "std/",
    "iter/",
    "dhat-",
    "hashbrown-",
    "tests/allocations",
    "src/alloc",
    "src/boxed",
    "src/fmt",
    "src/iter",
    "src/ops",
    "src/raw_vec",
    "src/slice",
    "src/str",
    "src/string",
    "src/sync",
    "src/vec",
];

/// How often a batch of requests asks for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u64);

impl Cost {
    pub fn of_each(request: u64) -> Self {
        Self(request * BATCH)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / BATCH, self.0 % BATCH) {
            (each, 0) => write!(f, "{each}"),
            (each, over) => write!(f, "{each} and {over}/{BATCH}"),
        }
    }
}

/// What most batches of requests cost, each made by `ask`, and how many batches these were.
pub fn most_frequent(ask: &mut dyn FnMut()) -> (Cost, usize) {
    // Connections are opened and buffers grown.
    (0..5 * BATCH).for_each(|_| ask());
    let _counting = Profiler::builder().testing().build();
    let mut seen = BTreeMap::<Cost, usize>::new();
    for _ in 0..BATCHES {
        let before = HeapStats::get().total_blocks;
        (0..BATCH).for_each(|_| ask());
        *seen.entry(Cost(HeapStats::get().total_blocks - before)).or_default() += 1;
    }
    seen.into_iter().max_by_key(|(_, batches)| *batches).unwrap()
}

/// Whether somebody wants to know where memory is asked for.
pub fn asked_for_sites() -> bool {
    std::env::var_os("ALLOCATION_SITES").is_some()
}

/// Where a batch asks for memory, when somebody wants to know.
pub fn print_sites(ask: &mut dyn FnMut()) {
    if asked_for_sites() {
        let blocks = told_of("tbk", || (0..BATCH).for_each(|_| ask()));
        print(blocks.map(|(site, count)| (site, Cost(count).to_string())));
    }
}

/// Where memory that `run` asks for is still in use at its end, in bytes.
pub fn print_kept(run: impl FnOnce()) {
    print(told_of("eb", run).map(|(site, bytes)| (site, bytes.to_string())));
}

fn print(sites: impl Iterator<Item = (String, String)>) {
    for (site, count) in sites {
        println!("  {count:>6} {site}");
    }
}

/// The places where `run` asks for memory, and the sum of what is told of each under `key`; the largest first.
fn told_of(key: &str, run: impl FnOnce()) -> impl Iterator<Item = (String, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heap.json");
    let counting = Profiler::builder().file_name(&file).trim_backtraces(Some(DEPTH)).build();
    run();
    drop(counting);
    let told: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut sites = BTreeMap::<String, u64>::new();
    for site in told["pps"].as_array().unwrap() {
        *sites.entry(frames(site, &told["ftbl"])).or_default() += site[key].as_u64().unwrap();
    }
    let mut sites: Vec<_> = sites.into_iter().filter(|(_, sum)| *sum > 0).collect();
    sites.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    sites.into_iter()
}

/// The innermost frames of interest. Each stands in the table as `0x…: function (file:line:column)`.
fn frames(site: &Value, table: &Value) -> String {
    let all = site["fs"].as_array().unwrap().iter();
    let all = all.map(|frame| table[usize::try_from(frame.as_u64().unwrap()).unwrap()].as_str().unwrap());
    let all = all.map(|frame| frame.split_once(": ").map_or(frame, |(_, rest)| rest));
    let of_library = |frame: &&str| {
        let file = frame.rsplit_once(" (").map_or("", |(_, file)| file);
        LIBRARY.iter().any(|library| file.starts_with(library))
    };
    let told: Vec<_> = all.filter(|frame| !of_library(frame)).take(SHOWN).collect();
    told.join("\n           < ")
}
