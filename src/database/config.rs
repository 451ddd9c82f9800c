//! What herdsman writes into a row: [`ModelConfig`] as columns.

use rusqlite::types::Value;
use serde_json::Value as Json;

use super::columns::PARAMETERS;
use super::models::Fields;
use super::table::Table;
use super::words::{type_from_word, word_of_type};
use crate::model::{ModelConfig, ModelType};

/// Returns herdsman's columns that this table has, in a fixed order.
///
/// Not among them: `id`, `status` (observed), `created_at`, `updated_at`,
/// `hf_token` (secrets stay out of SQLite), `fit_params_available` and
/// `last_fit_params_check` (measured by other programs), and every column that
/// herdsman does not know.
pub(super) fn owned_columns(table: &Table) -> Vec<&'static str> {
    let all = ["name", "type"].into_iter().chain(PARAMETERS.iter().map(|column| column.name)).chain(["parameters"]);
    all.filter(|name| table.has(name)).collect()
}

/// Returns every owned column with its value from `config`. `type_word` is the
/// row's current word: it is kept if it means the same, so `gpt` stays `gpt`.
pub(super) fn owned_values(config: &ModelConfig, type_word: Option<&str>) -> Fields {
    // Destructured, so that a new field does not compile until someone decides
    // whether a column records it.
    let ModelConfig {
        name,
        model_type,
        drain_ms: _,
        file_size,
        parameters,
        source: _,
        state: _,
        description: _,
        labels: _,
        aliases: _,
        groups: _,
    } = config;
    let mut fields: Fields =
        PARAMETERS.iter().map(|column| (column.name.to_owned(), column.value_from(parameters))).collect();
    fields.insert("name".to_owned(), Value::Text(name.as_str().to_owned()));
    fields.insert("type".to_owned(), Value::Text(type_to_write(*model_type, type_word).to_owned()));
    let size = file_size.and_then(|bytes| i64::try_from(bytes).ok());
    fields.insert("file_size_bytes".to_owned(), size.map_or(Value::Null, Value::Integer));
    fields.insert("parameters".to_owned(), Value::Text(Json::Object(parameters.clone()).to_string()));
    fields
}

fn type_to_write(wanted: ModelType, present: Option<&str>) -> &str {
    match present {
        Some(word) if type_from_word(word) == wanted => word,
        _ => word_of_type(wanted),
    }
}
