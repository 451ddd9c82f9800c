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
//! | `check`, `damage`, `salvage` | whether the file is sound; a damaged one is set aside, and what is kept of it |
//! | `file` | the file and those beside it: paths, names, sizes |
//! | `backup` | the copy before a migration |
//! | `migrations`, `table` | herdsman's own tables; the table others share with us |
//! | `columns`, `config`, `drift` | which columns herdsman owns, what it writes there, what others changed |
//! | `locate` | which row is a managed model's, whatever other clients did |
//! | `records`, `instances`, `events`, `generations`, `overrides` | reading back |
//! | `notifications` | what others were told, and what is still to be delivered |
//! | `applied` | the saved plans that were applied, each at most once |
//! | `changes`, `managed` | writing: herdsman's own tables, and the shared row of a managed model |
//! | `fields` | reading single fields strictly, so that an edited record is an error that names it |
//! | `models`, `row`, `convert`, `words` | the five functions of the contract, a row, the two vocabularies |
//! | `stated` | what a row says beyond defaults, for `import` |
//!
//! Invariants:
//! - One commit is one immediate transaction: all of it or none.
//! - No value is ever spliced into SQL; column names come from the table itself.
//! - herdsman writes only the columns it owns and never `hf_token`.
//! - Every error names the file, what is different, and the next step.
//! - No file is deleted but backups herdsman made; a damaged one is renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::{Map, Value as Json};

use file::file_at;

use crate::model::{Change, Channel, EventRecord, GenerationRecord, ModelName, Records, Timestamp};
use crate::notify::Known;
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
/// [`Database::data_version`] tells other programs' commits from our own.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// How long SQLite waits for another writer, for the error to say.
    timeout: Duration,
    /// Device and inode of the file that was opened; `None` if it was gone again.
    file: Option<(u64, u64)>,
    /// Whether herdsman's own tables are there: always, but for a database of
    /// another program opened read-only.
    has_records: bool,
}

impl Database {
    /// Everything the planner needs, read in one snapshot.
    ///
    /// # Errors
    /// The file cannot be read, or a record in it is not what herdsman wrote.
    pub fn records(&self) -> Result<Records, DatabaseError> {
        self.read(|connection| records::load(connection, self.has_records))
    }

