//! [`Records`]: everything SQLite has, read in a few SELECTs and joined in memory.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use super::config::owned_columns;
use super::drift::{self, Digester};
use super::fields::{json, name, optional_time, time, unreadable, word};
use super::locate::{Own, choose};
use super::table::{Table, quoted};
use super::words::status_from_word;
use super::{Problem, generations, instances, models, overrides};
use crate::model::{
    BinaryIdentity, Crashes, DesiredState, Generation, GenerationOutcome, ModelConfig, ModelName, ModelRecord,
    PortRecord, Records, Row, SpecHash, Status, Timestamp, UnmanagedRow,
};

const TABLE: &str = "herdsman_models";

/// Loads everything. Without herdsman's own tables every row is unmanaged.
pub(super) fn load(connection: &Connection, has_records: bool) -> Result<Records, Problem> {
    if !has_records {
        let unmanaged = match Table::read(connection)? {
            Some(_) => rows_beside(connection, &[])?,
            None => Vec::new(),
        };
        return Ok(Records { unmanaged, ..Records::default() });
    }
    let table = Table::require(connection)?;
    let Loaded { mut models, settled, unsettled } = load_models(connection, &table)?;
    let mut unmanaged = rows_beside(connection, &settled)?;
    for model in unsettled {
        settle(connection, &table, &model, &mut models, &mut unmanaged)?;
    }
    load_last_ready(connection, &mut models)?;
    let mut orphans = Vec::new();
    for instance in instances::load(connection)? {
        match models.get_mut(&instance.model) {
            Some(model) => model.instances.push(instance),
            None => orphans.push(instance),
        }
    }
    Ok(Records { models, unmanaged, orphans, overrides: overrides::load(connection)? })
}

pub(super) fn status_recorded_at(connection: &Connection, model: &ModelName) -> Result<Option<Timestamp>, Problem> {
    let sql = "SELECT status_at FROM herdsman_models WHERE name = ?1";
    Ok(connection.query_row(sql, [model.as_str()], |row| time(row, 0)).optional()?)
}

/// The managed models, and the state of their rows.
struct Loaded {
    models: BTreeMap<ModelName, ModelRecord>,
    /// The ids of rows that belong to a model, in order.
    settled: Vec<i64>,
    /// The models whose row must be searched, by name.
    unsettled: Vec<Unsettled>,
}

/// A model whose row is not simply the one with its id and name.
struct Unsettled {
    name: ModelName,
    own: Option<Own>,
}

/// Columns of a generation, in the order [`generation`] reads them.
const GENERATION: &str = "number, hash, spec, outcome, death, origins, accepted_by";

fn load_models(connection: &Connection, table: &Table) -> Result<Loaded, Problem> {
    let owned = owned_columns(table);
    let columns: String = owned.iter().map(|column| format!(", m.{}", quoted(column))).collect();
    let generation_columns: String = GENERATION.split(", ").map(|column| format!("g.{column}, ")).collect();
    // In table order, because order by name uses an index, with a search for each
    // row.
    let mut statement = connection.prepare(&format!(
        "SELECT h.name, h.model_id, h.source, h.state, h.config_digest, h.status, h.status_message, h.crash_count,
             h.last_start, h.port, h.port_proven, {generation_columns}
             h.row_digest, m.id, m.name = h.name COLLATE BINARY, m.created_at IS h.row_created_at, m.status, h.config, h.row_created_at {columns}
         FROM herdsman_models h
         LEFT JOIN herdsman_generations g ON g.name = h.name AND g.number = h.generation
         LEFT JOIN models m ON m.id = h.model_id"
    ))?;
    let mut rows = statement.query([])?;
    let mut digester = Digester::default();
    let (mut models, mut settled, mut unsettled) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let name = name(row, 0).map_err(|error| unreadable(TABLE, "?", error))?;
        let fault = |error| unreadable(TABLE, name.as_str(), error);
        let mut model = model(row).map_err(fault)?;
        let own = own_row(row).map_err(fault)?;
        if let Some(Own { id, same_name: true, .. }) = own {
            settled.push(id);
            model.status = status_from_word(row.get_ref(22)?.as_str().unwrap_or_default());
            let digest = digester.digest(row, 25, owned.len())?;
            let as_written = row.get_ref(18)?.as_blob().is_ok_and(|written| written == digest);
            model.row = Row::Present(match as_written {
                true => Vec::new(),
                false => drift_of(connection, table, &name, id)?,
            });
        } else {
            unsettled.push(Unsettled { name: name.clone(), own });
        }
        models.push((name, model));
    }
    settled.sort_unstable();
    unsettled.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Loaded { models: models.into_iter().collect(), settled, unsettled })
}

/// The row with the recorded id; `None`: there is none.
fn own_row(row: &SqlRow<'_>) -> rusqlite::Result<Option<Own>> {
    let Some(id) = row.get(19)? else { return Ok(None) };
    Ok(Some(Own { id, same_name: row.get(20)?, same_creation: row.get(21)? }))
}

