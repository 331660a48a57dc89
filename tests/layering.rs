//! The layer table of `src/lib.rs`, enforced: imports point down only, siblings do not import each other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::fs;
use std::path::{Path, PathBuf};

/// Module → layer. `proxy` may besides import `policy::Permit`, and nothing else of a sibling.
const LAYERS: &[(&str, u8)] = &[
    ("base", 0),
    ("web", 1),
    ("observe", 1),
    ("session", 2),
    ("login", 2),
    ("policy", 2),
    ("proxy", 2),
    ("pages", 2),
    ("server", 2),
    ("gateway", 3),
    ("config", 4),
    ("app", 5),
    ("cli", 6),
    // In tests and fuzz targets only.
    ("fuzz", 7),
];

fn layer(module: &str) -> u8 {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .unwrap_or_else(|| panic!("no layer for module {module}"))
        .1
}

fn source_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// Every `crate::a::b` in the code of a file, comments apart; groups such as `crate::{a, b}` are refused by the caller.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let path: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '{')).collect();
            found.push(path);
        }
    }
    found
}

fn breaches(module: &str, text: &str) -> Vec<String> {
    let own = layer(module);
    imports(text)
        .into_iter()
        .filter(|path| {
            let target = path.split("::").next().unwrap_or_default();
            if target.starts_with('{') || target.is_empty() {
                return true;
            }
            if target == module || (module == "proxy" && path.starts_with("policy::Permit")) {
                return false;
            }
            layer(target) >= own
        })
        .collect()
}

#[test]
fn imports_point_down_only_and_siblings_do_not_import_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    assert!(files.len() > 20, "the walk found only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let inner = file.strip_prefix(&src).unwrap();
        let module = inner.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        // Tests may reach sideways, as for a permit to forward with.
        let is_test = inner.iter().any(|part| part == "tests" || part == "tests.rs");
        if module == "lib" || module == "main" || is_test {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(
            breaches(&module, &text).into_iter().map(|path| format!("{}: crate::{path}", inner.display())),
        );
    }
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_walk_notices_a_breach() {
    assert_eq!(breaches("session", "use crate::login::Login;"), ["login::Login"]);
    assert_eq!(breaches("web", "    let x = crate::gateway::Gateway::new();"), ["gateway::Gateway::new"]);
    assert_eq!(
        breaches("proxy", "use crate::policy::Permit;\nuse crate::policy::decide;"),
        ["policy::decide"]
    );
    assert_eq!(
        breaches("gateway", "use crate::session::SessionManager;\n// crate::cli in a comment"),
        Vec::<String>::new()
    );
    assert_eq!(breaches("gateway", "use crate::{cli, app};").len(), 1);
}

#[test]
fn no_source_file_is_above_400_lines_apart_from_its_tests() {
    let mut files = Vec::new();
    source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = fs::read_to_string(file).unwrap();
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        assert!(lines <= 400, "{} has {lines} lines", file.display());
    }
}
