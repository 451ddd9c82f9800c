//! JSON as TOML.

use serde_json::Value as Json;
use toml_edit::{Array, InlineTable, Value};

/// Converts to the TOML value with the same meaning; `None` for what TOML lacks
/// (`null`, also inside).
pub(super) fn of(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(on) => Value::from(*on),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::from(integer),
            None => Value::from(number.as_f64()?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().map(of).collect::<Option<Array>>()?),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Some((key.as_str(), of(value)?)));
            Value::InlineTable(fields.collect::<Option<InlineTable>>()?)
        }
    })
}
