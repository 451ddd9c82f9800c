//! The five functions of the contract (database.md).

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::columns::{Kind, PARAMETERS, shown};
use super::row::ModelRow;
use super::table::{Table, quoted};
use super::{Problem, words};
use crate::model::{Status, Timestamp};

/// Columns and their values. Absent: not written. `Value::Null`: set to null.
/// Neither means the default.
pub type Fields = BTreeMap<String, Value>;

/// Ids below this are exact in every client's number type.
pub(super) const ID_LIMIT: i64 = 1 << 53;

/// Selects rows for [`super::Database::get_models`]: those that match every given
/// field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFilter {
    /// Exactly this word in the column `status` ([`words::word_of_status`]).
    pub status: Option<String>,
    /// Exactly this word in the column `type` ([`words::word_of_type`]).
    pub model_type: Option<String>,
    /// Part of the name, ignoring case; `%` and `_` are literal.
    pub name: Option<String>,
}

pub(super) fn list(connection: &Connection, filter: &ModelFilter) -> Result<Vec<ModelRow>, Problem> {
    let condition = "(?1 IS NULL OR status = ?1) AND (?2 IS NULL OR type = ?2) ORDER BY created_at DESC, id DESC";
    let Some(table) = Table::read(connection)? else { return Ok(Vec::new()) };
    let mut rows = select(connection, &table, condition, [&filter.status, &filter.model_type])?;
    if let Some(part) = &filter.name {
        // SQLite's own lower() and LIKE handle only ASCII.
        let part = part.to_lowercase();
        rows.retain(|row| row.name().to_lowercase().contains(&part));
    }
    Ok(rows)
}

pub(super) fn by_id(connection: &Connection, id: i64) -> Result<Option<ModelRow>, Problem> {
    match Table::read(connection)? {
        Some(table) => row(connection, &table, id),
        None => Ok(None),
    }
}

/// [`by_id`] for known columns.
pub(super) fn row(connection: &Connection, table: &Table, id: i64) -> Result<Option<ModelRow>, Problem> {
    Ok(select(connection, table, "id = ?1", [id])?.pop())
}

pub(super) fn by_name(connection: &Connection, name: &str) -> Result<Option<ModelRow>, Problem> {
    let Some(table) = Table::read(connection)? else { return Ok(None) };
    let mut rows = select(connection, &table, "name = ?1 COLLATE BINARY ORDER BY id", [name])?;
    match rows.len() {
        0 | 1 => Ok(rows.pop()),
        _ => Err(Problem::DuplicateName { name: name.to_owned(), ids: rows.iter().map(ModelRow::id).collect() }),
    }
}

fn select(
    connection: &Connection,
    table: &Table,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<ModelRow>, Problem> {
    let list: Vec<String> = table.columns().iter().map(|name| quoted(name)).collect();
    let mut statement =
        connection.prepare_cached(&format!("SELECT {} FROM models WHERE {condition}", list.join(", ")))?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ModelRow::read(table.columns(), row)?);
    }
    Ok(found)
}

pub(super) fn save(connection: &Connection, model: &Fields, now: Timestamp) -> Result<i64, Problem> {
    let table = Table::require(connection)?;
    check(&table, model, &[("id", "the database assigns it"), ("hf_token", SECRET)])?;
    let Some(Value::Text(name)) = model.get("name") else { return Err(Problem::MissingField { field: "name" }) };
    check_name_is_free(connection, name)?;
    let mut fields = defaults(now);
    fields.retain(|name, _| table.has(name));
    fields.extend(model.clone());
    insert(connection, &fields)
}

pub(super) fn update(connection: &Connection, id: i64, updates: &Fields, now: Timestamp) -> Result<(), Problem> {
    const STABLE: &str = "it never changes";
    let table = Table::require(connection)?;
    let fixed = [("id", STABLE), ("created_at", STABLE), ("updated_at", "herdsman sets it"), ("hf_token", SECRET)];
    check(&table, updates, &fixed)?;
    if row(connection, &table, id)?.is_none() {
        return Err(Problem::UnknownId { id });
    }
    if let Some(Value::Text(name)) = updates.get("name")
        && let Some(other) = other_row_named(connection, name, id)?
    {
        return Err(Problem::NameTaken { name: name.clone(), id: other });
    }
    let mut fields = updates.clone();
    fields.insert("updated_at".to_owned(), Value::Integer(now.0));
    set(connection, id, &fields)
}

pub(super) fn delete(connection: &Connection, id: i64) -> Result<(), Problem> {
    match connection.prepare_cached("DELETE FROM models WHERE id = ?1")?.execute([id])? {
        0 => Err(Problem::UnknownId { id }),
        _ => Ok(()),
    }
}

/// Returns the names of all rows, and with `has_records` those in herdsman's own
/// tables.
pub(super) fn names(connection: &Connection, has_records: bool) -> Result<BTreeSet<String>, Problem> {
    let rows = Table::read(connection)?.map(|_| "models");
    let own = ["herdsman_models", "herdsman_events"].into_iter().filter(|_| has_records);
    let mut names = BTreeSet::new();
    for table in rows.into_iter().chain(own) {
        let mut statement = connection.prepare(&format!("SELECT DISTINCT name FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            names.insert(text(row, 0)?);
        }
    }
    Ok(names)
}

pub(super) fn duplicate_names(connection: &Connection) -> Result<Vec<(String, Vec<i64>)>, Problem> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    if Table::read(connection)?.is_some() {
        let shared =
            "SELECT name, id FROM models WHERE name IN (SELECT name FROM models GROUP BY name HAVING count(*) > 1)
                      ORDER BY id";
        let mut statement = connection.prepare(shared)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.entry(text(row, 0)?).or_default().push(row.get(1)?);
        }
    }
    Ok(found.into_iter().collect())
}

