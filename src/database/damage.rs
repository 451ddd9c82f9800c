//! What happens to a damaged database: herdsman sets it aside, unchanged, and puts
//! a new one in its place.
//!
//! ```text
//!   suspicion                   a check at opening, or an SQLite error in a pass
//!     -> is it herdsman's?      otherwise it is refused and left alone
//!     -> is it damaged?         a separate connection reads all of it again
//!     -> build the new one      beside it, with what can be read (`salvage`)
//!     -> set aside -wal, -shm, then the file    herdsman.db.corrupt-20261123T080000Z…
//!     -> the new one in its place
//! ```
//!
//! Invariants:
//! - Only a damaged file is set aside: not one that is locked, that the disk cannot
//!   read, or that only a newer SQLite understands.
//! - A file that is not herdsman's is not even opened for writing.
//! - herdsman may be killed anywhere: the next pass opens whatever is there then.
//!   The file goes last, because SQLite deletes a log without its database.
//! - Only under the pass lock. Other processes that have the file open keep it:
//!   SQLite touches neither the log nor the file of a database that was moved.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::file::{BUSY_TIMEOUT, EMPTIED, Location, absolute, beside, file_at, flags, is_emptied, timestamp};
use super::salvage::{self, Salvaged};
use super::{Database, DatabaseError, Problem, check};
use crate::model::text::count;

/// A damaged database that was set aside; displays as a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where the new database is now, and the damaged one was.
    pub path: PathBuf,
    /// Where the damaged one is now, with its `-wal` and `-shm`.
    pub to: PathBuf,
    /// What is wrong with it.
    pub fault: String,
    /// How many rows of `models` the new one kept.
    pub rows: usize,
    /// Whether the new one kept all of herdsman's records.
    pub records: bool,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, to, fault, rows, records } = self;
        let rows = match rows {
            0 => "no rows of `models`".to_owned(),
            rows => format!("{} of `models`", count(*rows, "row")),
        };
        let (kept, lost) = match records {
            true => ("all of herdsman's records", ""),
            false => (
                "running servers with their ports",
                "crash counts, former and failed generations, ports of stopped models, ",
            ),
        };
        let (path, to) = (path.display(), to.display());
        write!(
            f,
            "{path}: the database was damaged ({fault}), so herdsman moved it to {to} and created a new one. \
             Kept: {kept}, {rows}. Lost: {lost}unreadable history and rows, the tables of other programs. \
             `sqlite3 {to} .recover` shows what is left in it; check the disk"
        )
    }
}

/// More damaged files than this mean that something damages every new one, too:
/// another would only fill the disk.
const MOST_SET_ASIDE: usize = 10;

/// The suffixes of a database's files, in the order they are set aside.
pub(super) const PARTS: [&str; 3] = ["-wal", "-shm", ""];

