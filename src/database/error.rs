//! Everything that can go wrong with the database. Each message names the file,
//! what is different, and the next step.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

use super::file::Location;

/// A problem of one database file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct DatabaseError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

impl DatabaseError {
    /// `timeout` is how long SQLite waited for a lock.
    pub(super) fn new(path: &Path, timeout: Duration, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem: problem.classified(timeout) }
    }

    /// Adapts the error to a file at `location`: in herdsman's own place, a file
    /// that is not a database is a damaged one.
    #[must_use]
    pub fn at(self, location: Location) -> Self {
        match self.problem {
            Problem::NotADatabase if location == Location::Own => {
                Self { problem: Problem::Damaged("it does not begin as a SQLite database".to_owned()), ..self }
            }
            _ => self,
        }
    }

    /// Whether a full check found the file sound.
    #[must_use]
    pub fn is_misread(&self) -> bool {
        matches!(self.problem, Problem::Misread(_))
    }

    /// Whether the file may be damaged: the case for [`super::Database::replace`].
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.problem.is_damage()
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation, and the fields are what they name")]
pub enum Problem {
    #[error("the directory {} does not exist; create it, or use another database with --database", .0.display())]
    NoDirectory(PathBuf),
    #[error(
        "cannot open the database ({0}); check that it is a file, and that this user can read and write it and its directory"
    )]
    CannotOpen(String),
    #[error("this file is not a SQLite database; move it away, or use another with --database")]
    NotADatabase,
    #[error(
        "the database is damaged ({0}); restore it from a backup, or let `herdsman reconcile` or a watcher set it aside, create a new one and adopt the running servers"
    )]
    Damaged(String),
    #[error(
        "the database is damaged, and herdsman left it alone because nothing in it shows that it is herdsman's; repair it with `sqlite3 FILE .recover`, or use another with --database"
    )]
    DamagedForeign,
    #[error(
        "SQLite reports the database as damaged ({0}), but a full check found nothing wrong, so herdsman left it alone; if this persists, its schema may be damaged or a newer SQLite may have written it: move it away, herdsman finds its running servers without it"
    )]
    Misread(String),
    #[error(
        "the database is damaged again, and {most} damaged copies already exist ({}), so herdsman left it alone; check this machine's disk and memory, then move the copies away", files.display()
    )]
    OftenDamaged { files: PathBuf, most: usize },
    #[error(
        "the database is damaged, and herdsman cannot set it aside: {}: {reason}; make its directory writable for this user, or move it away yourself", path.display()
    )]
    CannotSetAside { path: PathBuf, reason: String },
    #[error(
        "cannot back up the database before upgrading its tables: {}: {reason}; nothing was changed; make its directory writable for this user", path.display()
    )]
    Backup { path: PathBuf, reason: String },
    #[error(
        "cannot upgrade its tables from schema version {found} to {to}: {problem}; nothing was changed, and the herdsman that wrote it can still use it"
    )]
    Migration { found: i64, to: i64, problem: Box<Problem> },
    #[error(
        "the database or its directory is read-only; make both writable for this user, or use another with --database"
    )]
    ReadOnly,
    #[error("another program has held the database locked for {}; find it with `fuser` or `lsof`, end its transaction and try again", Waited(*waited))]
    Locked { waited: Duration },
    #[error("the disk is full; nothing was recorded; free some space and try again")]
    DiskFull,
    #[error("reading or writing failed ({0}); check the disk and its free space, and try again")]
    Io(String),
    #[error(
        "the file system supports only the journal mode `{mode}`, but herdsman needs `wal`; put the database on a local disk with --database"
    )]
    NoWal { mode: String },
    #[error(
        "its write-ahead log contains commits but its -shm file is missing, so reading it would mean writing; run `herdsman reconcile` once to recover it"
    )]
    UncleanLog,
    #[error(
        "`models` is a {kind}, but must be an ordinary table with row ids because other programs create indexes on it; rename it, or use another database with --database"
    )]
    NotATable { kind: String },
    #[error("the table `models` is missing; run `herdsman reconcile` to create it again")]
    NoModelsTable,
    #[error("the table `models` lacks the column{} {}; it does not follow the contract; use another database with --database", if .0.len() == 1 { "" } else { "s" }, Listed(.0))]
    MissingColumns(Vec<String>),
    #[error(
        "the column `models.id` is `{found}`, but herdsman needs `INTEGER PRIMARY KEY`; migrate the table, or use another database with --database"
    )]
    IdType { found: String },
    #[error("a newer herdsman wrote it (schema version {found}, this one supports up to {known}); run the newer one")]
    NewerSchema { found: i64, known: i64 },
    #[error("no model has the id {id}; `herdsman models list` shows all models")]
    UnknownId { id: i64 },
    #[error("`models` has no column `{field}`{}", DidYouMean(.nearest))]
    UnknownField { field: String, nearest: Option<String> },
    #[error("`{field}` cannot be set: {why}")]
    FixedField { field: String, why: &'static str },
    #[error("a model needs the field `{field}`")]
    MissingField { field: &'static str },
    #[error("`{column}` cannot be {found}; it takes {expected}")]
    InvalidValue { column: String, found: String, expected: String },
    #[error("the model with id {id} already has the name `{name}`; choose another, or delete that row")]
    NameTaken { name: String, id: i64 },
    #[error("the rows {} share the name `{name}`; use an id, and give each row its own name", Ids(.ids))]
    DuplicateName { name: String, ids: Vec<i64> },
    #[error("the next id would be {id}, beyond 2^53; renumber the table")]
    IdTooLarge { id: i64 },
    #[error("the database has no model `{0}`; run `herdsman reconcile` again")]
    UnknownModel(String),
    #[error("the database has no generation {number} of `{model}`; run `herdsman reconcile` again")]
    UnknownGeneration { model: String, number: u32 },
    #[error("the model `{0}` was recorded without a generation; this is a bug in herdsman, please report it")]
    NoGeneration(String),
    #[error(
        "cannot read the record `{key}` in `{table}` ({reason}); someone edited it: restore a backup, or delete that row"
    )]
    Unreadable { table: &'static str, key: String, reason: String },
    #[error(
        "a constraint of the database forbids this ({0}); nothing was recorded; check its constraints and triggers"
    )]
    Constraint(String),
    #[error("SQLite: {0}; nothing was recorded")]
    Sqlite(rusqlite::Error),
}

