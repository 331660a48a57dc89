//! What must hold of anything a Redis server says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use super::{RedisAddress, reading, wire};
use crate::session::id::StoredId;

/// Any bytes from the server, as an answer to each question and as an invalidation: an answer speaks of the sessions that were asked
/// for, or it is none.
pub(in crate::session) fn answers(data: &[u8]) {
    let _ = (wire::record_of(data), wire::id_of(data));
    let ids = [StoredId::from_bytes([1; 32]), StoredId::from_bytes([2; 32])];
    let Ok(answer) = ::redis::parse_redis_value(data) else { return };
    for asked in 0..=ids.len() {
        let ids = ids.get(..asked).unwrap();
        if let Some(found) = reading::found(answer.clone(), ids) {
            assert!(found.iter().map(|(id, _)| id).eq(ids));
        }
        if let Some(outcomes) = wire::outcomes(&answer, asked) {
            assert_eq!(outcomes.len(), asked);
        }
    }
    let _ = (reading::page(answer.clone()), reading::moment(&answer), reading::id_of(&answer));
}

/// Any text as the address of a server: neither what is shown of it nor its problem has the password in it.
pub(in crate::session) fn address(data: &[u8]) {
    const PASSWORD: &str = "hunter2hunter2";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = text.replacen("//", &format!("//:{PASSWORD}@"), 1);
    match RedisAddress::parse(&text) {
        // The path of a socket is no place for a password, and is shown as it is; what stands twice may be a part of the host.
        Ok(address) if address.to_string().starts_with("redis://") && text.matches(PASSWORD).count() == 1 => {
            assert!(!format!("{address}{address:?}").contains(PASSWORD), "{text}");
        }
        Ok(_) => {}
        Err(problem) => assert!(!problem.to_string().contains(PASSWORD)),
    }
}
