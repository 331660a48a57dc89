//! Every key of the configuration file with its kind, default, range and meaning: the one source of docs/configuration.md and of
//! the JSON Schema. Tests hold it against the reader: the same keys, the stated ranges, the stated defaults.
//!
//! A new key is one line in the file of its section here; `UPDATE_DOCS=1 cargo test --lib config::` then rewrites the documents.

#![cfg_attr(
    not(test),
    allow(dead_code, reason = "what only the reference says is read by the test that writes it")
)]

use std::time::Duration;

mod login;
#[cfg(test)]
mod page;
mod proxy;
mod rewriting;
mod routes;
mod schema;
mod server;
mod services;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod upstreams;

pub use self::schema::schema;

/// All sections, in the order of the reference.
const SECTIONS: &[&Section] = &[
    &server::SERVER,
    &tls::TLS,
    &session::SESSION,
    &session::COOKIE,
    &login::LOGIN,
    &services::MANAGEMENT,
    &services::ACCESS_LOG,
    &services::AUDIT_LOG,
    &proxy::PROXY,
    &routes::ROUTES,
    &upstreams::UPSTREAMS,
    &rewriting::REWRITING,
];

/// One table of the file.
#[derive(Debug)]
struct Section {
    /// Its header, as `[server]` or `[[routes]]`; words may follow.
    title: &'static str,
    /// What it is for, in Markdown.
    about: &'static str,
    /// One file for each form that the section's tables have, without the sections that it says nothing about: it must pass
    /// `check`, and together they must open every table that has keys. The first is in the reference, the others behind the keys.
    examples: &'static [&'static str],
    /// Its keys, in the order of the reference.
    keys: &'static [Key],
    /// What does not fit into a row, in Markdown.
    notes: &'static str,
}

/// One key. A key inside a table that stands in a list has the path of the list: `routes.upstream`.
#[derive(Debug)]
struct Key {
    path: &'static str,
    kind: Kind,
    usual: Usual,
    /// What the kind does not say of its range.
    range: &'static str,
    /// In Markdown.
    meaning: &'static str,
}

/// A key's kind.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Boolean,
    /// `true` or `false`, but only this one.
    Only(bool),
    Integer(u64, u64),
    Duration(Duration, Duration),
    Words(&'static [&'static str]),
    /// A string: what it is called, and a pattern (of JSON Schema) that every valid one matches; empty for any.
    Text(&'static str, &'static str),
    List(&'static Kind),
    /// A table whose keys have rows of their own.
    Table,
    /// A table with names of the user's choice.
    Map(&'static Kind),
    Either(&'static [Kind]),
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug)]
enum Usual {
    /// It must be given.
    Required,
    /// The same as this value, in TOML.
    Value(&'static str),
    /// What this says in Markdown; nothing for a table whose keys have their own.
    Said(&'static str),
}

use self::Usual::{Required, Said, Value};

const STRING: Kind = Kind::Text("string", "");
const FILE: Kind = Kind::Text("path", ".");
const PATH: Kind = Kind::Text("path", "^/");
const HOST: Kind = Kind::Text("host", "^(\\[[^ ]+\\]|[^/:@ ]+)$");
const ADDRESS: Kind = Kind::Text("address", "^(unix:.|\\[?[0-9a-fA-F.:%]+\\]?:[0-9]+$)");
const HEADER: Kind = Kind::Text("header name", "^[A-Za-z0-9-]+$");
const ORIGIN: Kind = Kind::Text("origin", "^https?://[^/]+$");
const REFERENCE: Kind = Kind::Text("reference", "^(file|env):.");

const fn key(path: &'static str, kind: Kind, usual: Usual, meaning: &'static str) -> Key {
    Key { path, kind, usual, range: "", meaning }
}

impl Key {
    /// The same with words on its range.
    const fn within(self, range: &'static str) -> Self {
        Self { range, ..self }
    }
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86400)
}
