//! The two vocabularies: rows (the database form) and what people, JSON and
//! definitions use (the store form).
//!
//! - store → database → store loses nothing: what a column cannot hold is in
//!   `parameters`, and anything extra that comes back is a column at its default.
//! - database → store → database changes nothing: given the original row,
//!   [`to_database`] returns only the columns whose *meaning* changed, so a `gpt`
//!   row stays `gpt` and unknown columns stay as they are.

use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::columns::{Column, PARAMETERS, same, same_json};
use super::models::{Fields, ID_LIMIT};
use super::row::{ModelRow, json_of};
pub use super::words::{TYPE_WORDS, status_from_word, type_from_word, word_of_status, word_of_type};
use crate::model::{ModelType, Status, Timestamp};

/// A model in the store form. Its JSON has the keys `id, name, type, status,
/// template, parameters, createdAt, updatedAt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreModel {
    /// The row's id in decimal; `None`: not saved yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub model_type: ModelType,
    /// The status.
    #[serde(default)]
    pub status: Status,
    /// The column `chat_template`.
    #[serde(default)]
    pub template: Option<String>,
    /// The parameters: those with a column under the column's name, and everything
    /// else in the row's JSON.
    #[serde(default)]
    pub parameters: Map<String, Json>,
    /// When it was created; `None`: the row does not say.
    #[serde(default, with = "iso")]
    pub created_at: Option<Timestamp>,
    /// When it was last changed; `None`: the row does not say.
    #[serde(default, with = "iso")]
    pub updated_at: Option<Timestamp>,
}

/// A text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: an id is a whole number below 2^53, without sign, spaces or leading zeros")]
pub struct IdError(pub String);

/// The parameters the store form always shows, even at their defaults.
const ALWAYS_SHOWN: [&str; 9] =
    ["ctx_size", "batch_size", "threads", "gpu_layers", "temperature", "top_k", "top_p", "model_path", "model_url"];

/// `chat_template` has its own field, and the file's size is not a parameter.
const NOT_A_PARAMETER: [&str; 2] = ["chat_template", "file_size_bytes"];

/// Reads an id. `7b-chat`, ` 7`, `+7` and `07` are not 7.
///
/// # Errors
/// The text is not exactly a printed id, or the id is 2^53 or more.
pub fn parse_id(text: &str) -> Result<i64, IdError> {
    let number = text.parse::<i64>().ok().filter(|id| (0..ID_LIMIT).contains(id) && id.to_string() == text);
    number.ok_or_else(|| IdError(text.to_owned()))
}

/// Returns the store form of a row.
#[must_use]
pub fn to_store(row: &ModelRow) -> StoreModel {
    StoreModel {
        id: Some(row.id().to_string()),
        name: row.name().to_owned(),
        model_type: row.model_type(),
        status: row.status(),
        template: row.text("chat_template").map(str::to_owned),
        parameters: parameters_of(row),
        created_at: row.created_at().filter(|at| iso::text(*at).is_some()),
        updated_at: row.updated_at().filter(|at| iso::text(*at).is_some()),
    }
}

/// Each column overrides the row's JSON, unless it contains just what that JSON
/// would have written: then the JSON is more precise (`gpu_layers = "auto"`).
fn parameters_of(row: &ModelRow) -> Map<String, Json> {
    let json = row.parameters();
    let mut shown = json.clone();
    for column in parameter_columns() {
        let Some(found) = row.get(column.name) else { continue };
        let says_more = !same(found, &column.value_from(&json));
        let default = ALWAYS_SHOWN.contains(&column.name) && *found != Value::Null && !json.contains_key(column.name);
        if says_more || default {
            shown.insert(column.name.to_owned(), json_of(found));
        }
    }
    shown
}

fn parameter_columns() -> impl Iterator<Item = &'static Column> {
    PARAMETERS.iter().filter(|column| !NOT_A_PARAMETER.contains(&column.name))
}

/// Returns the columns to write for a model in the store form: all for
/// [`super::Database::save_model`], without `present`; only those changed since
/// `present` for [`super::Database::update_model`]. The id is not among them.
#[must_use]
pub fn to_database(store: &StoreModel, present: Option<&ModelRow>) -> Fields {
    let before = present.map(to_store);
    let before = before.as_ref();
    let mut fields = Fields::new();
    let mut put = |column: &str, changed: bool, value: Value| {
        if changed {
            fields.insert(column.to_owned(), value);
        }
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let time = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::Integer(at.0));
    put("name", before.is_none_or(|b| b.name != store.name), text(&store.name));
    put("type", before.is_none_or(|b| b.model_type != store.model_type), text(word_of_type(store.model_type)));
    put("status", before.is_none_or(|b| b.status != store.status), text(word_of_status(store.status)));
    let template = store.template.as_deref().map_or(Value::Null, text);
    put("chat_template", before.is_none_or(|b| b.template != store.template), template);
    for (column, now, then) in [
        ("created_at", store.created_at, before.and_then(|b| b.created_at)),
        ("updated_at", store.updated_at, before.and_then(|b| b.updated_at)),
    ] {
        put(column, now.is_some() && now != then, time(now));
    }
    put_parameters(store, present, before, &mut fields);
    fields
}

/// Returns the columns of the changed parameters, and the JSON with just those
/// changes.
fn put_parameters(store: &StoreModel, present: Option<&ModelRow>, before: Option<&StoreModel>, fields: &mut Fields) {
    let nothing = Map::new();
    let old = before.map_or(&nothing, |before| &before.parameters);
    let new = &store.parameters;
    let unchanged = |key: &str| match (old.get(key), new.get(key)) {
        (Some(old), Some(new)) => same_json(old, new),
        (old, new) => old.is_none() && new.is_none(),
    };
    let changed: Vec<&String> = old.keys().chain(new.keys()).filter(|key| !unchanged(key)).collect();
    for column in parameter_columns().filter(|column| column.keys().any(|key| !unchanged(key))) {
        // Of several names of one parameter, the changed one counts.
        let edited: Map<String, Json> = column
            .keys()
            .filter(|key| !unchanged(key))
            .filter_map(|key| Some((key.to_owned(), new.get(key)?.clone())))
            .collect();
        let stated = if edited.is_empty() { new } else { &edited };
        fields.insert(column.name.to_owned(), column.value_from(stated));
    }
    if !changed.is_empty() || present.is_none() {
        let mut json = present.map(ModelRow::parameters).unwrap_or_default();
        for key in changed {
            match new.get(key) {
                Some(value) => drop(json.insert(key.clone(), value.clone())),
                None => drop(json.remove(key)),
            }
        }
        fields.insert("parameters".to_owned(), Value::Text(Json::Object(json).to_string()));
    }
}

/// ISO 8601, UTC, milliseconds: `2026-11-22T20:21:17.000Z`.
mod iso {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::model::Timestamp;

    /// `None`: outside the years that jiff supports (-9999 to 9999).
    pub(super) fn text(at: Timestamp) -> Option<String> {
        jiff::Timestamp::from_millisecond(at.0).ok().map(|at| format!("{at:.3}"))
    }

    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.and_then(text).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Some(Timestamp(at.as_millisecond())))
    }
}
