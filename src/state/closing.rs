//! Keeps the state directory private to its user.

use std::ffi::OsStr;
use std::fs::{DirEntry, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{StateDir, StateError};

/// The files in it, other than databases and logs.
const FILES: [&str; 4] = ["id", "lock", "watch.lock", "notify.lock"];

impl StateDir {
    /// Removes the access that older versions, a copy or a service manager gave to
    /// others: to the directory, and to herdsman's own files in it. Only if the
    /// directory contains herdsman's id, or nothing but its locks: never a
    /// directory of other things. A `database` with another name keeps its mode.
    ///
    /// # Errors
    /// The permissions cannot be changed.
    pub fn tighten(&self, database: &Path) -> Result<(), StateError> {
        if self.id()?.is_none() && !self.is_new()? {
            return Ok(());
        }
        // It may be a link to a larger disk.
        close(&self.path.canonicalize().unwrap_or_else(|_| self.path.clone()), 0o700)?;
        for name in FILES {
            close(&self.path.join(name), 0o600)?;
        }
        let entries = std::fs::read_dir(self.logs()).into_iter().flatten().flatten();
        let of_models = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        for directory in [self.logs(), self.cache()].into_iter().chain(of_models) {
            close(&directory, 0o700)?;
            close_all(&directory, |_| true)?;
        }
        // With -wal and -shm, those set aside, and backups.
        let named = database.file_name().filter(|_| !is_same(database, &self.database())).unwrap_or_default();
        close_all(&self.path, |name| {
            let begins = |with: &[u8]| name.as_encoded_bytes().starts_with(with);
            begins(b"herdsman.db") && (named.is_empty() || !begins(named.as_encoded_bytes()))
        })
    }

    /// Whether it contains nothing but locks.
    fn is_new(&self) -> Result<bool, StateError> {
        let entries = std::fs::read_dir(&self.path).map_err(StateError::io("read", &self.path))?;
        let is_ours = |entry: std::io::Result<DirEntry>| {
            entry.is_ok_and(|entry| FILES.iter().any(|name| entry.file_name() == *name))
        };
        Ok(entries.into_iter().all(is_ours))
    }
}

/// Whether two paths are the same, existing or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).ok();
    absolute(one).is_some_and(|one| Some(one) == absolute(other))
}

/// Makes every regular file of `directory` private whose name `is_ours`.
fn close_all(directory: &Path, is_ours: impl Fn(&OsStr) -> bool) -> Result<(), StateError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(StateError::io("read", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(StateError::io("read", directory))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_ours(&entry.file_name()) {
            close(&entry.path(), 0o600)?;
        }
    }
    Ok(())
}

/// Removes permissions of `path` beyond `most`. Leaves it alone if it is missing, a
/// link, or somebody else's.
fn close(path: &Path, most: u32) -> Result<(), StateError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let mode = metadata.mode() & 0o7777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_symlink() || !ours || mode & !most == 0 {
        return Ok(());
    }
    match std::fs::set_permissions(path, Permissions::from_mode(mode & most)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::io("close to others", path)(error)),
        _ => Ok(()),
    }
}
