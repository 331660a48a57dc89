//! What documents say of tests, held against the tree: every test that docs/security-model.md names exists.

use std::fs;
use std::path::Path;

const MODEL: &str = "docs/security-model.md";

fn read(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).ok()
}

/// Every `file::test` in backticks.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| word.rsplit_once("::")).filter(|(file, _)| file.contains('/')).collect()
}

fn exists((file, test): (&str, &str)) -> bool {
    let keyword = if Path::new(file).extension().is_some_and(|ending| ending == "py") { "def" } else { "fn" };
    read(file).is_some_and(|text| text.contains(&format!("{keyword} {test}(")))
}

#[test]
fn every_test_that_the_security_model_names_exists() {
    let text = read(MODEL).unwrap();
    let named = named(&text);
    assert!(named.len() > 60, "the walk found only {} tests", named.len());
    let missing: Vec<_> = named.into_iter().filter(|test| !exists(*test)).collect();
    assert!(missing.is_empty(), "{MODEL} names tests that are not there: {missing:#?}");
}

#[test]
fn every_advisory_has_a_test_or_says_why_none_applies() {
    let text = read(MODEL).unwrap();
    let advisories = text.split("\n## Advisories").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<_> =
        advisories.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).collect();
    let told = |row: &&&str| {
        named(row).is_empty() && !row.contains("does not apply") && !row.starts_with("| advisory")
    };
    assert!(rows.len() > 50, "{} rows", rows.len());
    let silent: Vec<_> = rows.iter().filter(told).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn the_walk_notices_what_is_missing() {
    assert_eq!(
        named("a `tests/a.rs::b` c `x::y` `tests/real/t.py::test_z`"),
        [("tests/a.rs", "b"), ("tests/real/t.py", "test_z")]
    );
    assert!(exists(("tests/documents.rs", "the_walk_notices_what_is_missing")));
    assert!(!exists(("tests/documents.rs", "the_walk_notices")) && !exists(("tests/none.rs", "x")));
}

#[test]
fn the_versions_in_use_are_above_the_floors_of_known_advisories() {
    let lock = read("Cargo.lock").unwrap();
    let number = |text: &str| -> Vec<u64> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    let mut seen = 0;
    for (name, floor) in [
        ("aws-lc-sys", "0.39"),
        ("bytes", "1.11.1"),
        ("cookie", "0.7.6"),
        ("crossbeam-epoch", "0.9.20"),
        ("h2", "0.4.16"),
        ("hyper", "1.12"),
        ("ring", "0.17.12"),
        ("rustls", "0.23.18"),
        ("rustls-webpki", "0.103.13"),
        ("time", "0.3.47"),
        ("tracing-subscriber", "0.3.20"),
    ] {
        for version in lock.split(&format!("name = \"{name}\"\nversion = \"")).skip(1) {
            let version = version.split('"').next().unwrap();
            assert!(number(version) >= number(floor), "{name} {version} is below {floor}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}
