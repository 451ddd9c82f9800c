//! The table `herdsman_overrides`: what people asked for by hand.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::Problem;
use super::fields::{name, optional_time, time, unreadable, word};
use crate::model::{
    DesiredState, Given, InstanceId, ModelName, Override, OverrideKind, Overrides, RestartByHand, StateByHand,
    Suspended, Timestamp,
};

const TABLE: &str = "herdsman_overrides";

/// Records one, replacing another of its kind.
pub(super) fn put(connection: &Connection, model: &ModelName, what: &Override) -> Result<(), Problem> {
    let (given, until, state, definition, instance) = match what {
        Override::Suspended(Suspended { given, until }) => (given, *until, None, None, None),
        Override::State(StateByHand { given, state, definition }) => {
            (given, None, Some(*state), Some(definition), None)
        }
        Override::Restart(RestartByHand { given, instance }) => (given, None, None, None, Some(instance)),
    };
    let Given { by, at, because } = given;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO herdsman_overrides (name, kind, given_by, given_at, reason, until, state, definition,
             instance)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        model.as_str(),
        what.kind().as_str(),
        by,
        at.0,
        because,
        until.map(|Timestamp(until)| until),
        state.map(DesiredState::as_str),
        definition,
        instance.map(|id| &id.0),
    ])?;
    Ok(())
}

/// Deletes one; does nothing if it is not recorded.
pub(super) fn end(connection: &Connection, model: &ModelName, kind: OverrideKind) -> Result<(), Problem> {
    let sql = "DELETE FROM herdsman_overrides WHERE name = ?1 AND kind = ?2";
    connection.prepare_cached(sql)?.execute(params![model.as_str(), kind.as_str()])?;
    Ok(())
}

/// Reads all of them.
pub(super) fn load(connection: &Connection) -> Result<BTreeMap<ModelName, Overrides>, Problem> {
    // A read-only command may find an older herdsman's file.
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'herdsman_overrides')";
    if !connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(BTreeMap::new());
    }
    let mut statement = connection.prepare(
        "SELECT name, kind, given_by, given_at, reason, until, state, definition, instance FROM herdsman_overrides",
    )?;
    let mut rows = statement.query([])?;
    let mut overrides: BTreeMap<ModelName, Overrides> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let model = name(row, 0).map_err(|error| unreadable(TABLE, "?", error))?;
        let what = read(row).map_err(|error| unreadable(TABLE, model.as_str(), error))?;
        overrides.entry(model).or_default().put(what);
    }
    Ok(overrides)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Override> {
    let given = Given { by: row.get(2)?, at: time(row, 3)?, because: row.get(4)? };
    Ok(match word(row, 1, &OverrideKind::ALL, OverrideKind::as_str)? {
        OverrideKind::Suspended => Override::Suspended(Suspended { given, until: optional_time(row, 5)? }),
        OverrideKind::State => Override::State(StateByHand {
            given,
            state: word(row, 6, &DesiredState::ALL, DesiredState::as_str)?,
            definition: row.get(7)?,
        }),
        OverrideKind::Restart => Override::Restart(RestartByHand { given, instance: InstanceId(row.get(8)?) }),
    })
}
