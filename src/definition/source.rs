//! The source of one definition while it is read: its text, its names, and how a
//! problem in it becomes a [`Diagnostic`].
//!
//! Invariant: the text that a diagnostic keeps contains no secret ([`redact`]),
//! because diagnostics end up in logs.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use toml::de::DeValue;

use crate::model::{Diagnostic, Origin};

/// A file and its text.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    /// Absolute, lexically resolved.
    pub path: Arc<str>,
    /// As people see it.
    pub file: Arc<str>,
    /// The whole text.
    pub text: &'t str,
    /// The byte each line begins at.
    lines: Vec<usize>,
    /// Removes the secrets from a text.
    redact: fn(&str) -> String,
    /// The text without secrets, made when the first problem needs it.
    shared: OnceLock<Arc<str>>,
}

impl<'t> Source<'t> {
    pub fn new(path: Arc<str>, file: Arc<str>, text: &'t str) -> Self {
        let mut lines = Vec::with_capacity(32);
        lines.push(0);
        lines.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1));
        Self { path, file, text, lines, redact, shared: OnceLock::new() }
    }

    /// The same, for a file in which any value may be a secret.
    pub fn hiding_values(self) -> Self {
        Self { redact: redact_values, ..self }
    }

    /// The line of a byte, from 1.
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// The origin of the start of a span.
    pub fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::new(Arc::clone(&self.file), self.line(span.start))
    }

    /// An error at `span`.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        let shared = self.shared.get_or_init(|| (self.redact)(self.text).into());
        Diagnostic::error(Arc::clone(&self.file), message).at(shared, span)
    }

    /// An error at `line` (0: the file as a whole), for problems found after the
    /// file was read. The caret points at the value `needle` if the key on that
    /// line has it, or else at the whole line.
    pub fn error_at_line(&self, line: u32, needle: &str, message: impl Into<String>) -> Diagnostic {
        let start = usize::try_from(line).ok().and_then(|line| self.lines.get(line.checked_sub(1)?)).copied();
        let Some((start, rest)) = start.and_then(|start| Some((start, self.text.get(start..)?))) else {
            return Diagnostic::error(Arc::clone(&self.file), message);
        };
        let whole = start..start + rest.lines().next().unwrap_or_default().trim_end().len();
        let span = value_span(rest, needle).map_or(whole, |span| start + span.start..start + span.end);
        self.error(span, message)
    }
}

/// Where the value `needle` is, with its quotes or as the end of a path.
fn value_span(rest: &str, needle: &str) -> Option<Range<usize>> {
    if needle.is_empty() {
        return None;
    }
    let value = rest.find('=')? + 1;
    let forms = [format!("\"{needle}\""), format!("'{needle}'"), needle.to_owned()];
    let (form, at) = forms.iter().find_map(|form| Some((form, rest[value..].find(form.as_str())?)))?;
    Some(value + at..value + at + form.len())
}

/// Overwrites every value of `text` that may be a secret with as many `*`, so that
/// positions stay. A reference (`{ file = "…" }`) is not a secret.
fn redact(text: &str) -> String {
    let is_secret = |line: &str, at: usize| names_a_secret(&line[..at]) && !is_reference(&line[at + 1..]);
    overwritten(text, |line| {
        let secret = line.match_indices('=').find(|(at, _)| is_secret(line, *at));
        secret.map_or(line.len(), |(at, _)| at + 1)
    })
}

/// [`redact`] for a file in which any value may be a secret, under any key: it
/// keeps only what is certainly not one.
fn redact_values(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '\t');
    let is_table = |line: &str| {
        let name = line.trim().trim_start_matches('[').trim_end_matches(']');
        line.starts_with('[') && name.chars().all(is_name)
    };
    let is_harmless = |key: &str| matches!(key.trim(), "timeout" | "events" | "models");
    overwritten(text, |line| match line.split_once('=') {
        None if is_table(line) => line.len(),
        // It may be a line of a multi-line text.
        None => 0,
        Some((key, _)) if !key.chars().all(is_name) => 0,
        Some((key, value)) if is_harmless(key) || is_reference(value) => line.len(),
        Some((key, _)) => key.len() + 1,
    })
}

