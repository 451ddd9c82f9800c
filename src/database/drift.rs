//! What another client changed in a row herdsman wrote.
//!
//! A digest of the owned columns tells quickly that nothing was changed, which
//! is nearly always so. Only when it differs are the columns compared one by
//! one with what the recorded configuration would write.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};
use serde_json::Value as Json;

use super::columns::{same, same_json, shown};
use super::config::owned_values;
use super::row::ModelRow;
use super::table::{Table, quoted};
use super::{Problem, config};
use crate::model::{ColumnDrift, ModelConfig};

/// A digest of the owned columns of a row.
pub(super) type RowDigest = [u8; 16];

/// The digest of the `count` owned columns that begin at `first`. Every value
/// goes in with its place, kind and length, so that no two rows look alike.
pub(super) fn digest(row: &Row<'_>, first: usize, count: usize) -> rusqlite::Result<RowDigest> {
    let mut hasher = blake3::Hasher::new();
    for index in first..first + count {
        match row.get_ref(index)? {
            ValueRef::Null => hasher.update(b"n"),
            ValueRef::Integer(number) => hasher.update(b"i").update(&number.to_le_bytes()),
            ValueRef::Real(number) => hasher.update(b"r").update(&number.to_bits().to_le_bytes()),
            ValueRef::Text(bytes) => hasher.update(b"t").update(&bytes.len().to_le_bytes()).update(bytes),
            ValueRef::Blob(bytes) => hasher.update(b"b").update(&bytes.len().to_le_bytes()).update(bytes),
        };
    }
    let mut digest = RowDigest::default();
    hasher.finalize_xof().fill(&mut digest);
    Ok(digest)
}

/// The digest of the row with this id, as it is in the table now.
pub(super) fn digest_of(connection: &Connection, table: &Table, id: i64) -> Result<RowDigest, Problem> {
    let columns = config::owned_columns(table);
    let list: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let sql = format!("SELECT {} FROM models WHERE id = ?1", list.join(", "));
    Ok(connection.query_row(&sql, [id], |row| digest(row, 0, columns.len()))?)
}

/// The owned columns in which `row` is not what `config` writes.
pub(super) fn compare(table: &Table, config: &ModelConfig, row: &ModelRow) -> Vec<ColumnDrift> {
    let expected = owned_values(config, row.text("type"));
    let mut drift = Vec::new();
    for column in config::owned_columns(table) {
        let (Some(recorded), Some(found)) = (expected.get(column), row.get(column)) else { continue };
        let equal = if column == "parameters" { same_parameters(recorded, found) } else { same(recorded, found) };
        if !equal {
            drift.push(ColumnDrift { column: column.to_owned(), recorded: shown(recorded), found: shown(found) });
        }
    }
    drift
}

/// Compared as JSON: whoever only reformats it changes nothing.
fn same_parameters(recorded: &Value, found: &Value) -> bool {
    match (recorded, found) {
        (Value::Text(recorded), Value::Text(found)) => {
            recorded == found || matches!((parse(recorded), parse(found)), (Some(r), Some(f)) if same_json(&r, &f))
        }
        _ => false,
    }
}

fn parse(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok()
}
