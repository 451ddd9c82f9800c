//! Errors of the TOML parser as diagnostics.
//!
//! A file with syntax errors gets only these: what the parser recovers may be in
//! the wrong table, and would be blamed for it.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::source::Source;
use crate::model::Diagnostic;

/// The most errors reported for one file; more are noise.
const MOST: usize = 20;

/// The problems of a file that does not parse; `table` is what was recovered.
pub(crate) fn problems(source: &Source<'_>, table: &DeTable<'_>, errors: &[Error]) -> Vec<Diagnostic> {
    if let Some(problem) = conflict(source) {
        return vec![problem];
    }
    let mut problems: Vec<Diagnostic> = errors.iter().take(MOST).map(|error| problem(source, table, error)).collect();
    // Each `\` of a Windows path is one.
    problems.dedup_by(|next, first| {
        let line = |problem: &Diagnostic| problem.position().map(|(line, _)| line);
        next.message == first.message && line(next) == line(first)
    });
    problems
}

/// What Git leaves where two versions of a file conflict: one problem, though it
/// breaks many lines.
fn conflict(source: &Source<'_>) -> Option<Diagnostic> {
    let begin = if source.text.starts_with(MARK) { 0 } else { source.text.find(&format!("\n{MARK}"))? + 1 };
    let line = source.text[begin..].lines().next().unwrap_or_default();
    let problem = source.error(begin..begin + line.len(), "not valid TOML: unresolved merge conflict");
    Some(problem.help("keep one version, and remove the lines that start with `<<<<<<<`, `=======` and `>>>>>>>`"))
}

/// What a line of a conflict starts with.
const MARK: &str = "<<<<<<< ";

fn problem(source: &Source<'_>, table: &DeTable<'_>, error: &Error) -> Diagnostic {
    let end = source.text.len();
    let span = error.span().unwrap_or(end..end);
    if error.message().starts_with("duplicate key") {
        let key = source.text.get(span.clone()).unwrap_or_default();
        let mut problem = source.error(span.clone(), format!("the key `{key}` is set twice"));
        problem.also =
            first(table, key.trim_matches(['"', '\'']), span.start).map(|at| (at, "first set here".to_owned()));
        return problem.help("keep the one you want and remove the other");
    }
    if error.message().starts_with("string values must be quoted") {
        return match source.text.get(span.clone()).is_none_or(|value| value.trim().is_empty()) {
            true => source.error(span, "not valid TOML: the value is missing").help("write a value after the `=`"),
            false => source.error(span, "not valid TOML: text needs quotes").help("put it in quotes: `\"…\"`"),
        };
    }
    if is_windows_path(source, span.start) {
        let message = "not valid TOML: `\\` in double quotes starts an escape, and this looks like a Windows path";
        return source.error(span, message).help("write the file's path on this machine, with `/`");
    }
    // The first part says what is wrong, the rest what was expected.
    let (wrong, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let mut problem = source.error(span, format!("not valid TOML: {wrong}"));
    problem.label = (!expected.is_empty()).then(|| format!("expected {expected}"));
    problem.help("each line is `key = value` or `[table]`; see https://toml.io")
}

/// Whether the text in double quotes around `at` starts like `C:\` or `\\`.
fn is_windows_path(source: &Source<'_>, at: usize) -> bool {
    let line = source.text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    let Some((_, text)) = line.split_once('"') else { return false };
    let drive =
        text.get(1..3).is_some_and(|drive| drive == ":\\") && text.starts_with(|c: char| c.is_ascii_alphabetic());
    drive || text.starts_with("\\\\") || text.contains(".\\")
}

/// The last key `name` before `end`.
fn first(table: &DeTable<'_>, name: &str, end: usize) -> Option<Range<usize>> {
    let inner = table.values().filter_map(|value| match value.get_ref() {
        DeValue::Table(table) => first(table, name, end),
        _ => None,
    });
    let own = table.keys().filter(|key| key.get_ref() == name && key.span().start < end).map(toml::Spanned::span);
    inner.chain(own).max_by_key(|span| span.start)
}
