use std::net::IpAddr;
use std::sync::mpsc::Sender;

use super::*;
use crate::base::clock::Timestamp;
use crate::observe::access_log::batch::ENTRIES;

mod unhurried;

const OPENING: Opening<'static> = Opening {
    at: Timestamp::from_millis(1_700_000_000_123),
    request_id: b"00c0ffee",
    client: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    method: "GET",
    host: b"wiki.test",
    path: "/a",
    protocol: "HTTP/1.1",
    user_agent: Some(b"curl/8"),
};

const OUTCOME: Outcome = Outcome {
    status: 200,
    bytes_out: 5,
    bytes_in: None,
    duration: Duration::from_micros(1500),
    upstream: Some(Duration::from_micros(1250)),
    decision: "allow",
    reason: None,
};

/// The draft of a request of `ada` to `wiki`.
fn draft(opening: &Opening<'_>, outcome: Outcome) -> Draft {
    let mut draft = Draft::default();
    draft.begin(opening);
    draft.names(Some("wiki"), Some("ada"));
    draft.end(outcome);
    draft
}

fn written(format: Format, draft: &Draft) -> String {
    String::from_utf8(line(format, draft)).unwrap()
}

fn json(opening: &Opening<'_>) -> String {
    written(Format::Json, &draft(opening, OUTCOME))
}

#[test]
fn a_json_line_is_one_object_with_named_fields() {
    let value: serde_json::Value = serde_json::from_str(&json(&OPENING)).unwrap();
    assert_eq!(value["ts"], "2023-11-14T22:13:20.123Z");
    assert_eq!(value["duration_ms"], 1.5);
    assert_eq!(value["user"], "ada");
    assert_eq!(value.get("reason"), None);
}

#[test]
fn a_text_line_has_the_combined_form() {
    let expected =
        "127.0.0.1 - ada [14/Nov/2023:22:13:20 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n";
    assert_eq!(written(Format::Text, &draft(&OPENING, OUTCOME)), expected);
}

#[test]
fn no_input_can_forge_a_line() {
    let agent = "x\"}\n{\"status\":200\r\u{1b}[31m";
    let opening = Opening { user_agent: Some(agent.as_bytes()), path: "/\n\"", ..OPENING };
    assert_eq!(json(&opening).matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&json(&opening)).unwrap();
    assert_eq!(value["user_agent"], agent);
    assert_eq!(line(Format::Text, &draft(&opening, OUTCOME)).iter().filter(|b| **b < 0x20).count(), 1);
}

#[test]
fn no_character_that_a_terminal_obeys_is_written_as_it_is() {
    let agent = "\u{7f}x\u{9b}31m\u{85}é\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{200b}\u{e0041}";
    let line = json(&Opening { user_agent: Some(agent.as_bytes()), ..OPENING });
    assert!(!line.trim_end().contains(escape::is_unseen), "{line:?}");
    assert!(
        line.contains("\\u007fx\\u009b31m\\u0085é\\u2028\\u2029\\u202e\\u2066\\ufeff\\u200b\\udb40\\udc41"),
        "{line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["user_agent"], agent);
}

/// A log to a file in `folder`.
fn to_a_file(folder: &tempfile::TempDir) -> (PathBuf, Arc<AccessLog>, LogThread) {
    let path = folder.path().join("access.log");
    let settings = Settings { target: Some(Target::File(path.clone())), format: Format::Json };
    let (log, thread) = AccessLog::open(&settings).unwrap().unwrap();
    (path, log, thread)
}

/// How many lines of `text` there are; each must be whole.
fn whole_lines(text: &str) -> usize {
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    text.lines().count()
}

#[test]
fn lines_that_fill_many_batches_are_all_written_each_of_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log, thread) = to_a_file(&folder);
    let workers = [WorkerLog::new(Arc::clone(&log)), WorkerLog::new(Arc::clone(&log))];
    for status in 0..1000 {
        for worker in &workers {
            let user_agent = b"x".repeat(usize::from(status));
            let opening = Opening { user_agent: Some(&user_agent), ..OPENING };
            worker.write(&draft(&opening, Outcome { status, ..OUTCOME }));
        }
    }
    drop(workers);
    let lost = log.lost();
    drop(log);
    assert!(thread.ended_within(Duration::from_secs(60)));
    assert_eq!(lost.count(), 0);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(whole_lines(&text), 2000);
    let mut written: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["status"].as_u64().unwrap())
        .collect();
    written.sort_unstable();
    assert!(written.into_iter().eq((0..1000).flat_map(|status| [status, status])));
}

