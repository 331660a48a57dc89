//! Kill -9 right after an answer: every acknowledged login is there, every acknowledged logout stays (S7).

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::rig::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::secret::SystemRandom;
use crate::session::{Activity, Origin, SessionManager, StoreSettings};

const FOLDER: &str = "FLUIDGATE_TEST_KILL_FOLDER";

fn open(folder: &Path) -> Arc<SessionManager> {
    let settings = settings(StoreSettings::Sled { path: folder.join("sessions") });
    let clock = Arc::new(ManualClock::new(START));
    let (manager, report) =
        SessionManager::open(&settings, clock, Arc::new(SystemRandom), everybody).unwrap();
    assert_eq!(report.dropped, None);
    manager
}

/// The process that gets killed: it says on standard output what was acknowledged.
#[tokio::test]
#[ignore = "runs as the child of the test below"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let manager = open(Path::new(&folder));
    let say = |word: &str, cookie: &str| writeln!(std::io::stdout(), "@ {word} {cookie}").unwrap();
    let now = ManualClock::new(START).now();
    loop {
        let log_in = async || {
            let created = manager.create(&subject("ada"), None, Origin::default(), true, now).await.unwrap();
            let browser = Browser::from(created);
            say("in", &browser.cookie);
            browser
        };
        let (_stays, goes) = (log_in().await, log_in().await);
        say("ending", &goes.cookie);
        manager.destroy(&goes.session, now).await.unwrap();
        say("out", &goes.cookie);
    }
}

async fn rounds(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut logged_in, mut ending, mut out) = (HashSet::new(), HashSet::new(), HashSet::new());
    for round in 0..count {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "session::tests::kill::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + round % 11;
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ').skip_while(|word| *word != "@").skip(1);
            let (Some(word), Some(cookie)) = (words.next(), words.next()) else { continue };
            match word {
                "in" => logged_in.insert(cookie.to_owned()),
                "ending" => ending.insert(cookie.to_owned()),
                _ => out.insert(cookie.to_owned()),
            };
            left = left.saturating_sub(1);
            if left == 0 {
                // Lines still in the pipe were acknowledged, too: read on to its end.
                let _ = child.kill();
            }
        }
        child.wait().unwrap();
        let manager = open(folder.path());
        let now = ManualClock::new(START).now();
        for cookie in &logged_in {
            let live = manager.manage(&headers(&[cookie]), true, Activity::Ignored, now).session.is_some();
            assert!(!(live && out.contains(cookie)), "round {round}: a logged-out session came back");
            assert!(live || ending.contains(cookie), "round {round}: an acknowledged login is lost");
        }
        manager.close().await;
    }
    assert!(logged_in.len() >= count && !out.is_empty());
}

#[tokio::test]
async fn fifteen_kills_lose_no_login_and_revive_no_logout() {
    rounds(15).await;
}

#[tokio::test]
#[ignore = "minutes: cargo test --lib session::tests::kill::three -- --ignored"]
async fn three_hundred_kills_lose_no_login_and_revive_no_logout() {
    rounds(300).await;
}
