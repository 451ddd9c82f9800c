//! Writing [`Change`]s: one function per fact, all in the caller's transaction.

use rusqlite::{Connection, Params, params};

use super::fields::to_json;
use super::managed::Managed;
use super::table::Table;
use super::{Problem, events, instances, notifications, overrides};
use crate::model::{
    BinaryIdentity, Change, Crashes, GenerationOutcome, ModelName, NewGeneration, PortRecord, Timestamp,
};

/// Writes all of `changes`, then checks what must be true at the end of a
/// transaction but not in the middle.
pub(super) fn apply(connection: &Connection, changes: &[Change], now: Timestamp) -> Result<(), Problem> {
    let table = Table::require(connection)?;
    let managed = Managed::new(connection, &table, now);
    let commit = Commit { connection, now };
    for change in changes {
        match change {
            Change::CreateModel { config, adopt_row } => managed.create(config, *adopt_row)?,
            Change::UpdateModel { config } => managed.update(config)?,
            Change::SetStatus { model, status, message } => managed.set_status(model, *status, message.as_deref())?,
            Change::DeleteModel { model } => managed.delete(model)?,
            Change::AddGeneration(generation) => commit.add_generation(generation)?,
            Change::SetGenerationOutcome { model, number, outcome } => commit.set_outcome(model, *number, outcome)?,
            Change::SetAccepted { model, number, binary } => commit.set_accepted(model, *number, binary)?,
            Change::SetPort { model, port } => commit.set_port(model, *port)?,
            Change::SetCrashes { model, crashes } => commit.set_crashes(model, *crashes)?,
            Change::PutInstance(instance) => instances::put(connection, instance)?,
            Change::RemoveInstance(id) => instances::remove(connection, id)?,
            Change::PutOverride { model, what } => overrides::put(connection, model, what)?,
            Change::EndOverride { model, kind } => overrides::end(connection, model, *kind)?,
            Change::Event(event) => events::put(connection, event)?,
            Change::Tell(telling) => notifications::put(connection, telling, now)?,
        }
    }
    check_generations(connection, changes)?;
    if changes.iter().any(|change| matches!(change, Change::Event(_))) {
        events::prune(connection)?;
    }
    Ok(())
}

/// Facts that only herdsman's own tables record.
struct Commit<'c> {
    connection: &'c Connection,
    now: Timestamp,
}

impl Commit<'_> {
    fn add_generation(&self, generation: &NewGeneration) -> Result<(), Problem> {
        let NewGeneration { model, number, hash, spec_json, source, origins, lines, provenance } = generation;
        self.set_of_model(
            model,
            "UPDATE herdsman_models SET generation = ?2 WHERE name = ?1",
            params![model.as_str(), number],
        )?;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO herdsman_generations (name, number, hash, spec, source, git_commit, git_dirty, origins, lines,
                 outcome, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', ?10)",
        )?;
        statement.execute(params![
            model.as_str(),
            number,
            hash.0,
            spec_json,
            source,
            provenance.as_ref().map(|from| from.commit.as_str()),
            provenance.as_ref().map(|from| from.dirty),
            to_json(origins)?,
            to_json(lines)?,
            self.now.0,
        ])?;
        Ok(())
    }

    fn set_outcome(&self, model: &ModelName, number: u32, outcome: &GenerationOutcome) -> Result<(), Problem> {
        let (word, death) = match outcome {
            GenerationOutcome::Pending => ("pending", None),
            GenerationOutcome::Ready => ("ready", None),
            GenerationOutcome::Failed(death) => ("failed", Some(to_json(death)?)),
        };
        self.set_of_generation(
            model,
            number,
            "UPDATE herdsman_generations SET outcome = ?3, death = ?4 WHERE name = ?1 AND number = ?2",
            params![model.as_str(), number, word, death],
        )
    }

    fn set_accepted(&self, model: &ModelName, number: u32, binary: &BinaryIdentity) -> Result<(), Problem> {
        self.set_of_generation(
            model,
            number,
            "UPDATE herdsman_generations SET accepted_by = ?3 WHERE name = ?1 AND number = ?2",
            params![model.as_str(), number, binary.0],
        )
    }

    /// A port belongs to one model: the previous owner loses it. The planner gives
    /// a model only a port that its owner leaves in the same pass.
    fn set_port(&self, model: &ModelName, port: Option<PortRecord>) -> Result<(), Problem> {
        self.connection.execute(
            "UPDATE herdsman_models SET port = NULL, port_proven = 0 WHERE port = ?2 AND name <> ?1",
            params![model.as_str(), port.map(|port| port.port)],
        )?;
        let proven = port.is_some_and(|port| port.proven);
        self.set_of_model(
            model,
            "UPDATE herdsman_models SET port = ?2, port_proven = ?3 WHERE name = ?1",
            params![model.as_str(), port.map(|port| port.port), proven],
        )
    }

    fn set_crashes(&self, model: &ModelName, crashes: Crashes) -> Result<(), Problem> {
        let Crashes { count, last_start } = crashes;
        self.set_of_model(
            model,
            "UPDATE herdsman_models SET crash_count = ?2, last_start = ?3 WHERE name = ?1",
            params![model.as_str(), count, last_start.map(|at| at.0)],
        )
    }

    fn set_of_model(&self, model: &ModelName, sql: &str, values: impl Params) -> Result<(), Problem> {
        match self.connection.prepare_cached(sql)?.execute(values)? {
            0 => Err(Problem::UnknownModel(model.to_string())),
            _ => Ok(()),
        }
    }

    fn set_of_generation(&self, model: &ModelName, number: u32, sql: &str, values: impl Params) -> Result<(), Problem> {
        match self.connection.prepare_cached(sql)?.execute(values)? {
            0 => Err(Problem::UnknownGeneration { model: model.to_string(), number }),
            _ => Ok(()),
        }
    }
}

/// A model is recorded with its first generation, or not at all.
fn check_generations(connection: &Connection, changes: &[Change]) -> Result<(), Problem> {
    let mut statement =
        connection.prepare("SELECT EXISTS (SELECT 1 FROM herdsman_models WHERE name = ?1 AND generation IS NULL)")?;
    for change in changes {
        if let Change::CreateModel { config, .. } = change
            && statement.query_row([config.name.as_str()], |row| row.get(0))?
        {
            return Err(Problem::NoGeneration(config.name.to_string()));
        }
    }
    Ok(())
}
