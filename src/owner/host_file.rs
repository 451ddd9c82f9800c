//! A file in which the host's owner decides something, outside the repository: the
//! settings, the policy. Both are TOML, and are read the same way.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use crate::definition::names::Names;
use crate::definition::source::Source;
use crate::definition::value::{Reader, Value};
use crate::definition::{in_order, suggest, syntax};
use crate::model::Diagnostic;
use crate::sys::regular;
use crate::sys::trust::{self, Untrusted};

/// The longest file that is read, bytes: such a file is a page or two.
const LONGEST: u64 = 256 * 1024;

/// Why such a file cannot be used.
#[derive(Debug)]
pub(crate) enum HostFileError {
    /// It does not exist.
    Missing,
    /// Others can write to it, so it may not be the owner's decision.
    Untrusted(Untrusted),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// Reads the file at `path`, absolute.
pub(crate) fn read(path: &Path) -> Result<String, HostFileError> {
    match path.symlink_metadata() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(HostFileError::Missing);
        }
        // Reading reports other problems. A dangling link was meant to be
        // something.
        _ => {}
    }
    trust::require_file(path).map_err(HostFileError::Untrusted)?;
    let bytes = regular::read(path, LONGEST).map_err(HostFileError::Unreadable)?;
    String::from_utf8(bytes)
        .map_err(|_| HostFileError::Unreadable(io::Error::new(ErrorKind::InvalidData, "it is not valid UTF-8")))
}

/// Hands every key of `text` to `take`, with its line and value; `take` returns
/// whether it knows the key. `place` is the file's name in messages, and its keys;
/// `hides_values`: no message shows a value, because any may be a secret.
///
/// # Errors
/// Everything that is wrong with the file at `path`, which messages call `shown`.
pub(crate) fn keys(
    path: &Path,
    shown: &Arc<str>,
    text: &str,
    place: (&str, &[&str]),
    hides_values: bool,
    mut take: impl FnMut(&mut Reader<'_, '_>, u32, &str, &Value<'_>) -> bool,
) -> Result<(), Vec<Diagnostic>> {
    let source = Source::new(path.to_string_lossy().into(), Arc::clone(shown), text);
    let source = if hides_values { source.hiding_values() } else { source };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::problems(&source, table.get_ref(), &errors));
    }
    let mut names = Names::default();
    let mut reader = Reader::new(&source, &mut names);
    for (key, value) in table.get_ref() {
        if reader.is_full() {
            break;
        }
        let line = source.line(key.span().start);
        if !take(&mut reader, line, key.get_ref(), value) {
            unknown(&mut reader, key.get_ref(), key.span(), place);
        }
    }
    if reader.problems.is_empty() { Ok(()) } else { Err(in_order(reader.problems)) }
}

/// Reports a key that `place` does not have; its keys are `known`.
pub(crate) fn unknown(
    reader: &mut Reader<'_, '_>,
    key: &str,
    span: std::ops::Range<usize>,
    (place, known): (&str, &[&str]),
) {
    let help = match suggest::nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{place} take{} {}", if place == "the settings" { "" } else { "s" }, known.join(", ")),
    };
    reader.problem(span, format!("unknown key `{key}` in {place}"), "", help);
}
