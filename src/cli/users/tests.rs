//! Behaviour of the users command.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;

use super::file::replace;
use super::*;
use crate::base::clock::Timestamp;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    users: UsersCommand,
}

const PHC: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    (dir, path)
}

fn add(path: &Path, name: &str) -> Result<(), EditError> {
    let mut users = UserFile::open(path)?;
    let groups = vec!["staff".to_owned(), "ops".to_owned()];
    users.add(&NewUser {
        name,
        phc: PHC,
        full_name: Some("Ada L".into()),
        email: Some("a@x".into()),
        groups,
    })?;
    users.save()
}

fn listed(path: &Path, json: bool) -> String {
    let mut out = Vec::new();
    list(&mut out, path, json).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn add_makes_a_private_file_that_the_gateway_reads() {
    let (_dir, path) = place();
    add(&path, "ada@example.com").unwrap();
    assert_eq!(mode(&path), 0o600);
    let directory = file::read(&path).unwrap();
    let ada = directory.user("ada@example.com").unwrap();
    assert_eq!(ada.subject().identity.groups().collect::<Vec<_>>(), ["staff", "ops"]);
    assert!(ada.is_active(Timestamp::default()));
}

#[test]
fn add_of_an_existing_name_is_refused_with_the_mend() {
    let (_dir, path) = place();
    add(&path, "ada").unwrap();
    let error = add(&path, "ada").unwrap_err().to_string();
    assert!(error.contains("fluidgate users set-password ada"), "{error}");
    assert!(matches!(add(&path, "ADA"), Err(EditError::LookAlike(..))));
    assert!(matches!(add(&path, "ada\n"), Err(EditError::Name(_))));
}

#[test]
fn edits_keep_comments_and_order() {
    let (_dir, path) = place();
    let before = format!(
        "# our people\n\n[users.zoe] # first\ngroups = [ \"b\",\"a\" ]\npassword = \"{PHC}\" # set in May\n\n# the boss\n[users.bob]\npassword = \"{PHC}\"\n"
    );
    std::fs::write(&path, &before).unwrap();
    let mut users = UserFile::open(&path).unwrap();
    users.set_password("zoe", OTHER).unwrap();
    users.save().unwrap();
    let expected = before.replacen(PHC, OTHER, 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    add(&path, "ada").unwrap();
    let added = std::fs::read_to_string(&path).unwrap();
    assert!(added.starts_with(&expected), "{added}");
    let mut users = UserFile::open(&path).unwrap();
    users.remove("ada").unwrap();
    users.save().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), expected.trim_end());
}

#[test]
fn users_in_an_inline_table_are_edited_in_place() {
    let (_dir, path) = place();
    std::fs::write(&path, format!("users = {{ bob = {{ password = \"{PHC}\" }} }}\n")).unwrap();
    let mut users = UserFile::open(&path).unwrap();
    users.set_password("bob", OTHER).unwrap();
    users.save().unwrap();
    add(&path, "ada").unwrap();
    assert_eq!(file::read(&path).unwrap().len(), 2);
    assert!(std::fs::read_to_string(&path).unwrap().contains(OTHER));
}

#[test]
fn removing_or_rekeying_an_unknown_user_is_refused() {
    let (_dir, path) = place();
    add(&path, "ada").unwrap();
    let mut users = UserFile::open(&path).unwrap();
    assert!(users.remove("bob").unwrap_err().to_string().contains("users list"));
    assert!(matches!(users.set_password("bob", PHC), Err(EditError::Unknown(_))));
}

#[test]
fn a_file_with_mistakes_is_left_alone() {
    let (_dir, path) = place();
    std::fs::write(&path, "[users.ada]\npasword = 1\n").unwrap();
    assert!(matches!(UserFile::open(&path), Err(EditError::Content { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[users.ada]\npasword = 1\n");
}

#[test]
fn editors_at_the_same_time_wait_for_each_other() {
    let (_dir, path) = place();
    let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| add(&path, name).unwrap());
        }
    });
    assert_eq!(file::read(&path).unwrap().len(), names.len());
}

#[test]
fn a_pipe_in_the_place_of_the_file_is_refused_and_nobody_waits_for_it() {
    let (_dir, path) = place();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    for error in [file::read(&path).map(drop).unwrap_err(), add(&path, "ada").map(drop).unwrap_err()] {
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let (dir, path) = place();
    add(&path, "ada").unwrap();
    let link = dir.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    add(&link, "bob").unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(file::read(&path).unwrap().len(), 2);
}

#[test]
fn a_loose_mode_is_tightened_and_a_leftover_of_a_killed_run_is_no_obstacle() {
    let (dir, path) = place();
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(dir.path().join("users.toml.new"), "half").unwrap();
    replace(&path, b"new").unwrap();
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o600));
}

#[test]
fn the_list_shows_who_there_is_and_never_a_hash() {
    let (_dir, path) = place();
    add(&path, "zoe").unwrap();
    add(&path, "ada").unwrap();
    assert_eq!(
        listed(&path, false),
        "ada  name=\"Ada L\"  email=\"a@x\"  groups=staff,ops\nzoe  name=\"Ada L\"  email=\"a@x\"  groups=staff,ops\n"
    );
    let json: serde_json::Value = serde_json::from_str(&listed(&path, true)).unwrap();
    assert_eq!(json[0]["user"], "ada");
    assert_eq!(json[0]["groups"][1], "ops");
    assert!(!listed(&path, true).contains("argon2"));
}

#[test]
fn a_password_is_one_line_without_its_end() {
    let read = |text: &str| one_line(&mut text.as_bytes()).map(|s| s.expose().to_vec());
    assert_eq!(read("a b \r\nmore").unwrap(), b"a b ");
    assert_eq!(read("no end").unwrap(), b"no end");
    assert_eq!(read("\n").unwrap(), b"");
    assert!(matches!(read(""), Err(UsersError::NoPassword)));
    let long = one_line(&mut "x".repeat(1_000_000).as_bytes()).unwrap();
    assert!(long.len() > MAX_PASSWORD && long.len() < MAX_PASSWORD + 8);
}

#[test]
fn the_command_line_is_as_the_contract_says() {
    let parse = |line: &str| Program::try_parse_from(line.split(' '));
    let full = parse("users add ada --name Ada --email a@x --groups a,b --file f.toml").unwrap();
    assert_eq!(full.users.file, Path::new("f.toml"));
    let Action::Add { name, full_name, groups, .. } = full.users.action else { panic!("another command") };
    assert_eq!((name.as_str(), full_name.as_deref(), groups.len()), ("ada", Some("Ada"), 2));
    assert_eq!(parse("users list --json").unwrap().users.file, Path::new("users.toml"));
    assert!(parse("users set-password ada").is_ok() && parse("users remove ada").is_ok());
    assert!(parse("users --file f.toml list").is_ok());
    assert_eq!(parse("users add ada --password x").unwrap_err().exit_code(), 2);
    assert_eq!(parse("users add ada secret").unwrap_err().exit_code(), 2);
}