    /// Records `changes`, all or none, in one immediate transaction. No
    /// changes, no transaction.
    ///
    /// # Errors
    /// [`Problem::Locked`] when another program writes for too long, and
    /// whatever makes one of the changes impossible; nothing is written then.
    pub fn commit(&mut self, changes: &[Change], now: Timestamp) -> Result<(), DatabaseError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write(|connection| changes::apply(connection, changes, now))
    }

    /// A number that changes when another connection has committed, and not
    /// when this one has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn data_version(&self) -> Result<i64, DatabaseError> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|error| self.error(error.into()))
    }

    /// The newest `limit` lines of the history, newest first; of one model or
    /// of all. Deleted models keep theirs.
    ///
    /// # Errors
    /// The file cannot be read, or an event in it is not what herdsman wrote.
    pub fn events(&self, model: Option<&ModelName>, limit: u32) -> Result<Vec<EventRecord>, DatabaseError> {
        if !self.has_records {
            return Ok(Vec::new());
        }
        self.read(|connection| events::load(connection, model, limit))
    }

    /// Every generation of a model, newest first. A deleted model has none.
    ///
    /// # Errors
    /// The file cannot be read, or a generation in it is not what herdsman wrote.
    pub fn generations(&self, model: &ModelName) -> Result<Vec<GenerationRecord>, DatabaseError> {
        if !self.has_records {
            return Ok(Vec::new());
        }
        self.read(|connection| generations::load(connection, model))
    }

    /// Every name anything is recorded under: models, rows of other programs,
    /// and deleted models that have a history.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, DatabaseError> {
        self.read(|connection| models::names(connection, self.has_records))
    }

    /// When the saved plan of this id was applied; `None`: it was not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn applied_plan(&self, id: &str) -> Result<Option<Applied>, DatabaseError> {
        if !self.has_records {
            return Ok(None);
        }
        self.read(|connection| applied::find(connection, id))
    }

    /// Records that the saved plan of this id is about to be applied; if it
    /// was before, says when and records nothing.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn begin_plan(&mut self, id: &str, now: Timestamp) -> Result<Option<Applied>, DatabaseError> {
        self.write(|connection| applied::begin(connection, id, now))
    }

    /// Records that a saved plan was applied to its end.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn end_plan(&mut self, id: &str, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| applied::end(connection, id, now))
    }

    /// How often herdsman started each model's server again by itself, because
    /// it had died or hung, in the history that is kept; only models with any.
    ///
    /// # Errors
    /// The file cannot be read, or the reasons of an event are not JSON.
    pub fn restarts(&self) -> Result<BTreeMap<String, u32>, DatabaseError> {
        if !self.has_records {
            return Ok(BTreeMap::new());
        }
        self.read(events::restarts)
    }

    /// What others were told of.
    ///
    /// # Errors
    /// The file cannot be read, or a trouble in it is not what herdsman wrote.
    pub fn told(&self) -> Result<Known, DatabaseError> {
        self.read(notifications::known)
    }

    /// The oldest notification that is to be delivered by `channel`, due or not.
    ///
    /// # Errors
    /// The file cannot be read, or the row is not what herdsman wrote.
    pub fn next_delivery(&self, channel: Channel) -> Result<Option<Delivery>, DatabaseError> {
        self.read(|connection| notifications::next(connection, channel))
    }

    /// Records how the delivery of a row went.
    ///
    /// # Errors
    /// As [`Database::commit`].
    pub fn settle_delivery(&mut self, number: i64, how: &Delivered, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| notifications::settle(connection, number, how, now))
    }

    /// What has not been delivered, and was not given up too long ago. Nothing,
    /// in the database of a herdsman that told nobody.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn undelivered(&self, now: Timestamp) -> Result<Undelivered, DatabaseError> {
        self.read(|connection| match migrations::version(connection)? {
            0 | 1 => Ok(Undelivered::default()),
            _ => notifications::undelivered(connection, now),
        })
    }

    /// When herdsman last recorded a status of `model`: the age of a status
    /// that cannot be confirmed. `None`: never, or not a managed model.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn status_recorded_at(&self, model: &ModelName) -> Result<Option<Timestamp>, DatabaseError> {
        if !self.has_records {
            return Ok(None);
        }
        self.read(|connection| records::status_recorded_at(connection, model))
    }

    /// All rows that pass `filter`, newest `created_at` first, ties by id,
    /// newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get_models(&self, filter: &ModelFilter) -> Result<Vec<ModelRow>, DatabaseError> {
        self.read(|connection| models::list(connection, filter))
    }

    /// The row with this id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get_model_by_id(&self, id: i64) -> Result<Option<ModelRow>, DatabaseError> {
        self.read(|connection| models::by_id(connection, id))
    }

    /// The row with exactly this name.
    ///
    /// # Errors
    /// The file cannot be read, or several rows have the name
    /// ([`Problem::DuplicateName`]): none is picked silently.
    pub fn get_model_by_name(&self, name: &str) -> Result<Option<ModelRow>, DatabaseError> {
        self.read(|connection| models::by_name(connection, name))
    }

    /// Inserts a row and returns its id. Fields not given take the contract's
    /// defaults, the type `llama`, the status `stopped` and `now` for both
    /// timestamps; `name` must be given.
    ///
    /// # Errors
    /// The name is taken or missing, a field is unknown, not for this
    /// function to set (`id`, `hf_token`) or of the wrong kind.
    pub fn save_model(&mut self, model: &Fields, now: Timestamp) -> Result<i64, DatabaseError> {
        self.write(|connection| models::save(connection, model, now))
    }

    /// Changes just the given fields of a row and bumps `updated_at`.
    ///
    /// # Errors
    /// No row has the id, or a field is unknown, not to be changed (`id`,
    /// `created_at`, `updated_at`, `hf_token`) or of the wrong kind.
    pub fn update_model(&mut self, id: i64, updates: &Fields, now: Timestamp) -> Result<(), DatabaseError> {
        self.write(|connection| models::update(connection, id, updates, now))
    }

    /// Deletes the row. What herdsman keeps of the model stays.
    ///
    /// # Errors
    /// No row has the id.
    pub fn delete_model(&mut self, id: i64) -> Result<(), DatabaseError> {
        self.write(|connection| models::delete(connection, id))
    }

    /// What a row states about its model, by llama-server's names of options:
    /// its `parameters`, and every other column that holds something else than
    /// the default of the table or of the contract. `hf_token` is not in it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stated(&self, row: &ModelRow) -> Result<Map<String, Json>, DatabaseError> {
        self.read(|connection| Ok(stated::of(row, &stated::defaults(connection)?)))
    }

    /// Names that several rows share, with the ids of those rows: only in a
    /// database of another program, and left alone.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn duplicate_names(&self) -> Result<Vec<(String, Vec<i64>)>, DatabaseError> {
        self.read(models::duplicate_names)
    }

    /// Whether the file that was opened is still the one at its path: whoever
    /// deletes or replaces a database takes it away from those that have it
    /// open, who would go on writing to what nobody else sees.
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
