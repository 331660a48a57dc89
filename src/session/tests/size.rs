//! What a session costs in memory (S37).

use std::time::Duration;

use super::rig::*;
use crate::base::clock::Timestamp;
use crate::session::record::{Origin, Record};
use crate::session::shared::Shared;
use crate::session::{StoreSettings, StoredId};

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[ignore = "wants a process of its own: cargo test --lib session::tests::size -- --ignored"]
fn a_million_sessions_take_at_most_200_bytes_each() {
    const SESSIONS: u64 = 1_000_000;
    let shared = Shared::new(&settings(StoreSettings::Memory), Timestamp::default(), None);
    let limits = shared.limits;
    let before = resident_bytes();
    let started = std::time::Instant::now();
    for n in 0..SESSIONS {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let created_at = START + Duration::from_millis(n);
        let user = format!("user{}", n % 10_000);
        let record = Record {
            user: user.as_str().into(),
            method: crate::base::identity::LoginMethod::Password,
            credential: [1; 16],
            created_at,
            last_seen_at: created_at,
            absolute_at: limits.absolute_at(created_at),
            origin: Origin::default(),
        };
        shared.enter_quietly(StoredId::from_bytes(bytes), &record, || Some(subject(&user)));
    }
    let each = (resident_bytes() - before) / usize::try_from(SESSIONS).unwrap();
    println!("{each} bytes per session, filled in {:?}", started.elapsed());
    assert_eq!(shared.table.len(), usize::try_from(SESSIONS).unwrap());
    assert!(each <= 200, "{each} bytes per session");
}
