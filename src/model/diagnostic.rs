//! Diagnostics: what is wrong, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a definition file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file as people see it (`models.d/qwen3-8b.toml`).
    pub file: Arc<str>,
    /// The line, from 1; 0 stands for the file as a whole.
    pub line: u32,
}

impl Origin {
    /// A place in `file`; line 0 stands for the file as a whole.
    #[must_use]
    pub fn new(file: impl Into<Arc<str>>, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// The severity of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition cannot be used; its model stays as it is.
    Error,
    /// The definition is used, but a person should look at it.
    Warning,
}

/// One problem of one definition file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file as people see it.
    pub file: Arc<str>,
    /// The file's text and the relevant bytes; `None` if the problem is the file
    /// itself (unreadable, not UTF-8, a directory).
    pub snippet: Option<(Arc<str>, Range<usize>)>,
    /// A second place in the same text that belongs to the problem, and a few words
    /// under it (`first set here`).
    pub also: Option<(Range<usize>, String)>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// A few words under the caret.
    pub label: Option<String>,
    /// The fix, in the imperative.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error about `file` as a whole.
    #[must_use]
    pub fn error(file: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            snippet: None,
            also: None,
            message: message.into(),
            label: None,
            help: None,
        }
    }

    /// The same as a warning: the definition is still used.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Whether it makes the definition unusable.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Points at `span` (bytes) of `text`.
    #[must_use]
    pub fn at(mut self, text: &Arc<str>, span: Range<usize>) -> Self {
        self.snippet = Some((Arc::clone(text), span));
        self
    }

    /// Points at a second place of the same text.
    #[must_use]
    pub fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }

    /// Adds words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds the fix.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column of the problem, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self) -> Option<(u32, u32)> {
        let (text, span) = self.snippet.as_ref()?;
        let before = text.get(..span.start)?;
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
    }
}
