use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::base::clock::ManualClock;

const PATIENCE: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);

/// A target that can be read back.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Notes what `act` says and gives the lines.
fn lines(act: impl FnOnce(&AuditLog)) -> Vec<serde_json::Value> {
    let shelf = Shelf::default();
    let (log, thread) = AuditLog::start(Box::new(shelf.clone()), Arc::new(ManualClock::new(NOW))).unwrap();
    act(&log);
    assert!(thread.finish(PATIENCE));
    let text = String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_names_the_event_the_session_the_user_and_the_client() {
    let event = Event::new(NOW, "session_created").of(ShortDigest([1, 2, 3, 4, 5, 255])).user("ada");
    let told = lines(|log| log.note(Event { client: Some([192, 0, 2, 1].into()), ..event }));
    let expected = serde_json::json!({
        "ts": "2023-11-14T22:13:20.123Z", "kind": "audit", "event": "session_created", "session": "0102030405ff",
        "user": "ada", "client_ip": "192.0.2.1",
    });
    assert_eq!(told, [expected]);
}

#[test]
fn what_strangers_cause_is_limited_to_a_number_a_second_and_the_rest_is_counted_in_the_log() {
    let told = lines(|log| {
        for second in [0, 1] {
            for _ in 0..LIMIT + 7 {
                log.note_limited(Event::new(NOW + Duration::from_secs(second), "session_rejected"));
            }
        }
        assert_eq!(log.limited(), 14);
        log.note(Event::new(NOW, "session_created"));
    });
    let named = |name: &str| told.iter().filter(|line| line["event"] == name).count() as u64;
    assert_eq!((named("session_rejected"), named("session_created")), (2 * LIMIT, 1));
    let left_out = told.last().unwrap();
    assert_eq!((&left_out["event"], &left_out["reason"]), (&"left_out".into(), &"rate_limit".into()));
    assert_eq!(left_out["count"], 14);
}

#[test]
fn a_full_queue_drops_counts_and_never_waits() {
    let (log, queue) = AuditLog::queue(2);
    for _ in 0..5 {
        log.note(Event::new(NOW, "session_created"));
    }
    assert_eq!(log.lost().count(), 3);
    let shelf = Shelf::default();
    let (clock, gaps) = (Arc::new(ManualClock::new(NOW)), Arc::clone(&log.gaps));
    let mut writer = AuditWriter::new(Box::new(shelf.clone()), clock, queue, gaps);
    writer.say_gaps();
    writer.write();
    let text = String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains(r#""event":"left_out","reason":"queue_full","count":3"#), "{text}");
}

#[test]
fn a_target_that_cannot_be_written_costs_lines_and_nothing_else() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("disk full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (log, thread) = AuditLog::start(Box::new(Broken), Arc::new(ManualClock::new(NOW))).unwrap();
    log.note(Event::new(NOW, "session_created"));
    assert!(thread.finish(PATIENCE));
    assert_eq!(log.lost().count(), 1);
    log.note(Event::new(NOW, "session_created"));
    assert_eq!(log.lost().count(), 2, "after the end, too");
}

#[test]
fn a_disk_that_was_full_tears_one_line_and_hides_no_gap() {
    /// Takes ten bytes, then nothing, until there is room again.
    struct Full(Shelf, Arc<Mutex<usize>>);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.1.lock().unwrap();
            let fits = bytes.len().min(*room);
            *room -= fits;
            if fits == 0 { Err(io::Error::other("disk full")) } else { self.0.write(&bytes[..fits]) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (log, queue) = AuditLog::queue(1);
    let (shelf, room) = (Shelf::default(), Arc::new(Mutex::new(10)));
    let sink = Box::new(Full(shelf.clone(), Arc::clone(&room)));
    let mut writer = AuditWriter::new(sink, Arc::new(ManualClock::new(NOW)), queue, Arc::clone(&log.gaps));
    log.note(Event::new(NOW, "session_created"));
    log.note(Event::new(NOW, "session_created"));
    writer.say_gaps();
    writer.write();
    *room.lock().unwrap() = usize::MAX;
    writer.say_gaps();
    writer.write();
    let text = String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0].len()), (2, 10), "{text}");
    let told: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!((&told["event"], &told["count"]), (&"left_out".into(), &1.into()));
}

#[test]
fn a_target_that_nobody_reads_does_not_keep_the_process_from_ending() {
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_read, stuck) = channel();
    let (log, thread) = AuditLog::start(Box::new(Stuck(stuck)), Arc::new(ManualClock::new(NOW))).unwrap();
    log.note(Event::new(NOW, "session_created"));
    assert!(!thread.finish(Duration::from_millis(300)));
}

#[test]
fn without_a_target_there_is_no_log() {
    assert!(AuditLog::open(&Settings::default(), Arc::new(ManualClock::new(NOW))).unwrap().is_none());
}

proptest! {
    #[test]
    fn no_input_can_forge_or_break_a_line(user in any::<String>(), bytes: [u8; 6], address: std::net::IpAddr) {
        let mut out = Vec::new();
        let event = Event::new(NOW, "session_ended").of(ShortDigest(bytes)).user(&user);
        Event { client: Some(address), reason: Some("logout"), ..event }.write_json(&mut out);
        prop_assert_eq!(out.iter().filter(|byte| **byte < 0x20).count(), 1, "one line break, at the end");
        prop_assert_eq!(out.last(), Some(&b'\n'));
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let told = line["user"].as_str().unwrap();
        prop_assert!(user.starts_with(told) && (told.len() == user.len() || told.len() > 1020));
        prop_assert_eq!(&line["event"], "session_ended");
        prop_assert_eq!(line.as_object().unwrap().len(), 7);
    }
}