/// Reads a text column, whatever it contains.
pub(super) fn text(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(row
        .get_ref(index)?
        .as_bytes_or_null()?
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default())
}

/// Inserts a row with exactly these columns and returns its id.
pub(super) fn insert(connection: &Connection, fields: &Fields) -> Result<i64, Problem> {
    let names: Vec<String> = fields.keys().map(|name| quoted(name)).collect();
    let marks = vec!["?"; fields.len()].join(", ");
    let sql = ["INSERT INTO models (", &names.join(", "), ") VALUES (", &marks, ")"].concat();
    connection.prepare_cached(&sql)?.execute(params_from_iter(fields.values()))?;
    let id = connection.last_insert_rowid();
    if id >= ID_LIMIT { Err(Problem::IdTooLarge { id }) } else { Ok(id) }
}

/// Sets exactly these columns of the row.
pub(super) fn set(connection: &Connection, id: i64, fields: &Fields) -> Result<(), Problem> {
    let assignments: Vec<String> = fields.keys().map(|name| quoted(name) + " = ?").collect();
    let sql = format!("UPDATE models SET {} WHERE id = ?", assignments.join(", "));
    let id = Value::Integer(id);
    connection.prepare_cached(&sql)?.execute(params_from_iter(fields.values().chain([&id])))?;
    Ok(())
}

pub(super) fn check_name_is_free(connection: &Connection, name: &str) -> Result<(), Problem> {
    // No row has the id -2^63: SQLite starts at 1.
    match other_row_named(connection, name, i64::MIN)? {
        Some(id) => Err(Problem::NameTaken { name: name.to_owned(), id }),
        None => Ok(()),
    }
}

fn other_row_named(connection: &Connection, name: &str, id: i64) -> Result<Option<i64>, Problem> {
    let sql = "SELECT id FROM models WHERE name = ?1 COLLATE BINARY AND id <> ?2 ORDER BY id LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row((name, id), |row| row.get(0)).optional()?)
}

/// Returns the contract's defaults for a new row.
fn defaults(now: Timestamp) -> Fields {
    let mut fields: Fields = PARAMETERS.iter().map(|column| (column.name.to_owned(), column.default())).collect();
    fields.insert("type".to_owned(), Value::Text("llama".to_owned()));
    fields.extend(state_of_new_row(Status::Idle, now));
    fields
}

/// Returns what a new row has besides the values of a definition or a client.
pub(super) fn state_of_new_row(status: Status, now: Timestamp) -> [(String, Value); 4] {
    [
        ("status".to_owned(), Value::Text(words::word_of_status(status).to_owned())),
        ("fit_params_available".to_owned(), Value::Integer(0)),
        ("created_at".to_owned(), Value::Integer(now.0)),
        ("updated_at".to_owned(), Value::Integer(now.0)),
    ]
}

const SECRET: &str = "secrets stay out of SQLite; put it in a definition's [secrets]";

/// Refuses unknown columns, those in `fixed`, and invalid values.
fn check(table: &Table, fields: &Fields, fixed: &[(&str, &'static str)]) -> Result<(), Problem> {
    for (field, value) in fields {
        if let Some((_, why)) = fixed.iter().find(|(name, _)| name == field) {
            return Err(Problem::FixedField { field: field.clone(), why });
        }
        if !table.has(field) {
            return Err(Problem::UnknownField { field: field.clone(), nearest: nearest(table, field) });
        }
        if let Some(expected) = refused(field, value) {
            return Err(Problem::InvalidValue { column: field.clone(), found: shown(value), expected });
        }
    }
    Ok(())
}

/// Returns the column most similar to `field`, if one is similar at all.
fn nearest(table: &Table, field: &str) -> Option<String> {
    let wanted = field.to_lowercase();
    let likeness = |column: &&String| strsim::jaro_winkler(column, &wanted);
    let best = table.columns().iter().max_by(|left, right| likeness(left).total_cmp(&likeness(right)))?;
    (likeness(&best) > 0.75).then(|| best.clone())
}

/// Returns what the column accepts, if it does not accept this value.
fn refused(column: &str, value: &Value) -> Option<String> {
    let one_of = |words: &[&str]| match value {
        Value::Text(word) if words.contains(&word.as_str()) => None,
        _ => Some(words.join(", ")),
    };
    match column {
        "name" => (!matches!(value, Value::Text(name) if !name.is_empty())).then(|| "text".to_owned()),
        "type" => one_of(&words::TYPE_WORDS),
        "status" => one_of(&Status::ALL.map(words::word_of_status)),
        "created_at" | "updated_at" => {
            (!matches!(value, Value::Integer(_))).then(|| "milliseconds since the epoch".to_owned())
        }
        "parameters" => match value {
            Value::Null => None,
            Value::Text(text) if serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok() => None,
            _ => Some("a JSON object as text, or null".to_owned()),
        },
        _ => {
            let kind = PARAMETERS.iter().find(|known| known.name == column)?.kind;
            (!takes(kind, value)).then(|| kind.words().to_owned())
        }
    }
}

fn takes(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Integer(_) => kind != Kind::Text,
        Value::Real(_) => kind == Kind::Real,
        Value::Text(_) => kind == Kind::Text,
        Value::Blob(_) => false,
    }
}
