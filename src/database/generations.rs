//! The table `herdsman_generations`, as history: every generation of a model.

use rusqlite::{Connection, Row};

use super::Problem;
use super::fields::{json, parsed, provenance, time, unreadable};
use super::migrations::since_v2;
use crate::model::{GenerationOutcome, GenerationRecord, ModelName};

/// Columns that say how a generation went, in the order [`outcome`] reads them.
pub(super) const OUTCOME: &str = "outcome, death";

/// Reads all of one model, newest first.
pub(super) fn load(connection: &Connection, model: &ModelName) -> Result<Vec<GenerationRecord>, Problem> {
    let later = since_v2(connection, "git_commit, git_dirty, lines")?;
    let mut statement = connection.prepare(&format!(
        "SELECT number, created_at, spec, source, origins, {OUTCOME}, {later}
         FROM herdsman_generations WHERE name = ?1 ORDER BY number DESC"
    ))?;
    let mut rows = statement.query([model.as_str()])?;
    let mut generations = Vec::new();
    while let Some(row) = rows.next()? {
        let number: u32 = row.get(0)?;
        let read = read(row, number);
        generations.push(read.map_err(|error| unreadable("herdsman_generations", format!("{model} {number}"), error))?);
    }
    Ok(generations)
}

fn read(row: &Row<'_>, number: u32) -> rusqlite::Result<GenerationRecord> {
    let has_lines = row.get_ref(9)? != rusqlite::types::ValueRef::Null;
    Ok(GenerationRecord {
        number,
        created_at: time(row, 1)?,
        spec_json: row.get(2)?,
        source: row.get(3)?,
        origins: json(row, 4)?,
        outcome: outcome(row, 5)?,
        provenance: provenance(row, 7)?,
        lines: if has_lines { json(row, 9)? } else { Default::default() },
    })
}

/// Reads how it went, from two columns.
pub(super) fn outcome(row: &Row<'_>, first: usize) -> rusqlite::Result<GenerationOutcome> {
    match row.get_ref(first)?.as_str()? {
        "failed" => Ok(GenerationOutcome::Failed(json(row, first + 1)?)),
        _ => parsed(row, first, |word| match word {
            "pending" => Ok(GenerationOutcome::Pending),
            "ready" => Ok(GenerationOutcome::Ready),
            _ => Err(format!("outcome `{word}`")),
        }),
    }
}