/// Overwrites each line of `text` from where `kept` ends.
fn overwritten(text: &str, kept: impl Fn(&str) -> usize) -> String {
    let hide = |byte: u8| if byte.is_ascii_whitespace() { char::from(byte) } else { '*' };
    let mut redacted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (kept, hidden) = line.split_at(kept(line));
        redacted.push_str(kept);
        redacted.extend(hidden.bytes().map(hide));
    }
    redacted
}

/// Whether a value under a key with this ending must be hidden. Only the ending
/// matters, because a line may contain `=` anywhere.
fn names_a_secret(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(['"', '\'']).as_bytes();
    ["api_key", "token", "secret", "password", "authorization", "webhook"].iter().any(|name| {
        let end = key.len().checked_sub(name.len()).map(|from| &key[from..]);
        let alike = |(a, b): (&u8, u8)| a.eq_ignore_ascii_case(&b) || (*a == b'-' && b == b'_');
        end.is_some_and(|end| end.iter().zip(name.bytes()).all(alike))
    })
}

/// Whether a value only says where to find a secret.
fn is_reference(value: &str) -> bool {
    let Ok(value) = DeValue::parse(value.trim()) else { return false };
    let table = value.get_ref().as_table();
    table.is_some_and(|table| table.keys().all(|key| matches!(key.get_ref().as_ref(), "file" | "env")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source::new("/d/a.toml".into(), "d/a.toml".into(), text)
    }

    #[test]
    fn hides_every_value_where_any_may_be_a_secret() {
        let text = "# SECRET\n[notify]\nwebhok = \"https://SECRET\"\n\"X-Auth\" = \"SECRET\"\ncommand = [\"/x\",\n  \"SECRET\"]\n\
                    webhook = \"\"\"\nhttps://x/?SECRET=SECRET\n\"\"\"\ntimeout = \"10x\"\nx-key = { file = \"k\" }\n[\"SECRET\"]\n";
        let redacted = redact_values(text);
        assert!(!redacted.contains("SECRET"), "{redacted}");
        assert_eq!(redacted.len(), text.len(), "positions stay");
        for kept in ["[notify]\n", "webhok = ", "command = ", "timeout = \"10x\"\n", "x-key = { file = \"k\" }\n"] {
            assert!(redacted.contains(kept), "{kept} is not in {redacted}");
        }
    }

    #[test]
    fn a_line_is_counted_from_one() {
        let source = source("a\nbc\n\nd");
        assert_eq!([0, 1, 2, 4, 5, 6].map(|at| source.line(at)), [1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn a_late_problem_points_at_the_value_or_its_line() {
        let source = source("a = 1\nmodel = \"x.gguf\"\n");
        let position = |line, needle| source.error_at_line(line, needle, "m").position();
        assert_eq!(position(2, "x.gguf"), Some((2, 9)));
        assert_eq!(position(2, "gguf"), Some((2, 12)));
        assert_eq!(position(2, "l"), Some((2, 1)), "that is part of the key, not of the value");
        assert_eq!(position(2, "other"), Some((2, 1)));
        assert_eq!(position(0, "x.gguf"), None);
        assert_eq!(position(9, "x.gguf"), None, "the file may have become shorter");
    }

    #[test]
    fn a_secret_never_reaches_a_diagnostic() {
        let text = "api_key = \"sk-1\"\nLLAMA_API_KEY='sk-2'\n\"hf-token\" = sk-3 # é\nport = 1\n";
        let redacted = redact(text);
        assert!(!redacted.contains("sk-"), "{redacted}");
        assert_eq!(redacted.len(), text.len(), "positions stay");
        assert!(redacted.ends_with("\nport = 1\n"));
        let kept = "api_key = { file = \"/run/k\" }\n";
        assert_eq!(redact(kept), kept);
        for leak in
            ["api_key = { value = \"sk-4\" }\n", "secrets = { api_key = \"sk-4\" }", "secrets.api_key = \"sk-4\""]
        {
            assert!(!redact(leak).contains("sk-4"), "{leak}");
        }
    }
}
