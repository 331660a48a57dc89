//! The table beside the reader, and the documents beside the table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::*;
use crate::config::reader::shown;
use crate::config::tests::{GOOD, ROUTE, checked, keys_asked_for, lines};

const UPDATE: &str = "UPDATE_DOCS=1 cargo test --lib config::";

fn keys() -> impl Iterator<Item = (&'static Section, &'static Key)> {
    SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (*section, key)))
}

/// `example` with the rest of what a file must have.
fn whole(example: &str) -> Table {
    let mut file: Table = toml::from_str(&format!("{GOOD}{ROUTE}")).unwrap();
    lay_over(&mut file, toml::from_str(example).unwrap());
    file
}

fn lay_over(under: &mut Table, over: Table) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay_over(under, over),
            (_, value) => drop(under.insert(name, value)),
        }
    }
}

/// The table that the last part of `path` stands in, and that part. Of a list, the first table in it that has the key.
fn place<'t>(table: &'t mut Table, path: &'static str) -> Option<(&'t mut Table, &'static str)> {
    let Some((name, rest)) = path.split_once('.') else { return Some((table, path)) };
    let next = table.entry(name).or_insert(Value::Table(Table::new()));
    if !next.is_array() && !next.is_table() {
        *next = Value::Table(Table::new());
    }
    let inner = match next {
        Value::Array(list) => {
            let first = rest.split('.').next()?;
            let with_key = list.iter().position(|v| v.as_table().is_some_and(|t| t.contains_key(first)));
            let at = with_key.or_else(|| list.iter().position(Value::is_table))?;
            list.get_mut(at)?.as_table_mut()?
        }
        other => other.as_table_mut()?,
    };
    place(inner, rest)
}

fn set(file: &mut Table, path: &'static str, value: Value) {
    let Some((table, last)) = place(file, path) else { panic!("no example has the table of {path}") };
    table.insert(last.to_owned(), value);
}

/// The section's example that has the key, else its first.
fn file_for(section: &Section, path: &'static str) -> Table {
    let has =
        |file: &Table| place(&mut file.clone(), path).is_some_and(|(table, last)| table.contains_key(last));
    let files: Vec<Table> = section.examples.iter().map(|example| whole(example)).collect();
    files.iter().find(|file| has(file)).or(files.first()).unwrap().clone()
}

fn text(file: &Table) -> String {
    toml::to_string(file).unwrap()
}

fn problems_with(section: &Section, key: &Key, value: Value) -> Vec<String> {
    let mut file = file_for(section, key.path);
    set(&mut file, key.path, value);
    lines(&text(&file))
}

fn alternatives(kind: Kind) -> Vec<Kind> {
    match kind {
        Kind::Either(kinds) => kinds.iter().flat_map(|kind| alternatives(*kind)).collect(),
        kind => vec![kind],
    }
}

#[test]
fn the_table_has_exactly_the_keys_that_the_reader_asks_for() {
    let examples = SECTIONS.iter().flat_map(|section| section.examples);
    let asked: BTreeSet<String> =
        examples.flat_map(|example| keys_asked_for(&text(&whole(example)))).collect();
    let titles =
        SECTIONS.iter().map(|section| section.title.trim_start_matches('[').split(']').next().unwrap());
    let listed: BTreeSet<String> = keys().map(|(_, key)| key.path).chain(titles).map(str::to_owned).collect();
    let missing: Vec<_> = asked.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&asked).collect();
    assert!(missing.is_empty(), "add to src/config/keys: {missing:?}");
    assert!(
        unknown.is_empty(),
        "the reader never asks for these, or no example opens their table: {unknown:?}"
    );
    assert_eq!(keys().count(), keys().map(|(_, key)| key.path).collect::<BTreeSet<_>>().len(), "a key twice");
}

#[test]
fn every_key_is_in_the_example_file() {
    let example = include_str!("../../../gateway.toml.example");
    for (_, key) in keys() {
        let last = key.path.rsplit('.').next().unwrap();
        let said = ["{} = ", "{}]", "[{}]"].iter().any(|form| example.contains(&form.replace("{}", last)));
        assert!(said, "{} is not in gateway.toml.example", key.path);
    }
}

#[test]
fn every_key_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["docs", "docs/recipes"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let pages = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let titles: Vec<&str> = SECTIONS.iter().map(|s| s.title.trim_matches(['[', ']'])).collect();
    let mut named = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        // What stands between two backticks of a line.
        let words = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let looks_like_a_key = |word: &&str| {
            let name =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let first = word.split('.').next().unwrap();
            word.contains('.') && word.split('.').all(name) && titles.contains(&first)
        };
        for word in words.filter(looks_like_a_key) {
            let exists = keys().any(|(_, key)| key.path == word) || titles.contains(&word);
            assert!(exists, "{} names {word}, which is no key", page.display());
            named += 1;
        }
    }
    assert!(named > 100, "only {named} keys are named");
}

