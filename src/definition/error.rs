//! Why a directory of definitions cannot be read as a whole.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The directory cannot be read. This never means "no models".
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is nothing at the path.
    #[error("{} does not exist; create it, or pass the right directory with --models-dir", dir.display())]
    MissingDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// It is a file or something else.
    #[error("{} is not a directory; pass the directory of your definitions with --models-dir", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// It exists and cannot be listed.
    #[error("cannot read {}: {cause}; check its permissions, and that it is mounted", dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its path is not UTF-8, so it cannot be recorded.
    #[error("the path {} is not valid UTF-8; rename the directory", dir.display())]
    NotUnicode {
        /// The directory.
        dir: PathBuf,
    },
    /// Files in it changed during every reading.
    #[error("{} was still changing{}; find out what writes to it", dir.display(), waited(*patience))]
    Unsettled {
        /// The directory.
        dir: PathBuf,
        /// How long the load waited.
        patience: Duration,
    },
    /// Git is changing the work tree.
    #[error(
        "git is changing the definitions: {} still exists{}; if no git is running there, remove the file",
        lock.display(), waited(*patience)
    )]
    GitBusy {
        /// The lock file.
        lock: PathBuf,
        /// How long the load waited.
        patience: Duration,
    },
}

fn waited(patience: Duration) -> String {
    if patience.is_zero() { String::new() } else { format!(" after {}", crate::model::text::duration(patience)) }
}
