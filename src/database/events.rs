//! The table `herdsman_events`: what herdsman decided, why, and how it went.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::Problem;
use super::fields::{count, json, name, provenance, time, to_json, unreadable};
use super::migrations::since_v2;
use crate::model::{EventOutcome, EventRecord, ModelName};

const TABLE: &str = "herdsman_events";

/// How many events are kept: the newest.
pub(super) const KEPT: i64 = 10_000;

pub(super) fn put(connection: &Connection, event: &EventRecord) -> Result<(), Problem> {
    let EventRecord { at, model, action, generation, cause, reasons, outcome, duration_ms, provenance } = event;
    let failure = match outcome {
        EventOutcome::Done => None,
        EventOutcome::Failed(why) => Some(why),
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO herdsman_events (at, name, action, generation, cause, reasons, failure, duration_ms, git_commit,
             git_dirty)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    statement.execute(params![
        at.0,
        model.as_str(),
        action,
        generation,
        cause,
        to_json(reasons)?,
        failure,
        duration_ms.cast_signed(),
        provenance.as_ref().map(|from| from.commit.as_str()),
        provenance.as_ref().map(|from| from.dirty),
    ])?;
    Ok(())
}

/// Deletes all but the newest [`KEPT`]. Ids grow by one, so this is a range of the
/// primary key, and nearly always empty.
pub(super) fn prune(connection: &Connection) -> Result<(), Problem> {
    connection.execute("DELETE FROM herdsman_events WHERE id <= (SELECT max(id) FROM herdsman_events) - ?1", [KEPT])?;
    Ok(())
}

/// The newest `limit`, newest first.
pub(super) fn load(
    connection: &Connection,
    model: Option<&ModelName>,
    limit: u32,
) -> Result<Vec<EventRecord>, Problem> {
    let condition = if model.is_some() { "name = ?1" } else { "?1 IS NULL" };
    let later = since_v2(connection, "generation, git_commit, git_dirty")?;
    let mut statement = connection.prepare(&format!(
        "SELECT id, at, name, action, cause, reasons, failure, duration_ms, {later}
         FROM herdsman_events WHERE {condition} ORDER BY id DESC LIMIT ?2"
    ))?;
    let mut rows = statement.query((model.map(ModelName::as_str), limit))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        events.push(read(row).map_err(|error| unreadable(TABLE, id.to_string(), error))?);
    }
    Ok(events)
}

/// How often each model's server was restarted because it had died (one that hung
/// is killed first); only models with any.
///
/// The words are those of `plan::Reason`; a test keeps the two in sync.
pub(super) fn restarts(connection: &Connection) -> Result<BTreeMap<String, u32>, Problem> {
    let mut statement = connection.prepare(
        "SELECT name, count(*) FROM herdsman_events
         WHERE failure IS NULL AND EXISTS (
             SELECT 1 FROM json_each(reasons) WHERE value ->> 'reason' = 'process_gone')
         GROUP BY name",
    )?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        at: time(row, 1)?,
        model: name(row, 2)?,
        action: row.get(3)?,
        cause: row.get(4)?,
        reasons: json(row, 5)?,
        outcome: row.get::<_, Option<String>>(6)?.map_or(EventOutcome::Done, EventOutcome::Failed),
        duration_ms: count(row, 7)?,
        generation: row.get(8)?,
        provenance: provenance(row, 9)?,
    })
}