#[test]
fn every_example_of_the_reference_passes_the_check() {
    for section in SECTIONS {
        for example in section.examples {
            let have = lines(&text(&whole(example)));
            assert!(have.is_empty(), "{example}\n{have:#?}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_a_problem_of_its_key() {
    // No key takes a date of TOML's own.
    let date: Table = toml::from_str("d = 1979-05-27").unwrap();
    for (section, key) in keys() {
        let have = problems_with(section, key, date["d"].clone());
        assert!(have.iter().any(|line| line.contains(&format!("`{}`", key.path))), "{}: {have:#?}", key.path);
    }
}

#[test]
fn numbers_and_durations_are_refused_exactly_outside_their_stated_range() {
    for (section, key) in keys() {
        let judge = |value: Value, fits: bool| {
            let have = problems_with(section, key, value.clone());
            let refusal = format!("`{}` is out of range", key.path);
            assert_eq!(!have.iter().any(|l| l.contains(&refusal)), fits, "{} = {value}: {have:#?}", key.path);
        };
        for kind in alternatives(key.kind) {
            if let Kind::Integer(least, most) = kind {
                let number = |n: u64| Value::Integer(n.try_into().unwrap());
                judge(number(least), true);
                judge(number(most), true);
                judge(number(most + 1), false);
                judge(Value::Integer(i64::try_from(least).unwrap() - 1), false);
            }
            if let Kind::Duration(least, most) = kind {
                let duration = |d: Duration| Value::String(format!("{}ms", d.as_millis()));
                judge(Value::String(shown(least)), true);
                judge(Value::String(shown(most)), true);
                judge(duration(most + millis(1)), false);
                if let Some(below) = least.checked_sub(millis(1)) {
                    judge(duration(below), false);
                }
            }
        }
    }
}

#[test]
fn the_stated_words_and_no_others_are_taken() {
    for (section, key) in keys() {
        let kinds = alternatives(key.kind);
        let refused = |word: &str| {
            let have = problems_with(section, key, Value::String(word.into()));
            let refusal = format!("is not a value of `{}`", key.path);
            have.iter()
                .any(|line| line.contains(&refusal) || line.contains(&format!("`{}` is not", key.path)))
        };
        for kind in &kinds {
            let Kind::Words(words) = kind else { continue };
            for word in *words {
                assert!(!refused(word), "{} = {word:?} is refused", key.path);
            }
            if !kinds.iter().any(|kind| matches!(kind, Kind::Text(..))) {
                assert!(refused("no-such-word"), "{} takes any word", key.path);
            }
        }
    }
}

#[test]
fn the_stated_defaults_are_what_an_absent_key_means() {
    let settings = |file: &Table, path: &str| match checked(&text(file)) {
        Ok(loaded) => {
            // The folder of the test stands in every path.
            let said = format!("{:?}", loaded.config);
            let base = loaded.config.login.users.parent().unwrap().display().to_string();
            said.replace(&base, "")
        }
        Err(problems) => panic!("{path}: {problems}"),
    };
    for (section, key) in keys() {
        let mut absent = file_for(section, key.path);
        if let Some((table, last)) = place(&mut absent, key.path) {
            table.remove(last);
        }
        match key.usual {
            Usual::Required => assert!(!lines(&text(&absent)).is_empty(), "{} is not required", key.path),
            Usual::Said(_) => {}
            Usual::Value(usual) => {
                let usual: Table = toml::from_str(&format!("usual = {usual}")).unwrap();
                let mut given = absent.clone();
                set(&mut given, key.path, usual["usual"].clone());
                assert_eq!(settings(&given, key.path), settings(&absent, key.path), "{}", key.path);
            }
        }
    }
}

#[test]
fn the_reference_is_in_step_with_the_table() {
    in_step("docs/configuration.md", &page::page());
}

#[test]
fn the_schema_is_in_step_with_the_table() {
    in_step("docs/gateway.schema.json", &format!("{:#}\n", schema()));
}

fn in_step(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(have == wanted, "{name} is not what src/config/keys says: {UPDATE}");
}

#[test]
fn the_smallest_file_has_everything_that_the_schema_requires() {
    fn walk(schema: &serde_json::Value, file: &Table, path: &str) {
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let value = file.get(name).unwrap_or_else(|| panic!("the schema requires {path}{name}"));
            let below = &schema["properties"][name];
            match value {
                Value::Table(table) => walk(below, table, &format!("{path}{name}.")),
                Value::Array(list) => {
                    let tables = list.iter().filter_map(Value::as_table);
                    tables.for_each(|table| walk(&below["items"], table, &format!("{path}{name}.")));
                }
                _ => {}
            }
        }
    }
    walk(&schema(), &whole(""), "");
}

#[test]
fn unknown_keys_are_refused_everywhere_in_the_schema() {
    fn walk(schema: &serde_json::Value, tables: &mut usize) {
        if let Some(fields) = schema.as_object() {
            if schema["type"] == "object" && fields.contains_key("properties") {
                assert_eq!(schema["additionalProperties"], false, "{schema:#}");
                *tables += 1;
            }
            fields.values().for_each(|value| walk(value, tables));
        }
        schema.as_array().into_iter().flatten().for_each(|value| walk(value, tables));
    }
    let mut tables = 0;
    walk(&schema(), &mut tables);
    assert!(tables > 10, "only {tables} tables");
}
