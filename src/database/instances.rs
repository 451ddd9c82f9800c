//! The table `herdsman_instances`: which instance was started, recorded before and
//! after the start.

use rusqlite::{Connection, Row, params};

use super::Problem;
use super::fields::{count, name, optional_time, parsed, time, unreadable};
use crate::model::{
    BinaryIdentity, Handle, InstanceId, InstanceRecord, InstanceState, ProcessId, Progress, SpecHash, Timestamp,
};

const TABLE: &str = "herdsman_instances";

/// Inserts the instance, or replaces its record.
pub(super) fn put(connection: &Connection, instance: &InstanceRecord) -> Result<(), Problem> {
    // Destructured, so that a new field does not compile until it is recorded.
    let InstanceRecord {
        id,
        model,
        generation,
        spec,
        host,
        port,
        state,
        handle,
        started_at,
        progress: (progress, progress_at),
        ready,
        unanswered_since,
        log_offset,
        binary,
    } = instance;
    let process = handle.as_ref().map(Handle::process);
    let (state, deadline) = state_to_words(*state);
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO herdsman_instances (id, name, generation, spec, host, port, state, drain_deadline,
             pid, start_ticks, boot_id, pid_namespace, started_at, progress, progress_at, first_ready_at,
             last_ready_at, unanswered_since, log_offset, binary)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?;
    statement.execute(params![
        id.0,
        model.as_str(),
        generation,
        spec.0,
        host,
        port,
        state,
        deadline.map(|at| at.0),
        process.map(|process| process.pid),
        process.map(|process| process.start_ticks.cast_signed()),
        process.map(|process| &process.boot_id),
        process.map(|process| process.pid_namespace.cast_signed()),
        started_at.0,
        progress.0.cast_signed(),
        progress_at.0,
        ready.map(|(first, _)| first.0),
        ready.map(|(_, last)| last.0),
        unanswered_since.map(|at| at.0),
        log_offset.cast_signed(),
        binary.as_ref().map(|binary| &binary.0),
    ])?;
    Ok(())
}

/// Deletes the instance; does nothing if it is not recorded.
pub(super) fn remove(connection: &Connection, id: &InstanceId) -> Result<(), Problem> {
    connection.prepare_cached("DELETE FROM herdsman_instances WHERE id = ?1")?.execute([&id.0])?;
    Ok(())
}

/// Reads all of them, oldest first.
pub(super) fn load(connection: &Connection) -> Result<Vec<InstanceRecord>, Problem> {
    let mut statement = connection.prepare(
        "SELECT id, name, generation, spec, host, port, state, drain_deadline, pid, start_ticks, boot_id,
             pid_namespace, started_at, progress, progress_at, first_ready_at, last_ready_at, unanswered_since,
             log_offset, binary
         FROM herdsman_instances ORDER BY started_at, id",
    )?;
    let mut rows = statement.query([])?;
    let mut instances = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0).map_err(|error| unreadable(TABLE, "?", error))?;
        instances.push(read(row, &id).map_err(|error| unreadable(TABLE, id, error))?);
    }
    Ok(instances)
}

fn read(row: &Row<'_>, id: &str) -> rusqlite::Result<InstanceRecord> {
    let deadline = optional_time(row, 7)?;
    Ok(InstanceRecord {
        id: InstanceId(id.to_owned()),
        model: name(row, 1)?,
        generation: row.get(2)?,
        spec: SpecHash(row.get(3)?),
        host: row.get(4)?,
        port: row.get(5)?,
        state: parsed(row, 6, |word| state_from_words(word, deadline).ok_or_else(|| format!("state `{word}`")))?,
        handle: process(row)?.map(Handle::from),
        started_at: time(row, 12)?,
        progress: (Progress(count(row, 13)?), time(row, 14)?),
        ready: optional_time(row, 15)?.zip(optional_time(row, 16)?),
        unanswered_since: optional_time(row, 17)?,
        log_offset: count(row, 18)?,
        binary: row.get::<_, Option<String>>(19)?.map(BinaryIdentity),
    })
}

/// Half an identity is an error, not "no process".
fn process(row: &Row<'_>) -> rusqlite::Result<Option<ProcessId>> {
    let Some(pid) = row.get(8)? else { return Ok(None) };
    Ok(Some(ProcessId { pid, start_ticks: count(row, 9)?, boot_id: row.get(10)?, pid_namespace: count(row, 11)? }))
}

fn state_to_words(state: InstanceState) -> (&'static str, Option<Timestamp>) {
    match state {
        InstanceState::Intent => ("intent", None),
        InstanceState::Loading => ("loading", None),
        InstanceState::Ready => ("ready", None),
        InstanceState::Draining { deadline } => ("draining", Some(deadline)),
        InstanceState::Stopping => ("stopping", None),
    }
}

fn state_from_words(word: &str, deadline: Option<Timestamp>) -> Option<InstanceState> {
    match word {
        "intent" => Some(InstanceState::Intent),
        "loading" => Some(InstanceState::Loading),
        "ready" => Some(InstanceState::Ready),
        "draining" => deadline.map(|deadline| InstanceState::Draining { deadline }),
        "stopping" => Some(InstanceState::Stopping),
        _ => None,
    }
}
