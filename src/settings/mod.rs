//! What the owner of this host decides, whatever the definitions say: a file
//! outside the repository, because whoever may push there must not own the host.
//!
//! | file | holds |
//! |---|---|
//! | `locate` | which file is read |
//! | `notify` | its table `[notify]` |
//!
//! Every problem of the file is a [`Diagnostic`], and one of them is enough for
//! herdsman to refuse: half of the owner's decisions are none.

mod locate;
mod notify;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use locate::{Located, locate};
pub(crate) use notify::address as webhook_address;
pub use notify::{Notify, Text, Webhook};

use crate::definition::names::Names;
use crate::definition::source::Source;
use crate::definition::value::Reader;
use crate::definition::{in_order, render, suggest, syntax};
use crate::model::Diagnostic;
use crate::regular;

/// The longest file that is read: a settings file has a page or two.
const LONGEST: u64 = 256 * 1024;

/// The tables of a settings file.
const TABLES: [&str; 1] = ["notify"];

/// What the file says. Without a file, nothing.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whom to tell, and of what.
    pub notify: Option<Notify>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It was named and cannot be read, or is there and cannot.
    #[error("the settings {} cannot be read: {cause}; {help}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
        /// What to do about it.
        help: &'static str,
    },
    /// Others may write what herdsman runs.
    #[error("the settings {} can be written by every user, who would have herdsman run what they like: chmod o-w it", .0.display())]
    Writable(PathBuf),
    /// What it says is not valid.
    #[error("the settings are not valid, so nothing is done\n\n{}", render(.0, false).trim_end())]
    Invalid(Vec<Diagnostic>),
}

impl Settings {
    /// Reads the file that [`locate`] names.
    ///
    /// # Errors
    /// It cannot be read, others may write it, or something in it is wrong. A
    /// file at the usual place that is not there is no error.
    pub fn load(located: &Located) -> Result<Self, SettingsError> {
        let (path, stated) = (located.path(), located.is_stated());
        let unreadable = |cause: std::io::Error| SettingsError::Unreadable {
            path: path.to_owned(),
            help: if stated { "give the right one with --settings" } else { "let herdsman's user read it" },
            cause,
        };
        let metadata = match regular::open(path) {
            Ok((_, metadata)) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !stated => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o002 != 0 {
            return Err(SettingsError::Writable(path.to_owned()));
        }
        let bytes = regular::read(path, LONGEST).map_err(unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8")))?;
        read(path, &text).map_err(SettingsError::Invalid)
    }
}

/// Reads the text of the file at `path`.
fn read(path: &Path, text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let shown: Arc<str> = path.to_string_lossy().into();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let source = Source::new(absolute.to_string_lossy().into(), shown, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::problems(&source, table.get_ref(), &errors));
    }
    let mut names = Names::default();
    let mut reader = Reader::new(&source, &mut names);
    let mut settings = Settings::default();
    for (key, value) in table.get_ref() {
        if reader.is_full() {
            break;
        }
        match key.get_ref().as_ref() {
            "notify" => settings.notify = notify::read(&mut reader, value, &base),
            other => unknown(&mut reader, other, key.span(), "the settings", &TABLES),
        }
    }
    if reader.problems.is_empty() { Ok(settings) } else { Err(in_order(reader.problems)) }
}

/// A key that `place` does not know.
fn unknown(reader: &mut Reader<'_, '_>, key: &str, span: std::ops::Range<usize>, place: &str, known: &[&str]) {
    let help = match suggest::nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{place} know{} {}", if place.starts_with('`') { "s" } else { "" }, known.join(", ")),
    };
    reader.problem(span, format!("unknown key `{key}` in {place}"), "", help);
}