impl Problem {
    /// Replaces SQLite's own errors by herdsman's.
    fn classified(self, timeout: Duration) -> Self {
        let error = match self {
            Self::Sqlite(error) => error,
            Self::Migration { found, to, problem } => {
                return Self::Migration { found, to, problem: Box::new(problem.classified(timeout)) };
            }
            other => return other,
        };
        let Some(code) = error.sqlite_error_code() else { return Self::Sqlite(error) };
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { waited: timeout },
            ErrorCode::DiskFull => Self::DiskFull,
            ErrorCode::SystemIoFailure => Self::Io(error.to_string()),
            ErrorCode::NotADatabase => Self::NotADatabase,
            ErrorCode::DatabaseCorrupt => Self::Damaged(error.to_string()),
            ErrorCode::ReadOnly => Self::ReadOnly,
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::CannotOpen(error.to_string()),
            ErrorCode::ConstraintViolation => Self::Constraint(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

impl Problem {
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::NotADatabase => true,
            Self::Sqlite(error) => super::check::is_damage(error),
            Self::Migration { problem, .. } => problem.is_damage(),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// `5 s`, `250 ms`.
struct Waited(Duration);

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(f, "{} ms", self.0.as_millis()),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

/// `` `a`, `b` ``.
struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// `3, 7`.
struct Ids<'a>(&'a [i64]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// `; did you mean …?`, or where to find the columns.
struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => f.write_str("; `PRAGMA table_info(models)` lists its columns"),
        }
    }
}
