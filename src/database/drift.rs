//! What another client changed in one of herdsman's rows.
//!
//! A digest of the owned columns shows quickly that nothing changed, which is
//! nearly always so. Only if it differs are the columns compared one by one with
//! what the recorded configuration would write.

use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};
use serde_json::Value as Json;

use super::columns::{same, same_json, shown};
use super::config;
use super::config::owned_values;
use super::row::ModelRow;
use super::table::{Table, quoted};
use crate::model::text::printable;
use crate::model::{ColumnDrift, ModelConfig};

/// A digest of the owned columns of a row.
pub(super) type RowDigest = [u8; 16];

/// Computes digests, one row after the other.
#[derive(Debug, Default)]
pub(super) struct Digester {
    /// The bytes to hash, gathered first, because a hasher is slow with small
    /// pieces.
    bytes: Vec<u8>,
}

impl Digester {
    /// Returns the digest of the `count` owned columns that start at `first`. Every
    /// value goes in with its position, type and length, so that no two rows look
    /// alike.
    pub(super) fn digest(&mut self, row: &Row<'_>, first: usize, count: usize) -> rusqlite::Result<RowDigest> {
        self.bytes.clear();
        for index in first..first + count {
            match row.get_ref(index)? {
                ValueRef::Null => self.bytes.push(b'n'),
                ValueRef::Integer(number) => self.put(b'i', &number.to_le_bytes()),
                ValueRef::Real(number) => self.put(b'r', &number.to_bits().to_le_bytes()),
                ValueRef::Text(text) => self.put_sized(b't', text),
                ValueRef::Blob(blob) => self.put_sized(b'b', blob),
            }
        }
        let mut digest = RowDigest::default();
        digest.copy_from_slice(&blake3::hash(&self.bytes).as_bytes()[..16]);
        Ok(digest)
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(bytes);
    }

    fn put_sized(&mut self, kind: u8, bytes: &[u8]) {
        self.put(kind, &bytes.len().to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}

/// The query for [`Digester::digest`]: `columns` of the row with the id `?1`.
pub(super) fn select_owned(columns: &[&str]) -> String {
    let list: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    format!("SELECT {} FROM models WHERE id = ?1", list.join(", "))
}

/// The owned columns in which `row` differs from what `config` writes.
pub(super) fn compare(table: &Table, config: &ModelConfig, row: &ModelRow) -> Vec<ColumnDrift> {
    let expected = owned_values(config, row.text("type"));
    let mut drift = Vec::new();
    for column in config::owned_columns(table) {
        let (Some(recorded), Some(found)) = (expected.get(column), row.get(column)) else { continue };
        let equal = if column == "parameters" { same_parameters(recorded, found) } else { same(recorded, found) };
        if !equal {
            // Plans and the history get no more of it than a person reads.
            let (recorded, found) = (printable(&shown(recorded)), printable(&shown(found)));
            drift.push(ColumnDrift { column: column.to_owned(), recorded, found });
        }
    }
    drift
}

/// Compared as JSON, so that reformatting is not a change.
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
