//! Copies the database before its schema changes:
//! `herdsman.db.backup-v1-20261123T080000Z`, complete and consistent, for the
//! herdsman that wrote it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::Problem;
use super::file::{beside, timestamp};

/// How many backups are kept: the newest.
const KEPT: usize = 3;

/// Copies the database that `connection` has open, at schema version `version`, to
/// a file beside it, and returns that file.
pub(super) fn make(connection: &Connection, path: &Path, version: i64) -> Result<PathBuf, Problem> {
    let stem = beside(path, &format!("{MARK}{version}-{}", timestamp()));
    let names = std::iter::once(stem.clone()).chain((2..).map(|number| beside(&stem, &format!("-{number}"))));
    let mut made = Err(io::Error::from(ErrorKind::AlreadyExists));
    let mut backup = stem.clone();
    for name in names.take(100) {
        // Empty, and private: VACUUM INTO overwrites nothing else.
        made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name);
        backup = name;
        if !matches!(&made, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
            break;
        }
    }
    made.map_err(failed(&backup))?;
    let copy = || {
        // Bound as bytes, because a path need not be UTF-8.
        connection.execute("VACUUM INTO CAST(?1 AS TEXT)", [backup.as_os_str().as_encoded_bytes()])?;
        File::open(&backup).and_then(|file| file.sync_all()).map_err(failed(&backup))
    };
    copy().inspect_err(|_| discard(&backup))?;
    Ok(backup)
}

/// Removes a backup whose migration did not happen.
pub(super) fn discard(backup: &Path) {
    // The failure that led here is the one to report.
    let _ = fs::remove_file(backup);
}

/// Removes all but the newest.
pub(super) fn prune(path: &Path) -> Result<(), Problem> {
    let prefix = beside(path, MARK);
    let (Some(directory), Some(prefix)) = (prefix.parent(), prefix.file_name()) else { return Ok(()) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut backups = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(path))? {
        let entry = entry.map_err(failed(path))?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).map_err(failed(path))?;
            backups.push((modified, entry.path()));
        }
    }
    backups.sort();
    let outdated = backups.len().saturating_sub(KEPT);
    backups[..outdated].iter().try_for_each(|(_, backup)| fs::remove_file(backup)).map_err(failed(path))
}

const MARK: &str = ".backup-v";

fn failed(path: &Path) -> impl Fn(io::Error) -> Problem + '_ {
    |error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Problem::DiskFull,
        _ => Problem::Backup { path: path.to_owned(), reason: error.to_string() },
    }
}