impl Database {
    /// Opens the database as [`Database::open`] does; a damaged database of
    /// herdsman's is set aside and replaced. Call this under the lock of the pass.
    ///
    /// # Errors
    /// As [`Database::open`] and [`Database::replace`].
    pub fn open_or_replace(path: &Path, location: Location) -> Result<(Self, Option<SetAside>), DatabaseError> {
        match Self::open(path) {
            Err(error) if error.is_damage() => {
                Self::replace(path, location).map(|(database, aside)| (database, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Sets a damaged database aside and creates a new one, after checking all of
    /// it. Call this under the lock of the pass.
    ///
    /// # Errors
    /// [`Problem::NotADatabase`], [`Problem::DamagedForeign`]: it is not
    /// herdsman's. [`Problem::Misread`]: it is sound. [`Problem::OftenDamaged`]. It
    /// cannot be read or renamed, or the new one cannot be created.
    pub fn replace(path: &Path, location: Location) -> Result<(Self, SetAside), DatabaseError> {
        let aside = set_aside(path, location).map_err(|problem| DatabaseError::new(path, BUSY_TIMEOUT, problem))?;
        Ok((Self::open(path)?, aside))
    }

    /// Checks, by reading alone, whether [`Database::replace`] would set the file
    /// aside.
    ///
    /// # Errors
    /// As [`Database::replace`].
    pub fn is_replaceable(path: &Path, location: Location) -> Result<(), DatabaseError> {
        require_own(path, location).map_err(|problem| DatabaseError::new(path, BUSY_TIMEOUT, problem))
    }
}

fn set_aside(path: &Path, location: Location) -> Result<SetAside, Problem> {
    require_own(path, location)?;
    let before = fs::metadata(path).map_err(in_the_way(path))?;
    let (connection, fault) = confirm(path)?;
    let to = free_name(path)?;
    let (new, Salvaged { rows, records }) = rebuild(path, &before, connection.as_ref())?;
    if file_at(path) != Some((before.dev(), before.ino())) {
        // Somebody else was faster, and the current file is theirs.
        return Err(Problem::Misread("another file has replaced it".to_owned()));
    }
    for part in PARTS {
        match fs::rename(beside(path, part), beside(&to, part)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(in_the_way(path)(error)),
            _ => {}
        }
    }
    fs::rename(&new, path).map_err(in_the_way(path))?;
    drop(connection);
    Ok(SetAside { path: path.to_owned(), to, fault, rows, records })
}

/// Refuses a file that is not herdsman's.
fn require_own(path: &Path, location: Location) -> Result<(), Problem> {
    if location == Location::Own {
        return Ok(());
    }
    let log = beside(path, "-wal");
    let is_sqlite = begins_with(path, b"SQLite format 3\0")? || is_emptied(path)? && begins_with(&log, &WAL_MAGIC)?;
    if !is_sqlite {
        return Err(Problem::NotADatabase);
    }
    // The text of the schema, wherever it is in the file.
    let ours = b"CREATE TABLE herdsman_";
    if contains(path, ours)? || contains(&log, ours)? { Ok(()) } else { Err(Problem::DamagedForeign) }
}

/// sqlite.org/fileformat2.html, 4.1; the last byte gives the byte order.
const WAL_MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];

/// Checks all of the file through a connection that changes nothing; returns that
/// connection, if there can be one, and the first fault.
fn confirm(path: &Path) -> Result<(Option<Connection>, String), Problem> {
    if is_emptied(path)? {
        return Ok((None, EMPTIED.to_owned()));
    }
    let connection = Connection::open_with_flags(absolute(path)?, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    // Its log must be set aside as it is, not written into the file.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Reads as much as possible of a schema that is only partly readable.
    connection.pragma_update(None, "writable_schema", true)?;
    match check::first_fault(&connection, "integrity_check")? {
        Some(fault) => Ok((Some(connection), fault)),
        None => {
            // Left as any other connection leaves it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Err(Problem::Misread(misread(path)))
        }
    }
}

/// What an ordinary connection says about a sound file.
fn misread(path: &Path) -> String {
    let open = || {
        let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    open().map_or_else(|error: rusqlite::Error| error.to_string(), |_| "it was read while it was changing".to_owned())
}

/// Creates the new database beside the damaged one, with the same owner and
/// permissions and everything that can be read; returns its path, and what that
/// was.
fn rebuild(path: &Path, like: &fs::Metadata, damaged: Option<&Connection>) -> Result<(PathBuf, Salvaged), Problem> {
    let new = beside(path, ".rebuilding");
    for part in ["", "-journal"] {
        // Left by an attempt that was killed.
        match fs::remove_file(beside(&new, part)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(in_the_way(&new)(error)),
            _ => {}
        }
    }
    let make = || {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let mine = file.metadata()?;
        if (mine.uid(), mine.gid()) != (like.uid(), like.gid()) {
            std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o777))
    };
    make().map_err(in_the_way(&new))?;
    let Some(damaged) = damaged else { return Ok((new, Salvaged::default())) };
    let connection = Connection::open_with_flags(absolute(&new)?, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    let salvaged = salvage::salvage(damaged, &connection, &new)?;
    Ok((new, salvaged))
}

/// `herdsman.db.corrupt-20261123T080000Z`, with a number if that exists.
fn free_name(path: &Path) -> Result<PathBuf, Problem> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".corrupt-");
    let mut taken: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(directory).map_err(in_the_way(path))? {
        let name = entry.map_err(in_the_way(path))?.file_name();
        if name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            taken.push(name);
        }
    }
    let is_part = |name: &&OsString| PARTS[..2].iter().any(|part| name.as_encoded_bytes().ends_with(part.as_bytes()));
    if taken.iter().filter(|name| !is_part(name)).count() >= MOST_SET_ASIDE {
        return Err(Problem::OftenDamaged { files: beside(path, ".corrupt-*"), most: MOST_SET_ASIDE });
    }
    let stem = beside(path, &format!(".corrupt-{}", timestamp()));
    let names = std::iter::once(stem.clone()).chain((2..).map(|number| beside(&stem, &format!("-{number}"))));
    let is_free = |name: &PathBuf| PARTS.iter().all(|part| fs::symlink_metadata(beside(name, part)).is_err());
    Ok(names.into_iter().find(is_free).unwrap_or(stem))
}

/// Whether the file starts with `bytes`; a missing file does not.
fn begins_with(path: &Path, bytes: &[u8]) -> Result<bool, Problem> {
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(bytes.len() as u64).read_to_end(&mut head)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(in_the_way(path)(error)),
        _ => Ok(head == bytes),
    }
}

/// Whether the file contains `bytes` anywhere, read piece by piece; a missing file
/// does not.
fn contains(path: &Path, bytes: &[u8]) -> Result<bool, Problem> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(in_the_way(path)(error)),
    };
    let mut piece = Vec::new();
    loop {
        // A possible beginning of them stays for the next piece.
        piece.drain(..piece.len().saturating_sub(bytes.len()));
        if file.by_ref().take(1 << 20).read_to_end(&mut piece).map_err(in_the_way(path))? == 0 {
            return Ok(false);
        }
        if piece.windows(bytes.len()).any(|window| window == bytes) {
            return Ok(true);
        }
    }
}

/// A file that cannot be read, made or renamed.
fn in_the_way(path: &Path) -> impl Fn(io::Error) -> Problem + '_ {
    |error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Problem::DiskFull,
        _ => Problem::CannotSetAside { path: path.to_owned(), reason: error.to_string() },
    }
}
