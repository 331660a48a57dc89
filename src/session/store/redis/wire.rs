//! What is said to the server: keys, values, scripts.
//!
//! A session is one string under `fluidgate:session:<stored id in hexadecimal>`: last activity and absolute limit (u64
//! big-endian milliseconds each), then the record as every store keeps it. The two numbers stand in front so that a script
//! can move the one and keep the other whatever version the record has. There is no index: expiry is the server's own, and
//! by user the table looks, which holds every session. `fluidgate:not_before` is decimal milliseconds.

use std::time::Duration;

use data_encoding::HEXLOWER;
use redis::{Cmd, Value};

use crate::base::clock::Timestamp;
use crate::session::id::StoredId;
use crate::session::record::Record;
use crate::session::store::{Change, Outcome};

/// Everything of ours starts with this; the server reports every change below it.
pub(super) const PREFIX: &str = "fluidgate:";
const SESSIONS: &str = "fluidgate:session:";
/// Sessions that began at or before the moment under this key are over.
pub(super) const NOT_BEFORE: &str = "fluidgate:not_before";
const HEADER: usize = 16;

/// The changes of one commit. The server runs a script alone and whole: all or none. KEYS: one per change. ARGV: the span a
/// session stays after its last activity and our present moment, then per change `c`, `t` or `d` and its data.
const COMMIT: &str = r"
local keep, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local function number(text, at)
  local n = 0
  for i = at, at + 7 do n = n * 256 + string.byte(text, i) end
  return n
end
local function span(seen, absolute)
  return string.format('%.0f', math.max(1, math.min(seen + keep, absolute, now + 1e12) - now))
end
local done = {}
for i, key in ipairs(KEYS) do
  local verb, data, made = ARGV[2 * i + 1], ARGV[2 * i + 2], false
  if verb == 'c' then
    made = redis.call('SET', key, data, 'NX', 'PX', span(number(data, 1), number(data, 9)))
  elseif verb == 't' then
    local head = redis.call('GETRANGE', key, 0, 15)
    made = #head == 16
    if made and number(data, 1) > number(head, 1) then
      redis.call('SETRANGE', key, 0, data)
      redis.call('PEXPIRE', key, span(number(data, 1), number(head, 9)))
    end
  else
    made = redis.call('DEL', key) == 1
  end
  done[i] = made and 1 or 0
end
return done
";

/// Moves the moment forward only.
const RAISE: &str = r"
local old = redis.call('GET', KEYS[1])
if not old or tonumber(ARGV[1]) > tonumber(old) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
";

/// Subscribes this connection to every change below [`PREFIX`], our own included: the server cannot tell whose a script is.
pub(super) fn track() -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(PREFIX);
    command
}

/// The commit of `changes` at `now`; sessions leave by themselves `keep` after their last activity.
pub(super) fn commit(changes: &[Change], keep: Duration, now: Timestamp) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(COMMIT).arg(changes.len());
    for change in changes {
        let (Change::Create(id, _) | Change::Touch(id, _) | Change::Delete(id)) = change;
        command.arg(key(id));
    }
    command.arg(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)).arg(now.as_millis());
    for change in changes {
        match change {
            Change::Create(_, record) => command.arg("c").arg(value(record)),
            Change::Touch(_, moment) => command.arg("t").arg(moment.as_millis().to_be_bytes().as_slice()),
            Change::Delete(_) => command.arg("d").arg(""),
        };
    }
    command
}

/// What came of each change; `None` for an answer that is none.
pub(super) fn outcomes(answer: &Value, changes: usize) -> Option<Vec<Outcome>> {
    let Value::Array(items) = answer else { return None };
    let outcome = |item: &Value| match item {
        Value::Int(1) => Some(Outcome::Done),
        Value::Int(0) => Some(Outcome::Unchanged),
        _ => None,
    };
    items.iter().map(outcome).collect::<Option<Vec<_>>>().filter(|outcomes| outcomes.len() == changes)
}

/// Reads several sessions at once.
pub(super) fn read(ids: &[StoredId]) -> Cmd {
    let mut command = redis::cmd("MGET");
    for id in ids {
        command.arg(key(id));
    }
    command
}

/// One page of all our session keys.
pub(super) fn page(cursor: u64) -> Cmd {
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(format!("{SESSIONS}*")).arg("COUNT").arg(1000);
    command
}

/// Raises the moment before which all is over.
pub(super) fn raise_not_before(moment: Timestamp) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(RAISE).arg(1).arg(NOT_BEFORE).arg(moment.as_millis());
    command
}

/// Reads the moment before which all is over.
pub(super) fn read_not_before() -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(NOT_BEFORE);
    command
}

fn key(id: &StoredId) -> String {
    format!("{SESSIONS}{id}")
}

/// The session a key belongs to; `None` for any other key.
pub(super) fn id_of(key: &[u8]) -> Option<StoredId> {
    let hex = key.strip_prefix(SESSIONS.as_bytes())?;
    let mut bytes = [0; 32];
    (hex.len() == 64).then_some(())?;
    HEXLOWER.decode_mut(hex, &mut bytes).ok()?;
    Some(StoredId::from_bytes(bytes))
}

fn value(record: &Record) -> Vec<u8> {
    let encoded = record.encode();
    let mut out = Vec::with_capacity(HEADER + encoded.len());
    out.extend_from_slice(&record.last_seen_at.as_millis().to_be_bytes());
    out.extend_from_slice(&record.absolute_at.as_millis().to_be_bytes());
    out.extend_from_slice(&encoded);
    out
}

/// The record in a stored value; `None` for bytes this build cannot read.
pub(super) fn record_of(value: &[u8]) -> Option<Record> {
    let (seen, rest) = value.split_first_chunk::<8>()?;
    let (_, rest) = rest.split_first_chunk::<8>()?;
    let mut record = Record::decode(rest).ok()?;
    record.last_seen_at = record.last_seen_at.max(Timestamp::from_millis(u64::from_be_bytes(*seen)));
    Some(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_session_keys_name_a_session() {
        let id = StoredId::from_bytes([7; 32]);
        assert_eq!(id_of(key(&id).as_bytes()), Some(id));
        for other in ["fluidgate:session:", "fluidgate:not_before", "fluidgate:session:07"] {
            assert_eq!(id_of(other.as_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            let _ = (record_of(&bytes), id_of(&bytes));
        }
    }
}
