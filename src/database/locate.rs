//! Finds the row of `models` that belongs to a managed model, whatever other
//! clients did.
//!
//! | the row with the recorded id | rows elsewhere with the model's name | the model's row |
//! |---|---|---|
//! | has the model's name | any | that one |
//! | gone, renamed or another's | one | the one with the name: someone created it again |
//! | renamed (same `created_at`) | none or several | the renamed one: its name has drifted |
//! | gone or another's | none or several | missing; of several none is picked |
//!
//! "Another's": a table without AUTOINCREMENT reuses the id of a deleted row;
//! `created_at` distinguishes that row from ours.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::Problem;
use crate::model::ModelName;

/// The row with the recorded id, compared with the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub id: i64,
    pub same_name: bool,
    pub same_creation: bool,
}

/// Decides; `elsewhere` are the ids of other rows with the name.
pub(super) fn choose(own: Option<Own>, elsewhere: &[i64]) -> Option<i64> {
    match (own, elsewhere) {
        (Some(Own { id, same_name: true, .. }), _) | (_, &[id]) => Some(id),
        (Some(Own { id, same_creation: true, .. }), _) => Some(id),
        _ => None,
    }
}

/// Finds the row of one model in the current table.
pub(super) fn locate(
    connection: &Connection,
    name: &ModelName,
    recorded_id: i64,
    recorded_creation: &Value,
) -> Result<Option<i64>, Problem> {
    // Two lookups rather than one with OR, which makes SQLite scan the table.
    let mut statement = connection.prepare_cached(
        "SELECT id, name = ?1 COLLATE BINARY, created_at IS ?3 FROM models WHERE id = ?2
         UNION ALL
         SELECT id, TRUE, FALSE FROM models WHERE name = ?1 COLLATE BINARY AND id <> ?2",
    )?;
    let mut rows = statement.query((name.as_str(), recorded_id, recorded_creation))?;
    let mut own = None;
    let mut elsewhere = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if id == recorded_id {
            own = Some(Own { id, same_name: row.get(1)?, same_creation: row.get(2)? });
        } else {
            elsewhere.push(id);
        }
    }
    Ok(choose(own, &elsewhere))
}
