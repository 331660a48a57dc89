//! A typed reader over the spanned TOML tree: take a key, expect a kind, collect every problem; what is left over is unknown.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use jiff::SpanRelativeTo;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Found, Severity};

/// Collects what the reader finds. Shared by all sections of one file.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: RefCell<Vec<Found>>,
    masked: RefCell<Vec<Range<usize>>>,
    known: RefCell<BTreeSet<String>>,
    broken: RefCell<BTreeSet<usize>>,
}

impl Report {
    /// Notes an error at `span`.
    pub(super) fn error(&self, span: Range<usize>, what: impl Into<String>, mend: impl Into<String>) {
        self.push(span, what.into(), mend.into(), Severity::Error);
    }

    /// Notes broken TOML. What the parser puts in its place is a guess, so nothing more is said of it.
    pub(super) fn syntax(&self, span: Range<usize>, what: impl Into<String>, mend: impl Into<String>) {
        self.push(span.clone(), what.into(), mend.into(), Severity::Error);
        self.broken.borrow_mut().insert(span.start);
    }

    /// Notes something that works but is less safe than it could be.
    pub(super) fn warn(&self, span: Range<usize>, what: impl Into<String>, mend: impl Into<String>) {
        self.push(span, what.into(), mend.into(), Severity::Warning);
    }

    /// Keeps the text of `span` out of every message.
    pub(super) fn mask(&self, span: Range<usize>) {
        self.masked.borrow_mut().push(span);
    }

    /// Everything found, what to mask, and the names of all keys that were asked for.
    pub(super) fn into_parts(self) -> (Vec<Found>, Vec<Range<usize>>, BTreeSet<String>) {
        (self.found.into_inner(), self.masked.into_inner(), self.known.into_inner())
    }

    fn push(&self, span: Range<usize>, what: String, mend: String, severity: Severity) {
        if span.start > 0 && self.broken.borrow().contains(&span.start) {
            return;
        }
        let mend = Some(mend).filter(|m| !m.is_empty());
        self.found.borrow_mut().push(Found { span, what, mend, severity });
    }
}

/// One table of the file. Absent tables read as empty ones, so that defaults have one place.
pub(super) struct Section<'a> {
    name: String,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    known: Vec<&'static str>,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, report: &'a Report) -> Self {
        Self { name: String::new(), table: Some(table.get_ref()), span: 0..0, known: Vec::new(), report }
    }

    /// Where the section stands; the start of the file when it is absent.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the value of `key` stands, or else the first value of the table.
    pub(super) fn first_span(&self, key: &str) -> Range<usize> {
        let table = self.table.into_iter().flatten();
        let spans = table.map(|(name, value)| (name.get_ref() != key, value.span()));
        spans.min_by_key(|(other, span)| (*other, span.start)).map_or(self.span(), |(_, span)| span)
    }

    /// Whether it stands in the file.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Where the value of `key` stands, if it is there.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.span())
    }

    /// Where problems go.
    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// The value of `key`, which from now on counts as known.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let name = self.full(key);
        self.report.known.borrow_mut().insert(name.clone());
        let (key, value) = self.table?.iter().find(|(k, _)| k.get_ref() == key)?;
        Some(Field { name, key: key.span(), value, report: self.report })
    }

    /// The value of `key`, or an error that it is missing.
    pub(super) fn require(&mut self, key: &'static str, mend: &str) -> Option<Field<'a>> {
        let field = self.take(key);
        if field.is_none() {
            self.report.error(self.span(), format!("`{}` is missing", self.full(key)), mend);
        }
        field
    }

    /// The table below `key`, empty when absent or of another kind.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let found = self.take(key);
        let name = self.full(key);
        let span = found.as_ref().map_or(self.span(), |f| f.key.clone());
        match found.and_then(|f| f.table()) {
            Some(section) => Section { span, ..section },
            None => Section { name, table: None, span, known: Vec::new(), report: self.report },
        }
    }

    /// Reports every key that nothing asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let text = key.get_ref().as_ref();
            if self.known.contains(&text) {
                continue;
            }
            let near = nearest(text, &self.known);
            let all = || format!("known here: {}", self.known.join(", "));
            let mend = near.map_or_else(all, |n| format!("did you mean `{n}`?"));
            let place = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
            self.report.error(key.span(), format!("unknown key {text:?}{place}"), mend);
        }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// The known name that `text` was probably meant to be.
pub(super) fn nearest<'n>(text: &str, known: &[&'n str]) -> Option<&'n str> {
    let scored = known.iter().map(|k| (strsim::damerau_levenshtein(&text.to_lowercase(), k), *k));
    scored.min_by_key(|(d, _)| *d).filter(|(d, k)| *d <= k.len().div_ceil(3)).map(|(_, k)| k)
}

