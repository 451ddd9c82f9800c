//! The table `herdsman_applied_plans`: each saved plan is applied at most once.
//!
//! A plan is recorded before its first effect, so herdsman may die at any point and
//! the same file does nothing a second time. Records are never removed.

use rusqlite::{Connection, OptionalExtension, params};

use super::fields::{optional_time, time};
use super::{Problem, migrations};
use crate::model::Timestamp;

/// The schema version that added this table.
const SINCE: i64 = 3;

/// When a saved plan was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Before its first effect.
    pub begun_at: Timestamp,
    /// `None`: it is still being applied, or herdsman died on the way.
    pub ended_at: Option<Timestamp>,
}

pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<Applied>, Problem> {
    // A database that is only read may still have an older schema.
    if migrations::version(connection)? < SINCE {
        return Ok(None);
    }
    let sql = "SELECT begun_at, ended_at FROM herdsman_applied_plans WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok(Applied { begun_at: time(row, 0)?, ended_at: optional_time(row, 1)? });
    Ok(connection.query_row(sql, [id], read).optional()?)
}

pub(super) fn begin(connection: &Connection, id: &str, now: Timestamp) -> Result<Option<Applied>, Problem> {
    let before = find(connection, id)?;
    if before.is_none() {
        let sql = "INSERT INTO herdsman_applied_plans (id, begun_at) VALUES (?1, ?2)";
        connection.execute(sql, params![id, now.0])?;
    }
    Ok(before)
}

pub(super) fn end(connection: &Connection, id: &str, now: Timestamp) -> Result<(), Problem> {
    connection.execute("UPDATE herdsman_applied_plans SET ended_at = ?2 WHERE id = ?1", params![id, now.0])?;
    Ok(())
}
