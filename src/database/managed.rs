//! Writes to the row that other programs share: a managed model is created,
//! changed, runs and is deleted.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::config::{owned_columns, owned_values};
use super::drift::{self, Digester, RowDigest};
use super::fields::{to_json, unreadable, word};
use super::models::{self, Fields};
use super::row::ModelRow;
use super::table::Table;
use super::words::{status_from_word, word_of_status};
use super::{Problem, locate};
use crate::model::{ModelConfig, ModelName, Status, Timestamp};

/// Writes the rows of managed models, any number of them in one transaction.
pub(super) struct Managed<'c> {
    connection: &'c Connection,
    table: &'c Table,
    now: Timestamp,
    /// herdsman's columns of this table, and the query for a row's.
    owned: Vec<&'static str>,
    select_owned: String,
}

/// The record of a model's row.
struct RecordedRow {
    id: i64,
    created_at: Value,
    status: Status,
}

impl<'c> Managed<'c> {
    pub(super) fn new(connection: &'c Connection, table: &'c Table, now: Timestamp) -> Self {
        let owned = owned_columns(table);
        let select_owned = drift::select_owned(&owned);
        Self { connection, table, now, owned, select_owned }
    }

    /// Creates a row, or adopts an unmanaged one in place: its id, `created_at`,
    /// status and unknown columns are kept. A row that no longer has that name is
    /// not adopted.
    pub(super) fn create(&self, config: &ModelConfig, adopt_row: Option<i64>) -> Result<(), Problem> {
        let adopted = match adopt_row {
            Some(id) => models::row(self.connection, self.table, id)?.filter(|row| row.name() == config.name.as_str()),
            None => None,
        };
        // Somebody may have deleted the record and left what belonged to it.
        self.connection
            .prepare_cached("DELETE FROM herdsman_generations WHERE name = ?1")?
            .execute([config.name.as_str()])?;
        let (id, status) = match adopted {
            Some(row) => {
                self.rewrite(config, &row)?;
                (row.id(), row.status())
            }
            None => {
                models::check_name_is_free(self.connection, config.name.as_str())?;
                (self.insert(config, None, Status::Idle)?, Status::Idle)
            }
        };
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO herdsman_models (name, model_id, row_created_at, row_digest, source, state, config,
                 config_digest, status, status_at)
             VALUES (?1, ?2, (SELECT created_at FROM models WHERE id = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        statement.execute(params![
            config.name.as_str(),
            id,
            self.digest(id)?.as_slice(),
            config.source,
            config.state.as_str(),
            to_json(config)?,
            config.digest(),
            status.as_str(),
            self.now.0,
        ])?;
        Ok(())
    }

    /// Rewrites the row's owned columns. A row that someone deleted returns with
    /// its id, unless another row has that id by now.
    pub(super) fn update(&self, config: &ModelConfig) -> Result<(), Problem> {
        let recorded = self.recorded(&config.name)?;
        let row = match self.locate(&config.name, &recorded)? {
            Some(id) => models::row(self.connection, self.table, id)?,
            None => None,
        };
        let id = match row {
            Some(row) => {
                self.rewrite(config, &row)?;
                row.id()
            }
            None => {
                let free = models::row(self.connection, self.table, recorded.id)?.is_none();
                self.insert(config, free.then_some(recorded.id), recorded.status)?
            }
        };
        let mut statement = self.connection.prepare_cached(
            "UPDATE herdsman_models SET model_id = ?2, row_created_at = (SELECT created_at FROM models WHERE id = ?2),
                 row_digest = ?3, source = ?4, state = ?5, config = ?6, config_digest = ?7
             WHERE name = ?1",
        )?;
        statement.execute(params![
            config.name.as_str(),
            id,
            self.digest(id)?.as_slice(),
            config.source,
            config.state.as_str(),
            to_json(config)?,
            config.digest(),
        ])?;
        Ok(())
    }

    /// Writes the row only if its status means something else; a missing row gets
    /// its status when it returns.
    pub(super) fn set_status(&self, model: &ModelName, status: Status, message: Option<&str>) -> Result<(), Problem> {
        let recorded = self.recorded(model)?;
        self.connection
            .prepare_cached(
                "UPDATE herdsman_models SET status = ?2, status_message = ?3, status_at = ?4 WHERE name = ?1",
            )?
            .execute(params![model.as_str(), status.as_str(), message, self.now.0])?;
        if let Some(id) = self.locate(model, &recorded)?
            && self.status_of(id)? != status
        {
            self.connection
                .prepare_cached("UPDATE models SET status = ?2, updated_at = ?3 WHERE id = ?1")?
                .execute(params![id, word_of_status(status), self.now.0])?;
        }
        Ok(())
    }

    /// Deletes the row and everything herdsman keeps about the model except its
    /// events.
    pub(super) fn delete(&self, model: &ModelName) -> Result<(), Problem> {
        let recorded = self.recorded(model)?;
        if let Some(id) = self.locate(model, &recorded)? {
            models::delete(self.connection, id)?;
        }
        for table in ["herdsman_instances", "herdsman_generations", "herdsman_overrides", "herdsman_models"] {
            let delete = format!("DELETE FROM {table} WHERE name = ?1");
            self.connection.prepare_cached(&delete)?.execute([model.as_str()])?;
        }
        Ok(())
    }

    fn recorded(&self, model: &ModelName) -> Result<RecordedRow, Problem> {
        let sql = "SELECT model_id, row_created_at, status FROM herdsman_models WHERE name = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(RecordedRow {
                id: row.get(0)?,
                created_at: row.get(1)?,
                status: word(row, 2, &Status::ALL, Status::as_str)?,
            })
        };
        let recorded = self.connection.prepare_cached(sql)?.query_row([model.as_str()], read).optional();
        recorded
            .map_err(|error| unreadable("herdsman_models", model.as_str(), error))?
            .ok_or_else(|| Problem::UnknownModel(model.to_string()))
    }

    /// Returns the id of the model's current row; `None`: another client deleted
    /// it.
    fn locate(&self, model: &ModelName, recorded: &RecordedRow) -> Result<Option<i64>, Problem> {
        locate::locate(self.connection, model, recorded.id, &recorded.created_at)
    }

    fn status_of(&self, id: i64) -> Result<Status, Problem> {
        let mut statement = self.connection.prepare_cached("SELECT status FROM models WHERE id = ?1")?;
        let word = |row: &rusqlite::Row<'_>| Ok(status_from_word(row.get_ref(0)?.as_str().unwrap_or_default()));
        Ok(statement.query_row([id], word)?)
    }

    /// Returns the digest of the row as it is in the table now.
    fn digest(&self, id: i64) -> Result<RowDigest, Problem> {
        let mut statement = self.connection.prepare_cached(&self.select_owned)?;
        Ok(statement.query_row([id], |row| Digester::default().digest(row, 0, self.owned.len()))?)
    }

    fn rewrite(&self, config: &ModelConfig, row: &ModelRow) -> Result<(), Problem> {
        let mut fields = self.owned(config, row.text("type"));
        fields.insert("updated_at".to_owned(), Value::Integer(self.now.0));
        models::set(self.connection, row.id(), &fields)
    }

    fn insert(&self, config: &ModelConfig, id: Option<i64>, status: Status) -> Result<i64, Problem> {
        let mut fields = self.owned(config, None);
        fields.extend(models::state_of_new_row(status, self.now).into_iter().filter(|(name, _)| self.table.has(name)));
        if let Some(id) = id {
            fields.insert("id".to_owned(), Value::Integer(id));
        }
        models::insert(self.connection, &fields)
    }

    fn owned(&self, config: &ModelConfig, type_word: Option<&str>) -> Fields {
        let mut fields = owned_values(config, type_word);
        if self.owned.len() < fields.len() {
            fields.retain(|name, _| self.owned.contains(&name.as_str()));
        }
        fields
    }
}
