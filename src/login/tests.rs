//! Behaviour of whole attempts.

use super::*;
use crate::login::password::hash_new;

const HASHING: HashingSettings = HashingSettings { memory_kib: 64, iterations: 1, threads: 1, queue: 8 };
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

struct Bench {
    dir: tempfile::TempDir,
    login: Arc<Login>,
}

fn phc(password: &str) -> String {
    hash_new(&secret(password), HASHING, &SystemRandom).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn write(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("users.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn settings(users: PathBuf) -> Settings {
    let throttle = ThrottleSettings { per_account: 3, per_source: 100, window: Duration::from_secs(300) };
    Settings { users, hashing: HASHING, throttle }
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[users.ada]\npassword = \"{}\"\n[users.off]\npassword = \"{}\"\ndisabled = true\n[users.old]\npassword = \"{}\"\nexpires = \"2023-01-01T00:00:00Z\"\n",
        phc("correct horse"),
        phc("correct horse"),
        phc("correct horse"),
    );
    let login = Login::open(&settings(write(&dir, &text))).unwrap();
    Bench { dir, login }
}

impl Bench {
    async fn attempt(&self, user: &str, password: &str) -> Outcome {
        self.login.attempt(user, secret(password), None, NOW).await
    }
}

#[tokio::test]
async fn the_right_password_is_granted_with_the_directory_state() {
    let bench = bench();
    let Outcome::Grant(subject) = bench.attempt("ada", "correct horse").await else { panic!("refused") };
    assert_eq!(subject.identity.user(), "ada");
    assert_eq!(bench.login.subject_of("ada", NOW), Some(subject));
    assert_eq!(bench.login.user_count(), 3);
    assert_eq!(bench.login.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn unknown_disabled_expired_and_wrong_password_cost_one_hash_and_answer_alike() {
    let bench = bench();
    for (count, (user, password)) in
        [("nobody", "correct horse"), ("off", "correct horse"), ("old", "correct horse"), ("ada", "wrong")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(bench.attempt(user, password).await, Outcome::Refuse, "{user}");
        assert_eq!(bench.login.hash_runs(), count as u64 + 1, "{user}");
    }
}

#[tokio::test]
async fn names_are_compared_exactly() {
    let bench = bench();
    assert_eq!(bench.attempt("ADA", "correct horse").await, Outcome::Refuse);
}

#[tokio::test]
async fn odd_forms_are_refused_before_hashing_and_do_not_count() {
    let bench = bench();
    let (long_name, long_password) = ("a".repeat(257), "p".repeat(1025));
    for (user, password) in [
        ("", "x"),
        ("ada", ""),
        ("a\0da", "x"),
        ("ada", "x\0"),
        (long_name.as_str(), "x"),
        ("ada", &long_password),
    ] {
        assert_eq!(bench.attempt(user, password).await, Outcome::Invalid);
    }
    assert_eq!(bench.login.hash_runs(), 0);
    assert!(matches!(bench.attempt("ada", "correct horse").await, Outcome::Grant(_)));
}

#[tokio::test]
async fn a_throttled_attempt_is_not_hashed_even_with_the_right_password() {
    let bench = bench();
    for _ in 0..3 {
        bench.attempt("ada", "wrong").await;
    }
    assert!(matches!(bench.attempt("ada ", "correct horse").await, Outcome::Throttled { .. }));
    assert_eq!(bench.login.hash_runs(), 3);
}

#[tokio::test]
async fn parallel_guesses_do_not_exceed_the_limit() {
    let bench = bench();
    let (a, b, c, d, e) = tokio::join!(
        bench.attempt("ada", "1"),
        bench.attempt("ada", "2"),
        bench.attempt("ada", "3"),
        bench.attempt("ada", "4"),
        bench.attempt("ada", "5"),
    );
    let refused = [a, b, c, d, e].iter().filter(|o| **o == Outcome::Refuse).count();
    assert_eq!(refused, 3);
    assert_eq!(bench.login.hash_runs(), 3);
}

#[tokio::test]
async fn a_full_pool_is_busy_and_the_attempt_does_not_count() {
    let mut bench = bench();
    Arc::get_mut(&mut bench.login).unwrap().pool = Pool::without_room();
    for _ in 0..5 {
        assert_eq!(bench.attempt("ada", "wrong").await, Outcome::Busy { retry_after: BUSY });
    }
}

#[tokio::test]
async fn removing_disabling_and_rekeying_show_after_reload() {
    let bench = bench();
    let before = bench.login.subject_of("ada", NOW).unwrap();
    write(&bench.dir, &format!("[users.ada]\npassword = \"{}\"\n", phc("another horse")));
    bench.login.reload().unwrap();
    assert_ne!(bench.login.subject_of("ada", NOW).unwrap().credential, before.credential);
    assert_eq!(bench.login.subject_of("off", NOW), None);
    assert_eq!(bench.attempt("ada", "correct horse").await, Outcome::Refuse);
    write(&bench.dir, &format!("[users.ada]\ndisabled = true\npassword = \"{}\"\n", phc("another horse")));
    bench.login.reload().unwrap();
    assert_eq!(bench.login.subject_of("ada", NOW), None);
}

#[test]
fn a_user_expires_without_a_reload() {
    let bench = bench();
    let end = Timestamp::from_secs(1_672_531_200);
    assert!(bench.login.subject_of("old", end.before(Duration::from_millis(1))).is_some());
    assert_eq!(bench.login.subject_of("old", end), None);
}

#[test]
fn a_match_with_a_hash_that_a_reload_has_replaced_is_refused() {
    let bench = bench();
    let old = StoredHash::parse(&phc("correct horse")).unwrap();
    assert_eq!(bench.login.confirm("ada", &old, NOW), None);
}

#[test]
fn a_bad_file_at_reload_leaves_the_old_directory() {
    let bench = bench();
    write(&bench.dir, "[users.ada]\npassword = \"plain\"\n");
    let error = bench.login.reload().unwrap_err().to_string();
    assert!(error.contains("users.toml:2:12: password of user `ada`"), "{error}");
    assert!(bench.login.subject_of("ada", NOW).is_some());
}

#[test]
fn a_file_that_everyone_may_write_is_refused_and_one_that_everyone_may_read_is_warned_of() {
    let bench = bench();
    let path = bench.dir.path().join("users.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    bench.login.reload().unwrap();
    assert!(bench.login.warnings()[0].contains("mode 644"), "{:?}", bench.login.warnings());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(bench.login.reload(), Err(LoginError::Writable { .. })));
}

#[tokio::test]
async fn a_pipe_in_the_place_of_the_file_is_refused_and_nobody_waits_for_it() {
    let bench = bench();
    let file = &bench.dir.path().join("users.toml");
    std::fs::remove_file(file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(matches!(bench.login.reload(), Err(LoginError::Read { .. })));
}

#[test]
fn a_hash_of_another_cost_is_warned_of_because_its_time_tells() {
    let bench = bench();
    let other = HashingSettings { iterations: 2, ..HASHING };
    let costly = hash_new(&secret("correct horse"), other, &SystemRandom).unwrap();
    write(&bench.dir, &format!("[users.ada]\npassword = \"{costly}\"\n"));
    bench.login.reload().unwrap();
    assert!(bench.login.warnings()[0].contains("user `ada`"));
}

#[test]
fn debug_shows_no_hash() {
    assert!(!format!("{:?}", bench().login).contains("argon2"));
}
