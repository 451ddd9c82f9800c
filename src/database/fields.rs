//! Reads single fields of herdsman's own tables strictly, and writes JSON.

use std::error::Error;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error as SqlError, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::model::{ModelName, Provenance, Timestamp};

/// Reads text that `parse` understands.
pub(super) fn parsed<T, E>(row: &Row<'_>, index: usize, parse: impl FnOnce(&str) -> Result<T, E>) -> rusqlite::Result<T>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let text = row.get_ref(index)?.as_str()?;
    parse(text).map_err(|error| SqlError::FromSqlConversionFailure(index, Type::Text, error.into()))
}

/// Reads one of a closed set of words.
pub(super) fn word<T: Copy>(
    row: &Row<'_>,
    index: usize,
    all: &[T],
    spelt: fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    parsed(row, index, |text| {
        let known = all.iter().copied().find(|one| spelt(*one) == text);
        known.ok_or_else(|| format!("`{text}` is not a known value"))
    })
}

/// Reads text that is the JSON of a `T`.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    parsed(row, index, |text| serde_json::from_str(text))
}

pub(super) fn name(row: &Row<'_>, index: usize) -> rusqlite::Result<ModelName> {
    parsed(row, index, ModelName::parse)
}

pub(super) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    row.get(index).map(Timestamp)
}

pub(super) fn optional_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp))
}

/// Counts beyond 2^63 are stored as SQLite's negative numbers: the same bits.
pub(super) fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get(index).map(i64::cast_unsigned)
}

/// Reads a commit from one column, and from the next whether files had been edited.
pub(super) fn provenance(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Provenance>> {
    if row.get_ref(index)? == ValueRef::Null {
        return Ok(None);
    }
    let dirty = row.get::<_, Option<bool>>(index + 1)?.unwrap_or(false);
    Ok(Some(Provenance { commit: parsed(row, index, str::parse)?, dirty }))
}

/// Writes a value as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| SqlError::ToSqlConversionFailure(error.into()).into())
}

/// Names the record that could not be read; SQLite's own errors stay as they are.
pub(super) fn unreadable(table: &'static str, key: impl Into<String>, error: SqlError) -> Problem {
    if error.sqlite_error_code().is_some() {
        return error.into();
    }
    Problem::Unreadable { table, key: key.into(), reason: error.to_string() }
}
