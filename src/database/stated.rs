//! What a row sets for its model, without the table's defaults: those never turn
//! into options.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::{Map, Value as Json};

use super::Problem;
use super::columns::{Column, PARAMETERS, same};
use super::row::{ModelRow, json_of};

/// Columns that describe the row rather than a parameter, and the secret.
const NOT_STATED: [&str; 11] = [
    "id",
    "name",
    "type",
    "status",
    "parameters",
    "created_at",
    "updated_at",
    "file_size_bytes",
    "fit_params_available",
    "last_fit_params_check",
    "hf_token",
];

/// The table's column defaults that are plain values.
pub(super) fn defaults(connection: &Connection) -> Result<BTreeMap<String, Value>, Problem> {
    let mut statement = connection.prepare("SELECT lower(name), dflt_value FROM pragma_table_info('models')")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
    let mut defaults = BTreeMap::new();
    for row in rows {
        let (name, default) = row?;
        defaults.insert(name, default.as_deref().map_or(Value::Null, literal));
    }
    Ok(defaults)
}

/// Reads an SQL literal. An expression is not a default to compare with.
fn literal(text: &str) -> Value {
    let text = text.trim().trim_start_matches('(').trim_end_matches(')').trim();
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    if let Ok(number) = text.parse() {
        return Value::Real(number);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => return Value::Integer(1),
        "false" => return Value::Integer(0),
        _ => {}
    }
    let quoted = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    quoted('\'').or_else(|| quoted('"')).map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

/// What `row` sets, by option name.
pub(super) fn of(row: &ModelRow, defaults: &BTreeMap<String, Value>) -> Map<String, Json> {
    let json = row.parameters();
    let mut stated: Map<String, Json> =
        json.iter().map(|(key, value)| (option(key).to_owned(), value.clone())).collect();
    for (name, value) in row.columns().filter(|(name, _)| !NOT_STATED.contains(name)) {
        let column = column(name);
        let is_default = *value == Value::Null
            || defaults.get(name).is_some_and(|default| same(value, default))
            // A column that only repeats the JSON, which may be more precise
            // (`auto`).
            || column.is_some_and(|column| same(value, &column.value_from(&json)));
        if is_default || (column.is_none() && json.contains_key(name)) {
            continue;
        }
        for key in column.into_iter().flat_map(Column::keys) {
            stated.remove(key);
        }
        stated.insert(option(name).to_owned(), json_of(value));
    }
    stated
}

fn column(name: &str) -> Option<&'static Column> {
    PARAMETERS.iter().find(|column| column.name == name)
}

/// Returns llama-server's name for a column's parameter.
fn option(name: &str) -> &str {
    column(name).and_then(|column| column.keys().nth(1)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_read_where_it_is_a_plain_value() {
        let read = ["0", "-1", "0.8", "'q8_0'", "\"x\"", "NULL", "(5)", "true", "CURRENT_TIMESTAMP", "strftime('%s')"];
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [
            Value::Integer(0),
            Value::Integer(-1),
            Value::Real(0.8),
            text("q8_0"),
            text("x"),
            Value::Null,
            Value::Integer(5),
            Value::Integer(1),
            Value::Null,
            Value::Null,
        ];
        assert_eq!(read.map(literal), expected);
    }
}
