//! What is wrong with a configuration file, and where: each problem knows its place and how to mend it.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file works, but is less safe than it could be.
    Warning,
}

/// One problem of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: Option<String>,
    /// Whether it refuses the file.
    pub severity: Severity,
    /// The place in bytes.
    pub span: Range<usize>,
}

/// All problems of one file, in file order. `Display` shows each as `file:line:column: what`, then the source line with
/// carets and the mend. Literal secrets are masked in the kept text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Places `found` in `text`; what `masked` covers is never shown.
    pub(super) fn new(file: &str, text: &str, found: Vec<Found>, masked: &[Range<usize>]) -> Self {
        let text = mask(text, masked);
        let starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut list: Vec<Problem> = found
            .into_iter()
            .map(|f| {
                let start = boundary(&text, f.span.start);
                let end = boundary(&text, f.span.end).max(start);
                let line = starts.partition_point(|s| *s <= start).max(1);
                let from = starts.get(line - 1).copied().unwrap_or(0);
                let column = text.get(from..start).map_or(0, |t| t.chars().count()) + 1;
                Problem { line, column, what: f.what, mend: f.mend, severity: f.severity, span: start..end }
            })
            .collect();
        list.sort_by_key(|p| (p.span.start, p.severity));
        list.dedup();
        Self { file: file.to_owned(), text, list }
    }

    /// The problems in file order.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many problems have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|p| p.severity == severity).count()
    }

    /// The text for a terminal, with colours when `colour` is set.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.list {
            let word = match problem.severity {
                Severity::Error => "",
                Severity::Warning => "warning: ",
            };
            let (file, line, column) = (&self.file, problem.line, problem.column);
            out.push_str(&format!("{file}:{line}:{column}: {word}{}\n", problem.what));
            out.push_str(&renderer.render(&[self.snippet(problem)]));
            out.push_str("\n\n");
        }
        out
    }

    /// The source line with carets below it. Only that line is handed over, so that cost does not grow with the file.
    fn snippet<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let from = self.text.get(..problem.span.start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let rest = self.text.get(from..).unwrap_or_default();
        let source = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let start = problem.span.start.saturating_sub(from).min(source.len());
        let end = problem.span.end.saturating_sub(from).clamp(start, source.len());
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(source)
            .line_start(problem.line)
            .annotation(AnnotationKind::Primary.span(start..end));
        let group = Group::with_level(level).element(snippet);
        match &problem.mend {
            Some(mend) => group.element(Level::HELP.message(mend.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// A problem before its line is known.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) span: Range<usize>,
    pub(super) what: String,
    pub(super) mend: Option<String>,
    pub(super) severity: Severity,
}

/// The nearest place at or before `at` that is no middle of a character.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// `text` with every character of `masked` replaced by `*`, byte for byte, so that places stay true.
fn mask(text: &str, masked: &[Range<usize>]) -> String {
    let mut out = text.to_owned();
    for span in masked {
        let (start, end) = (boundary(&out, span.start), boundary(&out, span.end));
        if start < end {
            let stars: String = out
                .get(start..end)
                .unwrap_or_default()
                .bytes()
                .map(|b| if b == b'\n' || b == b'\r' { char::from(b) } else { '*' })
                .collect();
            out.replace_range(start..end, &stars);
        }
    }
    out
}
