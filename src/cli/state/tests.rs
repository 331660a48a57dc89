//! Behaviour of the state folder.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::cli::users::file;
use crate::login::password::{Arena, StoredHash};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn fresh_place() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("deep/state");
    (outer, dir)
}

/// Whether the user file takes `password` for `user`.
fn opens(users: &Path, user: &str, password: &str) -> bool {
    let directory = file::read(users).unwrap();
    let hash: &StoredHash = directory.user(user).unwrap().hash();
    hash.verify(&Secret::new(password.into()), &mut Arena::default())
}

#[test]
fn the_first_start_makes_a_private_folder_secret_and_user() {
    let (_outer, dir) = fresh_place();
    let prepared = prepare(&dir, "ada").unwrap();
    assert_eq!((mode(&dir), mode(&prepared.secret), mode(&prepared.users)), (0o700, 0o600, 0o600));
    let secret = std::fs::read_to_string(&prepared.secret).unwrap();
    assert_eq!(secret.trim_end().len(), 43);
    assert!(opens(&prepared.users, "ada", &prepared.created_password.unwrap()));
}

#[test]
fn a_later_start_keeps_everything_and_tells_no_password() {
    let (_outer, dir) = fresh_place();
    let first = prepare(&dir, "ada").unwrap();
    let before = (std::fs::read(&first.secret).unwrap(), std::fs::read(&first.users).unwrap());
    let second = prepare(&dir, "bob").unwrap();
    assert!(second.created_password.is_none());
    assert_eq!((std::fs::read(&first.secret).unwrap(), std::fs::read(&first.users).unwrap()), before);
}

#[test]
fn the_demo_tells_its_password_on_every_start() {
    let (_outer, dir) = fresh_place();
    let first = prepare_demo(&dir, "ada").unwrap().created_password.unwrap();
    let again = prepare_demo(&dir, "ada").unwrap();
    assert_eq!(again.created_password.as_deref(), Some(first.as_str()));
    assert_eq!(mode(&dir.join("demo-password")), 0o600);
    assert!(opens(&again.users, "ada", &first));
}

#[test]
fn a_demo_start_killed_before_the_user_was_written_is_made_good() {
    let (_outer, dir) = fresh_place();
    let first = prepare_demo(&dir, "ada").unwrap();
    std::fs::remove_file(&first.users).unwrap();
    let again = prepare_demo(&dir, "ada").unwrap();
    assert!(opens(&again.users, "ada", &again.created_password.unwrap()));
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    for loose in [0o777, 0o770, 0o707] {
        let outer = tempfile::tempdir().unwrap();
        std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(loose)).unwrap();
        assert!(matches!(prepare(outer.path(), "ada"), Err(StateError::Writable { .. })), "{loose:o}");
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let (_outer, dir) = fresh_place();
    let prepared = prepare(&dir, "ada").unwrap();
    std::fs::set_permissions(&prepared.secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(prepare(&dir, "ada"), Err(StateError::Readable { .. })));
}

#[test]
fn a_file_in_the_place_of_the_folder_and_a_dangling_link_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let taken = outer.path().join("taken");
    std::fs::write(&taken, "").unwrap();
    assert!(prepare(&taken, "ada").is_err());
    let dir = outer.path().join("state");
    std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    symlink("/nowhere/key", dir.join("secret.key")).unwrap();
    assert!(prepare(&dir, "ada").is_err());
}

#[test]
fn a_made_up_password_has_four_groups_of_five_clear_characters() {
    let password = made_up(&SystemRandom).unwrap();
    let groups: Vec<&str> = password.split('-').collect();
    assert_eq!(groups.iter().map(|g| g.len()).collect::<Vec<_>>(), [5, 5, 5, 5]);
    assert!(groups.concat().bytes().all(|b| LETTERS.contains(&b) && !b"lo01".contains(&b)));
    assert_ne!(password, made_up(&SystemRandom).unwrap());
}

#[test]
fn debug_shows_no_password() {
    let (_outer, dir) = fresh_place();
    let prepared = prepare(&dir, "ada").unwrap();
    assert!(!format!("{prepared:?}").contains(prepared.created_password.as_deref().unwrap()));
}