/// A disk that takes nothing until it is told to, and says when it has been asked.
struct Stuck {
    asked: Sender<()>,
    go: Receiver<()>,
    file: File,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(());
        let _ = self.go.recv();
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log on such a disk at `path`, which takes what comes once the sender is dropped, and a worker that has written and flushed `lines`:
/// the first is with the disk, others wait, and for the last the worker has asked in vain.
fn behind(path: &Path, lines: usize) -> (Sender<()>, WorkerLog, LogThread) {
    let ((asked, was_asked), (say, go)) = (channel(), channel());
    let sink = Stuck { asked, go, file: append(path).unwrap() };
    let (log, thread) = AccessLog::start(Format::Json, Box::new(sink)).unwrap();
    let worker = WorkerLog::new(log);
    for line in 0..lines {
        worker.write(&draft(&OPENING, OUTCOME));
        worker.flush();
        if line == 0 {
            was_asked.recv().unwrap();
        }
    }
    (say, worker, thread)
}

#[test]
fn the_last_lines_of_a_worker_that_ends_while_the_disk_is_behind_are_written_when_it_has_caught_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let asked = WAITING + 20;
    let (go, worker, thread) = behind(&path, asked);
    drop(worker);
    drop(go);
    assert!(thread.ended_within(Duration::from_secs(60)));
    assert_eq!(whole_lines(&std::fs::read_to_string(path).unwrap()), asked);
}

#[test]
fn a_worker_keeps_a_batch_that_nobody_takes_and_counts_the_full_ones_it_loses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let asked = WAITING + 20;
    let (go, worker, thread) = behind(&path, asked);
    let log = Arc::clone(&worker.log);
    assert_eq!(log.lost().count(), 0, "what a batch has room for is not lost");
    for _ in 0..ENTRIES {
        worker.write(&draft(&OPENING, OUTCOME));
    }
    assert_eq!(log.lost().count(), u64::try_from(ENTRIES).unwrap(), "the lines of a full batch");
    drop(go);
    // Now there is room again, sooner or later, and the last line needs no other to follow it.
    while !worker.pen.borrow().batch.is_empty() {
        worker.flush();
        std::thread::yield_now();
    }
    let lost = log.lost();
    drop((worker, log));
    assert!(thread.ended_within(Duration::from_secs(60)));
    let written = whole_lines(&std::fs::read_to_string(path).unwrap());
    assert_eq!(
        (written, lost.count()),
        (asked, u64::try_from(ENTRIES).unwrap()),
        "each line, or it is counted"
    );
}

#[test]
fn the_longest_line_of_all_has_room() {
    let (text, bytes) = ("\u{1}".repeat(2000), [0xff; 2000]);
    let opening = Opening {
        method: &text,
        host: &bytes,
        path: &text,
        client: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        user_agent: Some(text.as_bytes()),
        ..OPENING
    };
    let outcome = Outcome {
        bytes_out: u64::MAX,
        bytes_in: Some(u64::MAX),
        duration: Duration::MAX,
        upstream: Some(Duration::MAX),
        ..OUTCOME
    };
    let mut longest = Draft::default();
    longest.begin(&opening);
    longest.names(Some(&text), Some(&text));
    longest.end(outcome);
    for format in [Format::Json, Format::Text] {
        let (log, thread) = AccessLog::start(format, Box::new(io::sink())).unwrap();
        let worker = WorkerLog::new(Arc::clone(&log));
        worker.write(&draft(&OPENING, OUTCOME));
        // More of them than a batch has room for and, as JSON, than a page.
        for _ in 0..20 {
            worker.write(&longest);
        }
        let lost = log.lost();
        drop((worker, log));
        assert!(thread.ended_within(Duration::from_secs(60)));
        assert_eq!(lost.count(), 0);
    }
    let value: serde_json::Value = serde_json::from_str(&written(Format::Json, &longest)).unwrap();
    assert_eq!(value["path"].as_str().unwrap().len(), 1024);
    assert_eq!(value["client_ip"], "2001:db8:1111:2222:3333:4444:5555:6666");
}

