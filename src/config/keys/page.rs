//! docs/configuration.md, from the table.

use super::{Key, Kind, SECTIONS, Usual};
use crate::config::reader::shown;

const HEAD: &str = "\
<!-- Generated from src/config/keys: edit there, then UPDATE_DOCS=1 cargo test --lib config:: -->

# Configuration

One TOML file, `gateway.toml`. `fluidgate check` reports every problem in it at once; unknown keys are problems.
[gateway.toml.example](../gateway.toml.example) is a whole file with comments; editors complete and check a file by
[gateway.schema.json](gateway.schema.json), which `fluidgate schema` prints.

Durations are strings such as `\"30s\"`, `\"15m\"`, `\"24h\"`, `\"1h 30m\"` or `\"7d\"`; a day has 24 hours. Relative paths start at the folder of the
file. A key whose default is *required* must be given. A key inside a list of tables has the name of the list: `routes.upstream`.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        page.push_str(&format!("\n## {}\n\n{}\n", section.title, section.about));
        let (first, others) = section.examples.split_first().unwrap();
        page.push_str(&format!("\n```toml\n{first}```\n"));
        page.push_str("\n| key | kind | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
        page.extend(section.keys.iter().map(row));
        for example in others {
            page.push_str(&format!("\n```toml\n{example}```\n"));
        }
        if !section.notes.is_empty() {
            page.push_str(&format!("\n{}\n", section.notes.trim_end()));
        }
    }
    page
}

fn row(key: &Key) -> String {
    let usual = match key.usual {
        Usual::Required => "*required*".to_owned(),
        Usual::Value(text) => format!("`{text}`"),
        Usual::Said(text) => text.to_owned(),
    };
    let ranges: Vec<String> =
        [range(key.kind), key.range.to_owned()].into_iter().filter(|r| !r.is_empty()).collect();
    let cells = [format!("`{}`", key.path), name(key.kind), usual, ranges.join("; "), key.meaning.to_owned()];
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | ")).replace("|  ", "| ")
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".into(),
        Kind::Only(value) => format!("`{value}`"),
        Kind::Integer(..) => "number".into(),
        Kind::Duration(..) => "duration".into(),
        Kind::Words(&[one]) => format!("`\"{one}\"`"),
        Kind::Words(_) => "word".into(),
        Kind::Text(name, _) => name.into(),
        Kind::List(of) => format!("list of {}", plural(*of)),
        Kind::Table => "table".into(),
        Kind::Map(of) => format!("table of {}", plural(*of)),
        Kind::Either(kinds) => kinds.iter().map(|k| name(*k)).collect::<Vec<_>>().join(" or "),
    }
}

fn plural(kind: Kind) -> String {
    match kind {
        Kind::Either(kinds) => kinds.iter().map(|k| plural(*k)).collect::<Vec<_>>().join(" or "),
        kind if name(kind).ends_with('s') => format!("{}es", name(kind)),
        kind => format!("{}s", name(kind)),
    }
}

fn range(kind: Kind) -> String {
    match kind {
        Kind::Integer(least, most) => format!("{least} to {most}"),
        Kind::Duration(least, most) => format!("{} to {}", shown(least), shown(most)),
        Kind::Words(words) if words.len() > 1 => {
            words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::List(of) | Kind::Map(of) => range(*of),
        Kind::Either(kinds) => {
            kinds.iter().map(|k| range(*k)).filter(|r| !r.is_empty()).collect::<Vec<_>>().join(", or ")
        }
        _ => String::new(),
    }
}
