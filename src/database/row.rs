//! One row of `models`, whatever columns the table has.

use std::collections::BTreeMap;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde_json::{Map, Number, Value as Json};

use super::Problem;
use super::words::{status_from_word, type_from_word};
use crate::model::{ModelType, Status, Timestamp};

pub use rusqlite::types::Value as ColumnValue;

/// A row of `models` in the database's own words. It has only the columns of the
/// table; another program's database may have more or fewer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    id: i64,
    columns: BTreeMap<String, ColumnValue>,
}

impl ModelRow {
    /// Reads the named columns; `id` must be among them.
    pub(super) fn read(names: &[String], row: &Row<'_>) -> Result<Self, Problem> {
        let mut id = None;
        let mut columns = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let value = owned(row.get_ref(index)?);
            if let ("id", ColumnValue::Integer(number)) = (name.as_str(), &value) {
                id = Some(*number);
            }
            columns.insert(name.clone(), value);
        }
        let id = id.ok_or_else(|| Problem::IdType { found: "not a number".to_owned() })?;
        Ok(Self { id, columns })
    }

    /// The id: stable for the life of the model.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The name: any text in a row of another program.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    /// The type; the word itself is the column `type`.
    #[must_use]
    pub fn model_type(&self) -> ModelType {
        type_from_word(self.text("type").unwrap_or_default())
    }

    /// The status; the word itself is the column `status`.
    #[must_use]
    pub fn status(&self) -> Status {
        status_from_word(self.text("status").unwrap_or_default())
    }

    /// When it was created; `None`: the column holds no integer.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.integer("created_at").map(Timestamp)
    }

    /// When it was last changed; `None`: the column holds no integer.
    #[must_use]
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.integer("updated_at").map(Timestamp)
    }

    /// The JSON object in `parameters`; empty if there is none.
    #[must_use]
    pub fn parameters(&self) -> Map<String, Json> {
        self.text("parameters").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Any column; `None`: the table does not have it.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&ColumnValue> {
        self.columns.get(column)
    }

    /// A column that holds text.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.columns.get(column) {
            Some(ColumnValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A column that holds an integer.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.columns.get(column) {
            Some(ColumnValue::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// Every column, by name.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &ColumnValue)> {
        self.columns.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the row as JSON in the database's words, for the database view,
    /// without a secret that another program stored there (`hf_token`).
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        self.columns
            .iter()
            .filter(|(name, _)| *name != "hf_token")
            .map(|(name, value)| (name.clone(), json_of(value)))
            .collect()
    }
}

/// Converts a value to JSON: null if JSON cannot express it (bytes, infinity).
pub(super) fn json_of(value: &ColumnValue) -> Json {
    match value {
        ColumnValue::Null | ColumnValue::Blob(_) => Json::Null,
        ColumnValue::Integer(number) => Json::from(*number),
        ColumnValue::Real(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        ColumnValue::Text(text) => Json::from(text.as_str()),
    }
}

/// Reads invalid UTF-8 lossily: one odd row of another program must not hide all
/// the others.
fn owned(value: ValueRef<'_>) -> ColumnValue {
    match value {
        ValueRef::Null => ColumnValue::Null,
        ValueRef::Integer(number) => ColumnValue::Integer(number),
        ValueRef::Real(number) => ColumnValue::Real(number),
        ValueRef::Text(bytes) => ColumnValue::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => ColumnValue::Blob(bytes.to_vec()),
    }
}
