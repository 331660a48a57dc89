//! Secrets, user files and folders beside the configuration, and that none of what is secret is shown.

use super::*;

#[test]
fn a_literal_secret_is_refused_and_never_shown() {
    for line in [
        "[\"hunter2\"]",
        "\"hunter2\"",
        "[\"hunter2",
        "{ a = \"hunter2\" }",
        "[\"hunter2\", \"file:secret.key\"]",
        "[\n  \"hunter2\n]",
        "[\"file:a\", \"hunter2",
    ] {
        let problems = checked(&with(ROUTE).replace("[\"file:secret.key\"]", line)).unwrap_err();
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{line}: {problems}");
    }
}

#[test]
fn a_literal_secret_under_a_misspelt_key_is_not_shown() {
    for line in ["secret = [\"hunter2\"]", "\"secrets\" [\"hunter2\"]", "x = { secrets = [\"hunter2\" }"] {
        let problems = checked(&format!("[session]\n{line}\n{ROUTE}")).unwrap_err();
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{line}: {problems}");
    }
}

#[test]
fn weak_loose_sample_and_missing_secrets_are_refused_and_never_shown() {
    for (bytes, mode, expected) in [
        ("hunter2".into(), 0o600, "this secret has only 7 bytes"),
        (KEY.to_owned(), 0o640, "others may use the secret file"),
        ("a".repeat(43), 0o600, "this secret is not random"),
        ("change-me-change-me-change-me-change-me".into(), 0o600, "this secret is a sample"),
        (String::new(), 0o600, "this secret has only 0 bytes"),
    ] {
        let folder = folder();
        write(folder.path(), "secret.key", bytes.as_bytes(), mode);
        let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
        assert!(problems.list()[0].what.starts_with(expected), "{problems}");
        assert!(bytes.is_empty() || !problems.to_string().contains(&bytes), "{problems}");
    }
    only(&with(ROUTE).replace("file:secret.key", "file:none"), "2:12: the secret file");
    only(&with(ROUTE).replace("file:secret.key", "env:FLUIDGATE_NOT_SET"), "2:12: the environment has no");
}

#[test]
fn a_missing_or_loose_user_file_is_refused_with_the_mend() {
    let problems = checked(&with(ROUTE).replace("users.toml", "none.toml")).unwrap_err();
    assert!(problems.to_string().contains("fluidgate users add NAME --file"), "{problems}");
    let folder = folder();
    write(folder.path(), "users.toml", b"", 0o666);
    let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
    assert!(problems.to_string().contains("others may change the user file"), "{problems}");
}

#[test]
fn a_store_folder_that_everyone_may_write_to_is_refused() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("state/sessions")).unwrap();
    fs::set_permissions(folder.path().join("state/sessions"), fs::Permissions::from_mode(0o777)).unwrap();
    let problems = parse(&with(ROUTE), "gateway.toml", folder.path()).unwrap_err();
    assert!(problems.to_string().contains("everyone may write to the store's folder"), "{problems}");
}