#[test]
fn what_a_full_disk_refuses_is_counted_and_tears_no_line_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    /// Takes ten bytes, is full for one try, and has room again.
    struct Full(File, u32);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            match self.1 {
                1 => self.0.write(bytes.get(..10).unwrap_or(bytes)),
                2 => Err(io::ErrorKind::StorageFull.into()),
                _ => self.0.write(bytes),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let sink = Box::new(Full(append(&path).unwrap(), 0));
    let (log, thread) = AccessLog::start(Format::Json, sink).unwrap();
    let worker = WorkerLog::new(Arc::clone(&log));
    for _ in 0..2 {
        worker.write(&draft(&OPENING, OUTCOME));
        worker.flush();
    }
    let lost = log.lost();
    drop((worker, log));
    assert!(thread.ended_within(Duration::from_secs(60)));
    assert_eq!(lost.count(), 1);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, format!("{}\n{}", &json(&OPENING)[..10], json(&OPENING)));
}

#[test]
fn lines_reach_the_file_and_dropping_the_log_ends_its_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log, thread) = to_a_file(&folder);
    let worker = WorkerLog::new(log);
    worker.write(&draft(&OPENING, OUTCOME));
    drop(worker);
    assert!(thread.ended_within(Duration::from_secs(60)));
    assert_eq!(std::fs::read_to_string(path).unwrap(), json(&OPENING));
}

#[test]
fn a_draft_says_nothing_of_the_line_before() {
    let mut used = Draft::default();
    let (long, longest) = ("x".repeat(500), "x".repeat(1000));
    for path in ["/a", &long, "/", &longest, "/b"] {
        let opening = Opening { path, ..OPENING };
        used.begin(&opening);
        used.names(Some("wiki"), Some("ada"));
        used.end(OUTCOME);
        assert_eq!(written(Format::Json, &used), json(&opening));
    }
    assert!(used.is_large());
    let nobody = Opening { user_agent: None, client: None, ..OPENING };
    used.begin(&nobody);
    used.end(Outcome::default());
    let said: serde_json::Value = serde_json::from_str(&written(Format::Json, &used)).unwrap();
    for absent in ["user", "route", "user_agent", "client_ip", "upstream_ms"] {
        assert_eq!(said.get(absent), None);
    }
}

#[test]
fn words_of_a_draft_that_went_wrong_are_read_as_no_other_lines() {
    let mut wrong = draft(&OPENING, OUTCOME);
    wrong.words.add(|out| out.piece(b"more than the entry knows of"));
    let mut batch = Batch::new();
    assert!(batch.took(&wrong) && batch.took(&draft(&OPENING, OUTCOME)));
    let (mut page, mut seconds) = (Page::new(), Seconds::default());
    let second = batch.lines().nth(1).unwrap();
    assert!(page.wrote(|out| second.formed(Format::Json, &mut seconds, out)));
    assert_eq!(page.lines(), json(&OPENING).as_bytes());
}

#[test]
fn a_thread_that_sleeps_ends_with_the_last_handle_of_its_log() {
    for _ in 0..500 {
        let (log, thread) = AccessLog::start(Format::Json, Box::new(io::sink())).unwrap();
        std::thread::yield_now();
        drop(log);
        assert!(thread.ended_within(Duration::from_secs(10)));
    }
}