/// One value of the file, with its full name.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) name: String,
    key: Range<usize>,
    value: &'a Spanned<DeValue<'a>>,
    report: &'a Report,
}

impl<'a> Field<'a> {
    /// Where the value stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Notes an error at the value.
    pub(super) fn error(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.report.error(self.span(), what, mend);
    }

    /// Notes an error at `span`, which lies in the value.
    pub(super) fn error_at(&self, span: Range<usize>, what: impl Into<String>, mend: impl Into<String>) {
        self.report.error(span, what, mend);
    }

    /// Notes a warning at the value.
    pub(super) fn warn(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.report.warn(self.span(), what, mend);
    }

    /// Keeps the value out of every message.
    pub(super) fn mask(&self) {
        self.report.mask(self.span());
    }

    /// The text, if it is a string, without a word when it is not.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// The truth value, without a word when it is none.
    pub(super) fn as_boolean(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A string.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.expect("a string", self.as_text())
    }

    /// A truth value.
    pub(super) fn boolean(&self) -> Option<bool> {
        self.expect("true or false", self.as_boolean())
    }

    /// A whole number of `range`.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.expect("a whole number", self.value.get_ref().as_integer())?;
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(n) if range.contains(&n) => Some(n),
            _ => {
                let (low, high) = (range.start(), range.end());
                self.error(
                    format!("`{}` is out of range", self.name),
                    format!("a number from {low} to {high}"),
                );
                None
            }
        }
    }

    /// A duration of `range`, as `"30m"` or `"1h 30m"`; a day has 24 hours.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.expect("a duration such as \"30m\"", self.as_text())?;
        let Some(duration) = duration(text) else {
            self.error(
                format!("`{}` is not a duration", self.name),
                "write it as \"30s\", \"15m\", \"24h\" or \"7d\"",
            );
            return None;
        };
        if range.contains(&duration) {
            return Some(duration);
        }
        let (low, high) = (shown(*range.start()), shown(*range.end()));
        self.error(format!("`{}` is out of range", self.name), format!("a duration from {low} to {high}"));
        None
    }

    /// Whether it is a list without elements.
    pub(super) fn list_is_empty(&self) -> bool {
        self.value.get_ref().as_array().is_some_and(|a| a.is_empty())
    }

    /// A list; its elements carry the name of the list.
    pub(super) fn list(&self) -> Option<Vec<Field<'a>>> {
        let array = self.expect("a list", self.value.get_ref().as_array())?;
        let element =
            |value| Field { name: self.name.clone(), key: self.key.clone(), value, report: self.report };
        Some(array.iter().map(element).collect())
    }

    /// A list of strings that are not empty.
    pub(super) fn texts(&self) -> Option<Vec<(Field<'a>, &'a str)>> {
        let fields = self.list()?;
        let pick = |field: Field<'a>| match field.text()? {
            "" => {
                field.error(format!("`{}` has an empty entry", field.name), "take it out");
                None
            }
            text => Some((field, text)),
        };
        Some(fields.into_iter().filter_map(pick).collect())
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Section<'a>> {
        let table = self.expect("a table", self.value.get_ref().as_table())?;
        let (name, span) = (self.name.clone(), self.span());
        Some(Section { name, table: Some(table), span, known: Vec::new(), report: self.report })
    }

    /// A table with names of the user's choice: each name, its place, and its value, which carries the name of the table.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Range<usize>, Field<'a>)>> {
        let table = self.expect("a table", self.value.get_ref().as_table())?;
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            let field = Field { name: self.name.clone(), key: key.span(), value, report: self.report };
            (key.get_ref().as_ref(), key.span(), field)
        };
        Some(table.iter().map(entry).collect())
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let near = nearest(text, &names).map(|n| format!("did you mean {n:?}? ")).unwrap_or_default();
            let mend = format!("{near}known: {}", names.join(", "));
            self.error(format!("{text:?} is not a value of `{}`", self.name), mend);
        }
        found
    }

    /// `value`, or an error that another kind was expected.
    pub(super) fn expect<T>(&self, kind: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let have = self.value.get_ref().type_str();
            self.error(format!("`{}` is of the wrong kind: {have}", self.name), format!("write {kind}"));
        }
        value
    }
}

fn duration(text: &str) -> Option<Duration> {
    let span = jiff::fmt::friendly::SpanParser::new().parse_span(text).ok()?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}

/// A duration of whole seconds or milliseconds in its largest exact unit.
pub(super) fn shown(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 if duration.is_zero() => "0s".into(),
        0 => format!("{}ms", duration.as_millis()),
        s if s % 86400 == 0 => format!("{}d", s / 86400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
