//! Behaviour of the user file reader.

use super::*;
use proptest::prelude::*;

const PHC: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn problems(text: &str) -> Vec<String> {
    UserDirectory::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_user_has_name_email_groups_state_and_expiry() {
    let text = format!(
        "[users.\"ada@x\"]\npassword = \"{PHC}\"\nname = \"Ada\"\nemail = \"a@x\"\ngroups = [\"staff\"]\ndisabled = true\nexpires = \"2027-01-01T00:00:00Z\"\n"
    );
    let directory = UserDirectory::parse(&text).unwrap();
    let ada = directory.user("ada@x").unwrap();
    let identity = &ada.subject().identity;
    assert_eq!((identity.name(), identity.email()), (Some("Ada"), Some("a@x")));
    assert!(identity.in_group("staff") && ada.is_disabled());
    assert_eq!(ada.expires(), Some(Timestamp::from_secs(1_798_761_600)));
}

#[test]
fn a_toml_date_time_serves_as_expiry_and_the_end_itself_is_past_it() {
    let text = format!("users.ada = {{ password = \"{PHC}\", expires = 1970-01-01T00:01:00+00:00 }}");
    let directory = UserDirectory::parse(&text).unwrap();
    let ada = directory.user("ada").unwrap();
    assert!(ada.is_active(Timestamp::from_secs(59)));
    assert!(!ada.is_active(Timestamp::from_secs(60)));
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = format!(
        "colour = 1\n[users.ada]\npassword = \"{PHC}\"\nnmae = \"Ada\"\ndisabled = \"no\"\n[users.bob]\ngroups = [1]\nexpires = \"2027\"\n"
    );
    let found = problems(&text);
    let places: Vec<_> =
        found.iter().map(|p| p.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(places, ["1:1", "4:1", "5:12", "6:8", "7:11", "8:11"], "{found:#?}");
}

#[test]
fn a_damaged_hash_names_the_user_and_never_the_hash() {
    let found = problems("[users.ada]\npassword = \"$2y$10$abcdefghijklmnop\"\n");
    assert!(found[0].starts_with("2:12: password of user `ada`"), "{found:?}");
    assert!(!found[0].contains("abcdef"));
}

#[test]
fn a_syntax_error_never_quotes_the_line() {
    let found = problems("[users.ada]\npassword = $argon2id$hush\n");
    assert!(!found.is_empty());
    assert!(found.iter().all(|p| p.starts_with("2:") && !p.contains("hush")), "{found:?}");
}

#[test]
fn two_names_that_differ_in_case_or_form_only_are_refused() {
    let found = problems(&format!("[users.ada]\npassword = \"{PHC}\"\n[users.ADA]\npassword = \"{PHC}\"\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("differ only in case or form"), "{found:?}");
}

#[test]
fn an_empty_file_is_a_directory_of_nobody() {
    assert!(UserDirectory::parse("").unwrap().is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,300}") {
        let _ = UserDirectory::parse(&text);
    }

    #[test]
    fn no_near_file_makes_the_reader_panic(lines in prop::collection::vec(
        "(\\[users\\.[a-zA-Zé\"\\.]{0,6}\\]|(password|name|groups|disabled|expires|x) = (true|1|\"[a$,=é]{0,8}\"|\\[\"a\", 1\\]|2027-01-01T00:00:00Z|\\{\\}))", 0..12)
    ) {
        let text = lines.join("\n");
        if let Err(problems) = UserDirectory::parse(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|p| p.line >= 1 && p.line <= lines.len() + 1 && p.column >= 1));
        }
    }
}
