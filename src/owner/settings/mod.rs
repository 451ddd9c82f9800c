//! What the owner of this host decides, whatever the definitions say: a file
//! outside the repository, because someone who can push there must not own the
//! host.
//!
//! | file | holds |
//! |---|---|
//! | `locate` | which file to read |
//! | `notify` | its table `[notify]` |
//! | [`serve`] | its table `[serve]` |
//!
//! Every problem of the file is a [`Diagnostic`], and one is enough for herdsman to
//! refuse it: half of the owner's decisions are worse than none.

mod locate;
mod notify;
pub mod serve;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use locate::{Located, locate};
pub(crate) use notify::address as webhook_address;
pub use notify::{Notify, Text, Webhook};

use crate::definition::render;
use crate::model::Diagnostic;
use crate::owner::host_file::{self, HostFileError};
use crate::sys::trust::Untrusted;

/// The tables of a settings file.
const TABLES: [&str; 2] = ["notify", "serve"];

/// The settings. Without a file, nothing is set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whom to notify, and about what.
    pub notify: Option<Notify>,
    /// Where the gateway listens, and for whom.
    pub serve: serve::Serve,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It was named and cannot be read, or exists and cannot be read.
    #[error("cannot read the settings {}: {cause}; {help}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
        /// What to do about it.
        help: &'static str,
    },
    /// Others can change what herdsman runs.
    #[error("the settings cannot be trusted: {0}")]
    Writable(Untrusted),
    /// What it says is not valid.
    #[error("the settings are not valid\n\n{}", render(.0, false).trim_end())]
    Invalid(Vec<Diagnostic>),
}

impl Settings {
    /// Reads the file that [`locate`] names.
    ///
    /// # Errors
    /// It cannot be read, others can write to it, or something in it is wrong. A
    /// missing file at the usual place is fine.
    pub fn load(located: &Located) -> Result<Self, SettingsError> {
        Self::text(located)?.map_or_else(|| Ok(Self::default()), |text| Self::of(located, &text))
    }

    /// Reads the text of that file; `None`: it is missing at the usual place.
    ///
    /// # Errors
    /// It cannot be read, or others can write to it.
    pub fn text(located: &Located) -> Result<Option<String>, SettingsError> {
        let (path, stated) = (located.path(), located.is_stated());
        let unreadable = |cause: std::io::Error| SettingsError::Unreadable {
            path: path.to_owned(),
            help: if stated { "pass the right file with --settings" } else { "make it readable for herdsman's user" },
            cause,
        };
        match host_file::read(&absolute(path)) {
            Ok(text) => Ok(Some(text)),
            Err(HostFileError::Missing) if !stated => Ok(None),
            Err(HostFileError::Missing) => Err(unreadable(std::io::Error::other("no such file"))),
            Err(HostFileError::Untrusted(untrusted)) => Err(SettingsError::Writable(untrusted)),
            Err(HostFileError::Unreadable(cause)) => Err(unreadable(cause)),
        }
    }

    /// Reads this text of that file.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn of(located: &Located, text: &str) -> Result<Self, SettingsError> {
        read(located.path(), text).map_err(SettingsError::Invalid)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads the text of the file at `path`.
fn read(path: &Path, text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let shown = path.to_string_lossy().into();
    let path = absolute(path);
    let base = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let mut settings = Settings::default();
    host_file::keys(&path, &shown, text, ("the settings", &TABLES), true, |reader, _, key, value| match key {
        "notify" => {
            settings.notify = notify::read(reader, value, &base);
            true
        }
        "serve" => {
            settings.serve = serve::read::read(reader, value, &base).unwrap_or_default();
            true
        }
        _ => false,
    })?;
    Ok(settings)
}
