//! The database file and the files beside it: paths, sizes, names.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;

use super::Problem;

/// Where a database is, which decides when a damaged file there is herdsman's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The default place, in the state directory: any file there is herdsman's.
    Own,
    /// One the user named: what is there is herdsman's if it is a SQLite file
    /// with herdsman's tables in it, as far as can be seen.
    Named,
}

/// How long to wait for another writer: twice as long as other clients do, which
/// hold their own transactions for less than 5 s.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// The size in bytes; `None`: there is no such file.
pub(super) fn size(path: &Path) -> Result<Option<u64>, Problem> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::CannotOpen(error.to_string())),
    }
}

/// Device and inode of the file at `path`.
pub(super) fn file_at(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Appends `suffix` to the file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// An absolute path begins with `/`, so SQLite never takes it for a URI.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|error| Problem::CannotOpen(error.to_string()))
}

/// Whether the file was emptied although its log contains commits. SQLite would
/// take that for a new database and delete the log. (A single byte counts as empty,
/// too: `unixFileSize` in SQLite's os_unix.c.)
pub(super) fn is_emptied(path: &Path) -> Result<bool, Problem> {
    Ok(size(path)?.is_some_and(|size| size < 2) && size(&beside(path, "-wal"))?.is_some_and(|size| size > 0))
}

/// The fault of a file that [`is_emptied`].
pub(super) const EMPTIED: &str = "the file is empty, but its write-ahead log contains commits";

/// The current time in UTC, for a file name.
pub(super) fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}
