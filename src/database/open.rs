//! Opens the database: for writing (create, check, WAL, migrate), and for reading
//! without leaving a trace.
//!
//! A plain read-only connection to a WAL database creates missing `-wal` and `-shm`
//! files, so a dry run would write. So the way of reading depends:
//!
//! | journal | `-wal` | `-shm` | way |
//! |---|---|---|---|
//! | not WAL | | | plain: such a database needs no extra files |
//! | WAL | exists | exists | plain: both files already exist |
//! | WAL | none or empty | | `immutable=1`: nobody has it open |
//! | WAL | with commits | none | refused: reading would mean recovering |
//!
//! A program that closes the file by other means than SQLite drops every lock that its
//! process has on it, and the next program that closes the database deletes the `-wal` of those
//! who still write there. So a file that somebody has open is not looked into: with both
//! files beside it, it is read plainly whatever its header says.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::file::{BUSY_TIMEOUT, EMPTIED, absolute, beside, file_at, flags, is_emptied, size};
use super::table::Table;
use super::{Database, DatabaseError, Problem, check, migrations};
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// How many prepared statements are cached: more than a commit uses.
const STATEMENTS: usize = 64;

impl Database {
    /// Opens the database for writing: creates it (private; the directory must
    /// exist), switches it to WAL and upgrades herdsman's own tables. The columns
    /// of another program's `models` table stay as they are.
    ///
    /// # Errors
    /// It is not a database, damaged, newer than this herdsman, read-only or
    /// locked, or its `models` does not follow the contract.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::open_waiting(path, BUSY_TIMEOUT)
    }

    /// [`Database::open`] with another busy timeout.
    pub(super) fn open_waiting(path: &Path, timeout: Duration) -> Result<Self, DatabaseError> {
        let open = || {
            if is_emptied(path)? {
                return Err(Problem::Damaged(EMPTIED.to_owned()));
            }
            create(path)?;
            reach(Point::DatabaseMade);
            let connection = Connection::open_with_flags(absolute(path)?, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
            // A damaged file must stay as it is, and so must its log: closing would
            // write the log into the file.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let prepared = prepare(&connection, path, timeout);
            if !prepared.as_ref().is_err_and(Problem::is_damage) {
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            }
            prepared.map(|()| connection)
        };
        let connection = open().map_err(|problem| DatabaseError::new(path, timeout, problem))?;
        Ok(Self { connection, path: path.to_owned(), timeout, file: file_at(path), has_records: true })
    }

    /// Opens the database for reading and writes nothing at all, not even a `-wal`
    /// or `-shm` file. `None`: there is no file. In another program's database
    /// every row is unmanaged.
    ///
    /// Use the result only briefly: a database that nobody has open is read without
    /// locks.
    ///
    /// # Errors
    /// Those of [`Database::open`], and [`Problem::UncleanLog`].
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, DatabaseError> {
        let open = || {
            let Some(way) = way_of_reading(path)? else { return Ok(None) };
            let connection = Connection::open_with_flags(
                uri(path, way)?,
                flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI),
            )?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version = migrations::version(&connection)?;
            migrations::check_version(version)?;
            Table::read(&connection)?;
            Ok(Some((connection, version > 0)))
        };
        let opened = open().map_err(|problem| DatabaseError::new(path, BUSY_TIMEOUT, problem))?;
        Ok(opened.map(|(connection, has_records)| Self {
            connection,
            path: path.to_owned(),
            timeout: BUSY_TIMEOUT,
            file: file_at(path),
            has_records,
        }))
    }
}

/// Prepares an open file for work: sound, in WAL mode, up to date.
fn prepare(connection: &Connection, path: &Path, timeout: Duration) -> Result<(), Problem> {
    connection.busy_timeout(timeout)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(Problem::ReadOnly);
    }
    migrations::check_version(migrations::version(connection)?)?;
    // A foreign file is refused before anything is written to it.
    Table::read(connection)?;
    // The check comes before any write.
    let found_sound = check::if_due(connection, path)?;
    use_wal(connection, timeout)?;
    reach(Point::DatabaseInWal);
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // A big commit keeps its pages until it ends. Reading needs no more than
    // SQLite's usual 2 MB, because it goes through each table once.
    connection.pragma_update(None, "cache_spill", false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // This build of SQLite enforces foreign keys, other clients do not by default.
    // Deleting a model must delete only its row.
    connection.pragma_update(None, "foreign_keys", false)?;
    migrations::migrate(connection, path)?;
    if let Some(found_sound) = found_sound {
        found_sound.remember(connection, timeout)?;
    }
    Ok(())
}

/// Creates the file if it is missing. SQLite gives `-wal` and `-shm` the same
/// permissions.
fn create(path: &Path) -> Result<(), Problem> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::AlreadyExists => match fs::metadata(path) {
                Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                    Err(Problem::CannotOpen("it is not a regular file".to_owned()))
                }
                // SQLite reports the rest.
                _ => Ok(()),
            },
            ErrorKind::NotFound => Err(Problem::NoDirectory(path.parent().unwrap_or(Path::new(".")).to_owned())),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Err(Problem::ReadOnly),
            ErrorKind::StorageFull => Err(Problem::DiskFull),
            _ => Err(Problem::CannotOpen(error.to_string())),
        },
    }
}

/// Another connection may briefly hold a lock; SQLite's busy handler does not cover
/// every step of the switch.
fn use_wal(connection: &Connection, timeout: Duration) -> Result<(), Problem> {
    let started = Instant::now();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = wal", [], |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => return Err(Problem::NoWal { mode }),
            Err(error) if busy(&error) && started.elapsed() < timeout => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A way to read without writing; see the table at the top.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Immutable,
}

/// Chooses how to read; `None`: there is no file.
fn way_of_reading(path: &Path) -> Result<Option<Way>, Problem> {
    let wal = size(&beside(path, "-wal"))?;
    let shm = size(&beside(path, "-shm"))?;
    if size(path)?.is_some() && wal.is_some() && shm.is_some() {
        return Ok(Some(Way::Plain));
    }
    let wal_mode = match is_wal(path) {
        Ok(wal_mode) => wal_mode,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::CannotOpen(error.to_string())),
    };
    Ok(Some(match (wal_mode, wal, shm) {
        (false, _, _) | (true, Some(_), Some(_)) => Way::Plain,
        (true, None | Some(0), _) => Way::Immutable,
        (true, Some(_), None) => return Err(Problem::UncleanLog),
    }))
}

/// Whether the header says WAL: bytes 18 and 19 are the file format's write and
/// read version, 2 for WAL (sqlite.org/fileformat2.html, 1.3.3).
fn is_wal(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    regular::open(path)?.0.take(20).read_to_end(&mut header)?;
    Ok(header.starts_with(b"SQLite format 3\0") && header.get(18..20) == Some(&[2, 2]))
}

/// Returns the path as a SQLite URI, with every special byte escaped.
fn uri(path: &Path, way: Way) -> Result<String, Problem> {
    use std::fmt::Write;
    let mut uri = String::from("file:");
    for byte in absolute(path)?.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri.push_str(match way {
        Way::Plain => "?mode=ro",
        Way::Immutable => "?mode=ro&immutable=1",
    });
    Ok(uri)
}
