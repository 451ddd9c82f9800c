//! RECORDED: the SQLite file.
//!
//! ```text
//!   records()  ->  model::Records          what a plan is made from
//!   commit(&[model::Change], now)          what a pass writes, one transaction
//!   get_models, save_model, …              the contract of the shared table `models`
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `open` | opening for writing and for reading without a trace |
//! | `check`, `damage`, `salvage` | whether the file is sound; sets a damaged one aside, and keeps what it can of it |
//! | `file` | the file and those beside it: paths, names, sizes |
//! | `backup` | the copy before a migration |
//! | `migrations`, `table` | herdsman's own tables; the table others share with us |
//! | `columns`, `config`, `drift` | which columns herdsman owns, what it writes there, what others changed |
//! | `locate` | which row belongs to a managed model, whatever other clients did |
//! | `records`, `instances`, `events`, `generations`, `overrides` | reading back |
//! | `notifications` | notifications sent and pending |
//! | `applied` | the saved plans that were applied, each at most once |
//! | `changes`, `managed` | writing: herdsman's own tables, and the shared row of a managed model |
//! | `fields` | reading single fields strictly, so that an edited record is an error that names it |
//! | `models`, `row`, `convert`, `words` | the five functions of the contract, a row, the two vocabularies |
//! | `stated` | what a row sets beyond defaults, for `import` |
//!
//! Invariants:
//! - One commit is one immediate transaction: all of it or none.
//! - Values are never spliced into SQL; column names come from the table itself.
//! - herdsman writes only the columns it owns and never `hf_token`.
//! - Every error names the file, what is different, and the next step.
//! - herdsman deletes no file except its own backups; it renames a damaged one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::{Map, Value as Json};

use file::file_at;

use crate::model::{Announced, Change, Channel, EventRecord, GenerationRecord, ModelName, Records, Timestamp};

use crate::sys::failpoint::{Point, reach};

mod applied;
mod backup;
mod changes;
mod check;
mod columns;
mod config;
pub mod convert;
mod damage;
mod drift;
mod error;
mod events;
mod fields;
mod file;
mod generations;
mod instances;
mod locate;
mod managed;
mod migrations;
mod models;
mod notifications;
mod open;
mod overrides;
mod records;
mod row;
mod salvage;
mod stated;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use applied::Applied;
pub use damage::SetAside;
pub use error::{DatabaseError, Problem};
pub use file::Location;
pub use models::{Fields, ModelFilter};
pub use notifications::{Delivered, Delivery, Undelivered};
pub use row::{ColumnValue, ModelRow};

/// An open database.
///
/// Not shared between threads: a process has one writing connection, so that
/// [`Database::data_version`] distinguishes other programs' commits from our own.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// How long SQLite waits for another writer, for error messages.
    timeout: Duration,
    /// Device and inode of the opened file; `None` if it had already disappeared.
    file: Option<(u64, u64)>,
    /// Whether herdsman's own tables exist: always, except for another program's
    /// database opened read-only.
    has_records: bool,
}

impl Database {
    /// Reads everything the planner needs, in one snapshot.
    ///
    /// # Errors
    /// The file cannot be read, or a record in it is not what herdsman wrote.
    pub fn records(&self) -> Result<Records, DatabaseError> {
        self.read(|connection| records::load(connection, self.has_records))
    }

