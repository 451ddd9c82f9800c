//! The result of reading a source, and why one cannot be read.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::model::LeftOut;
use super::model::Model;
use super::remark::Remark;
use super::room::Group;
use super::secret::may_begin;
use crate::database::DatabaseError;
use crate::model::Diagnostic;

/// The contents of a source.
#[derive(Debug, Default)]
pub struct Read {
    /// Models that can become definitions, in the order of the source.
    pub models: Vec<Model>,
    /// Models that cannot.
    pub left_out: Vec<LeftOut>,
    /// Remarks about no model in particular.
    pub remarks: Vec<Remark>,
    /// The groups that the models are in.
    pub groups: Vec<Group>,
}

/// A problem with the text of a source, which makes all of it unusable.
#[derive(Debug)]
pub(super) struct Problem {
    /// Bytes of the text.
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

impl Problem {
    pub fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: help.into() }
    }
}

/// Why a source as a whole is unusable.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("cannot read {shown}: {cause}: {help}")]
    Unreadable {
        /// The source as people see it.
        shown: String,
        /// Why.
        cause: String,
        /// The next step.
        help: &'static str,
    },
    /// A database that cannot be read.
    #[error("{0}")]
    UnreadableDatabase(DatabaseError),
    /// It is invalid.
    #[error("{shown} is invalid")]
    Malformed {
        /// The source as people see it.
        shown: String,
        /// Every problem, with its place.
        diagnostics: Vec<Diagnostic>,
    },
    /// It is readable, but something else.
    #[error("{0}")]
    Wrong(String),
}

impl SourceError {
    /// Builds the problems of a text, each at its place and without secrets.
    pub(super) fn malformed(shown: &str, text: &str, problems: Vec<Problem>) -> Self {
        let (file, text): (Arc<str>, Arc<str>) = (shown.into(), masked(text).into());
        let one = |problem: Problem| {
            Diagnostic::error(Arc::clone(&file), problem.message).at(&text, problem.span).help(problem.help)
        };
        Self::Malformed { shown: shown.to_owned(), diagnostics: problems.into_iter().map(one).collect() }
    }
}

/// The largest text read as a source, bytes.
const LARGEST: u64 = 4 << 20;

/// A text file of a source.
#[derive(Debug)]
pub(super) struct TextFile {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The same for people.
    pub shown: String,
    pub text: String,
}

impl TextFile {
    /// Reads `shown`, a path as it was given, from `cwd`.
    pub fn read(cwd: &std::path::Path, shown: &str) -> Result<Self, SourceError> {
        let path = crate::definition::absolute(cwd, std::path::Path::new(shown));
        let unreadable = |cause: std::io::Error| SourceError::Unreadable {
            shown: shown.to_owned(),
            cause: cause.to_string(),
            help: "pass the path of a file that you can read",
        };
        let bytes = crate::sys::regular::read(&path, LARGEST).map_err(unreadable)?;
        match String::from_utf8(bytes) {
            // Windows editors start a text with it.
            Ok(text) => Ok(Self {
                path,
                shown: shown.to_owned(),
                text: text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned),
            }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to() + 1;
                Err(SourceError::Wrong(format!(
                    "{shown} is not valid UTF-8: byte {at} starts no character: save it as UTF-8"
                )))
            }
        }
    }
}

/// Finds the named files, and the files with such an ending directly in the named
/// directories, sorted by name.
pub(super) fn text_files(cwd: &std::path::Path, shown: &[String], ends: &[&str]) -> Result<Vec<TextFile>, SourceError> {
    let mut files = Vec::new();
    for shown in shown {
        let path = crate::definition::absolute(cwd, std::path::Path::new(shown));
        if !path.is_dir() {
            files.push(TextFile::read(cwd, shown)?);
            continue;
        }
        let unreadable = |cause: String| SourceError::Unreadable {
            shown: shown.clone(),
            cause,
            help: "pass the path of a file, or of a directory of such files, that you can read",
        };
        let entries = std::fs::read_dir(&path).map_err(|error| unreadable(error.to_string()))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let is_one = |name: &String| name.rsplit_once('.').is_some_and(|(_, end)| ends.contains(&end));
        let mut names: Vec<String> = names.filter(is_one).filter(|name| path.join(name).is_file()).collect();
        names.sort_unstable();
        if names.is_empty() {
            return Err(unreadable(format!("it contains no file that ends in .{}", ends.join(" or ."))));
        }
        for name in names {
            files.push(TextFile::read(cwd, &format!("{}/{name}", shown.trim_end_matches('/')))?);
        }
    }
    Ok(files)
}

/// Overwrites the rest of each line of `text` that may contain a secret, and the
/// line or list below a name without a value. Positions stay. Excerpts of a source
/// end up in logs.
fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let (mut is_named, mut is_listed) = (false, false);
    for line in text.split_inclusive('\n') {
        let is_item = line.trim_start().starts_with("- ");
        let is_value = is_named || (is_listed && is_item);
        let at = if is_value { Some(0) } else { may_begin(line) };
        let (kept, hidden) = line.split_at(at.unwrap_or(line.len()));
        let is_empty = hidden.chars().all(|c| c.is_whitespace() || ":=\\|>-\"'".contains(c));
        (is_named, is_listed) = (at.is_some() && !is_value && is_empty, is_value && is_item);
        masked.push_str(kept);
        // Every byte of a character becomes a `*`.
        masked.extend(hidden.bytes().map(|byte| match byte {
            b'\n' | b'\r' | b' ' | b'\t' | b':' => char::from(byte),
            _ => '*',
        }));
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_possible_secrets_in_place() {
        let text = "cmd: x --api-key sk-1 é\napiKeys: [a]\nplain: é\n- sk-2\n";
        let masked = masked(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(super::masked("api_keys:\n  - a1\n  - b\nplain: é\n"), "api_keys:\n  * **\n  * *\nplain: é\n");
        assert_eq!(super::masked("x --api-key \\\n  a1 \\\n  -c 1"), "x --api-key *\n  ** *\n  -c 1");
        assert_eq!(masked, "cmd: x --api-key **** **\napiKeys: ***\nplain: é\n- sk-*\n");
    }
}