/// Reads the record, with its row marked as missing for now.
fn model(row: &SqlRow<'_>) -> rusqlite::Result<ModelRecord> {
    let proven = row.get(10)?;
    Ok(ModelRecord {
        id: row.get(1)?,
        created_at: row.get_ref(24)?.as_i64().ok().map(Timestamp),
        source: row.get(2)?,
        state: word(row, 3, &DesiredState::ALL, DesiredState::as_str)?,
        config_digest: row.get(4)?,
        config_json: row.get(23)?,
        row: Row::Missing,
        status: word(row, 5, &Status::ALL, Status::as_str)?,
        status_message: row.get(6)?,
        generation: generation(row, 11)?,
        last_ready: None,
        port: row.get::<_, Option<u16>>(9)?.map(|port| PortRecord { port, proven }),
        crashes: Crashes { count: row.get(7)?, last_start: optional_time(row, 8)? },
        instances: Vec::new(),
    })
}

fn generation(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Generation> {
    Ok(Generation {
        number: row.get(first)?,
        hash: SpecHash(row.get(first + 1)?),
        spec_json: row.get_ref(first + 2)?.as_str()?.into(),
        outcome: generations::outcome(row, first + 3)?,
        origins: json(row, first + 5)?,
        accepted_by: row.get::<_, Option<String>>(first + 6)?.map(BinaryIdentity),
    })
}

/// Finds the last ready generation of those models whose wanted one is not ready.
fn load_last_ready(connection: &Connection, models: &mut BTreeMap<ModelName, ModelRecord>) -> Result<(), Problem> {
    let is_ready = |model: &ModelRecord| model.generation.outcome == GenerationOutcome::Ready;
    if models.values().all(is_ready) {
        return Ok(());
    }
    let mut last = connection
        .prepare("SELECT name, max(number) FROM herdsman_generations WHERE outcome = 'ready' GROUP BY name")?;
    let mut one = connection
        .prepare(&format!("SELECT {GENERATION} FROM herdsman_generations WHERE name = ?1 AND number = ?2"))?;
    let mut rows = last.query([])?;
    while let Some(row) = rows.next()? {
        let name = models::text(row, 0)?;
        if let Some(model) = models.get_mut(name.as_str()).filter(|model| !is_ready(model)) {
            let ready = one.query_row((&name, row.get::<_, i64>(1)?), |row| generation(row, 0));
            model.last_ready = Some(ready.map_err(|error| unreadable("herdsman_generations", name, error))?);
        }
    }
    Ok(())
}

/// Returns every row whose id is not in `settled` (sorted), by id.
fn rows_beside(connection: &Connection, settled: &[i64]) -> Result<Vec<UnmanagedRow>, Problem> {
    let mut statement = connection.prepare("SELECT id, name FROM models")?;
    let mut rows = statement.query([])?;
    let mut beside = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if settled.binary_search(&id).is_err() {
            beside.push(UnmanagedRow { id, name: models::text(row, 1)? });
        }
    }
    beside.sort_by_key(|row| row.id);
    Ok(beside)
}

/// Gives a model the row that turned out to be its own, and takes that row out of
/// `unmanaged`.
fn settle(
    connection: &Connection,
    table: &Table,
    unsettled: &Unsettled,
    models: &mut BTreeMap<ModelName, ModelRecord>,
    unmanaged: &mut Vec<UnmanagedRow>,
) -> Result<(), Problem> {
    let own = unsettled.own.filter(|own| unmanaged.iter().any(|row| row.id == own.id));
    let elsewhere: Vec<i64> =
        unmanaged.iter().filter(|row| row.name == unsettled.name.as_str()).map(|row| row.id).collect();
    let (Some(id), Some(model)) = (choose(own, &elsewhere), models.get_mut(&unsettled.name)) else { return Ok(()) };
    unmanaged.retain(|row| row.id != id);
    model.id = id;
    if let Some(row) = models::row(connection, table, id)? {
        model.status = row.status();
        model.row = Row::Present(drift::compare(table, &config_of(connection, &unsettled.name)?, &row));
    }
    Ok(())
}

fn drift_of(
    connection: &Connection,
    table: &Table,
    name: &ModelName,
    id: i64,
) -> Result<Vec<crate::model::ColumnDrift>, Problem> {
    let Some(row) = models::row(connection, table, id)? else { return Ok(Vec::new()) };
    Ok(drift::compare(table, &config_of(connection, name)?, &row))
}

/// Returns what herdsman last wrote for the model.
fn config_of(connection: &Connection, name: &ModelName) -> Result<ModelConfig, Problem> {
    let sql = "SELECT config FROM herdsman_models WHERE name = ?1";
    connection
        .query_row(sql, [name.as_str()], |row| json(row, 0))
        .map_err(|error| unreadable(TABLE, name.as_str(), error))
}