    /// Records `changes`, all or none, in one immediate transaction; without
    /// changes, it starts none.
    ///
    /// # Errors
    /// [`Problem::Locked`] if another program writes for too long, and whatever
    /// makes one of the changes impossible; nothing is written then.
    pub fn commit(&mut self, changes: &[Change], now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| changes::apply(connection, changes, now))
    }

    /// Returns a number that changes when another connection commits, but not when
    /// this one does.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn data_version(&self) -> Result<i64, DatabaseError> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|error| self.error(error.into()))
    }

    /// Reads the newest `limit` events of one model or of all, newest first.
    /// Deleted models keep theirs.
    ///
    /// # Errors
    /// The file cannot be read, or an event in it is not what herdsman wrote.
    pub fn events(&self, model: Option<&ModelName>, limit: u32) -> Result<Vec<EventRecord>, DatabaseError> {
        if !self.has_records {
            return Ok(Vec::new());
        }
        self.read(|connection| events::load(connection, model, limit))
    }

    /// Reads every generation of a model, newest first. A deleted model has none.
    ///
    /// # Errors
    /// The file cannot be read, or a generation in it is not what herdsman wrote.
    pub fn generations(&self, model: &ModelName) -> Result<Vec<GenerationRecord>, DatabaseError> {
        if !self.has_records {
            return Ok(Vec::new());
        }
        self.read(|connection| generations::load(connection, model))
    }

    /// Returns every recorded name: models, rows of other programs, and deleted
    /// models with a history.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, DatabaseError> {
        self.read(|connection| models::names(connection, self.has_records))
    }

    /// Returns when the saved plan with this id was applied; `None`: it was not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn applied_plan(&self, id: &str) -> Result<Option<Applied>, DatabaseError> {
        if !self.has_records {
            return Ok(None);
        }
        self.read(|connection| applied::find(connection, id))
    }

    /// Records that the saved plan with this id is about to be applied; if it was
    /// already, returns when, and records nothing.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn begin_plan(&mut self, id: &str, now: Timestamp) -> Result<Option<Applied>, DatabaseError> {
        self.write(|connection| applied::begin(connection, id, now))
    }

    /// Records that a saved plan was applied completely.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn end_plan(&mut self, id: &str, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| applied::end(connection, id, now))
    }

    /// Returns how often herdsman restarted each model's server because it had died
    /// or hung, according to the history; only models with any.
    ///
    /// # Errors
    /// The file cannot be read, or the reasons of an event are not JSON.
    pub fn restarts(&self) -> Result<BTreeMap<String, u32>, DatabaseError> {
        if !self.has_records {
            return Ok(BTreeMap::new());
        }
        self.read(events::restarts)
    }

    /// Returns the troubles that others know about.
    ///
    /// # Errors
    /// The file cannot be read, or a trouble in it is not what herdsman wrote.
    pub fn announced(&self) -> Result<Announced, DatabaseError> {
        self.read(notifications::known)
    }

    /// Returns the oldest notification to be delivered by `channel`, due or not.
    ///
    /// # Errors
    /// The file cannot be read, or the row is not what herdsman wrote.
    pub fn next_delivery(&self, channel: Channel) -> Result<Option<Delivery>, DatabaseError> {
        self.read(|connection| notifications::next(connection, channel))
    }

    /// Records the result of a delivery.
    ///
    /// # Errors
    /// As [`Database::commit`].
    pub fn settle_delivery(&mut self, number: i64, how: &Delivered, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| notifications::settle(connection, number, how, now))
    }

    /// Returns what is undelivered, or was recently given up. A database that has
    /// never notified anybody has none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn undelivered(&self, now: Timestamp) -> Result<Undelivered, DatabaseError> {
        self.read(|connection| match migrations::version(connection)? {
            0 | 1 => Ok(Undelivered::default()),
            _ => notifications::undelivered(connection, now),
        })
    }

    /// Returns when herdsman last recorded a status of `model`: the age of a status
    /// that cannot be confirmed. `None`: never, or it is not a managed model.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn status_recorded_at(&self, model: &ModelName) -> Result<Option<Timestamp>, DatabaseError> {
        if !self.has_records {
            return Ok(None);
        }
        self.read(|connection| records::status_recorded_at(connection, model))
    }

    /// Returns all rows that pass `filter`, newest `created_at` first, ties by id,
    /// newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get_models(&self, filter: &ModelFilter) -> Result<Vec<ModelRow>, DatabaseError> {
        self.read(|connection| models::list(connection, filter))
    }

    /// Returns the row with this id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get_model_by_id(&self, id: i64) -> Result<Option<ModelRow>, DatabaseError> {
        self.read(|connection| models::by_id(connection, id))
    }

    /// Returns the row with exactly this name.
    ///
    /// # Errors
    /// The file cannot be read, or several rows have the name
    /// ([`Problem::DuplicateName`]): none is silently picked.
    pub fn get_model_by_name(&self, name: &str) -> Result<Option<ModelRow>, DatabaseError> {
        self.read(|connection| models::by_name(connection, name))
    }

    /// Inserts a row and returns its id. Missing fields get the contract's
    /// defaults, the type `llama`, the status `stopped` and `now` for both
    /// timestamps; `name` is required.
    ///
    /// # Errors
    /// The name is taken or missing, or a field is unknown, cannot be set here
    /// (`id`, `hf_token`) or has the wrong type.
    pub fn save_model(&mut self, model: &Fields, now: Timestamp) -> Result<i64, DatabaseError> {
        self.write(|connection| models::save(connection, model, now))
    }

    /// Changes only the given fields of a row, and sets `updated_at`.
    ///
    /// # Errors
    /// No row has the id, or a field is unknown, cannot be changed (`id`,
    /// `created_at`, `updated_at`, `hf_token`) or has the wrong type.
    pub fn update_model(&mut self, id: i64, updates: &Fields, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| models::update(connection, id, updates, now))
    }

    /// Deletes the row, but nothing of what herdsman keeps about the model.
    ///
    /// # Errors
    /// No row has the id.
    pub fn delete_model(&mut self, id: i64) -> Result<(), DatabaseError> {
        self.write(|connection| models::delete(connection, id))
    }

    /// Returns what a row sets for its model, by llama-server's option names: its
    /// `parameters`, and every other column that differs from the default of the
    /// table and of the contract. `hf_token` is not included.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stated(&self, row: &ModelRow) -> Result<Map<String, Json>, DatabaseError> {
        self.read(|connection| Ok(stated::of(row, &stated::defaults(connection)?)))
    }

    /// Returns names that several rows share, with the ids of those rows: only in
    /// another program's database, and left alone.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn duplicate_names(&self) -> Result<Vec<(String, Vec<i64>)>, DatabaseError> {
        self.read(models::duplicate_names)
    }

    /// Whether the opened file is still the one at its path. Deleting or replacing
    /// a database takes it away from the processes that have it open: they would go
    /// on writing to a file that nobody else sees.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.file.is_some() && file_at(&self.path) == self.file
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `read` on one snapshot.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Problem>) -> Result<T, DatabaseError> {
        let run = || {
            let transaction = self.connection.unchecked_transaction()?;
            read(&transaction)
        };
        run().map_err(|problem| self.error(problem))
    }

    /// Runs `write` in one immediate transaction, rolled back on an error.
    fn write<T>(&mut self, write: impl FnOnce(&Connection) -> Result<T, Problem>) -> Result<T, DatabaseError> {
        let connection = &self.connection;
        let run = || {
            reach(Point::CommitBegin);
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            reach(Point::CommitInside);
            transaction.commit()?;
            reach(Point::Committed);
            Ok(value)
        };
        run().map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: Problem) -> DatabaseError {
        DatabaseError::new(&self.path, self.timeout, problem)
    }
}
