//! A problem of a definition as programs read it, here and in the documents of the
//! command line.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Diagnostic, Severity};

/// What is wrong with a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DiagnosticDocument {
    /// `error` or `warning`.
    #[schemars(with = "String")]
    severity: Severity,
    /// The file.
    file: String,
    /// The line, from 1; absent: the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// What is wrong.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl DiagnosticDocument {
    /// Returns a diagnostic as programs read it.
    #[must_use]
    pub fn of(diagnostic: &Diagnostic) -> Self {
        let position = diagnostic.position();
        Self {
            severity: diagnostic.severity,
            file: diagnostic.file.to_string(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}
