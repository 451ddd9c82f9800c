//! A variant with its facts, as stories show it: `edit(generation 2, serving 1)`.
//!
//! It is read from what the variant serialises to, so a new variant needs no code
//! here. Prose for people is left out: `tests/pure/words.rs` pins that, once.

use herdsman::model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::show::clock;

/// Fields that hold prose, or that no story turns on: the hash of a spec, when
/// something was asked for.
const LEFT_OUT: [&str; 5] = ["message", "problem", "at", "found", "wanted"];

/// Fields that hold a time.
const TIMES: [&str; 2] = ["until", "deadline"];

/// What changed, from what, to what.
const CHANGES: [(&str, &str, &str); 2] = [("field", "old", "new"), ("column", "recorded", "found")];

/// `wait_for(fact, fact)`; `tag` is the field that holds the variant's name.
pub fn variant(value: &impl Serialize, tag: &str) -> String {
    let mut fields = match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("no variant with its fields: {other:?}"),
    };
    let name = match fields.remove(tag) {
        Some(Value::String(name)) => name,
        other => panic!("the tag {tag} is {other:?}"),
    };
    let facts = facts(fields);
    if facts.is_empty() { name } else { format!("{name}({})", facts.join(", ")) }
}

fn facts(mut fields: Map<String, Value>) -> Vec<String> {
    let change = change(&mut fields);
    change.into_iter().chain(fields.iter().filter_map(|(key, value)| fact(key, value))).collect()
}

/// `ctx_size 8192 -> 16384`, `ctx_size set to 8192`, `ctx_size no longer 8192`.
fn change(fields: &mut Map<String, Value>) -> Option<String> {
    let (name, old, new) = CHANGES.into_iter().find(|(name, ..)| fields.contains_key(*name))?;
    let [name, old, new] = [name, old, new].map(|key| fields.remove(key).unwrap_or_default());
    let name = plain(&name);
    Some(match (&old, &new) {
        (Value::Null, Value::Null) => name,
        (Value::Null, new) => format!("{name} set to {}", plain(new)),
        (old, Value::Null) => format!("{name} no longer {}", plain(old)),
        (old, new) => format!("{name} {} -> {}", plain(old), plain(new)),
    })
}

fn fact(key: &str, value: &Value) -> Option<String> {
    match value {
        _ if LEFT_OUT.contains(&key) => None,
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(key.to_owned()),
        Value::Number(at) if TIMES.contains(&key) => Some(format!("{key} {}", clock(Timestamp(at.as_i64()?)))),
        Value::Object(fields) => match (fields.get("file"), fields.get("line").and_then(Value::as_u64)) {
            // A place: line 0 stands for the file as a whole.
            (Some(file), Some(0)) => Some(plain(file)),
            (Some(file), Some(line)) => Some(format!("{}:{line}", plain(file))),
            _ => Some(format!("{key}({})", facts(fields.clone()).join(", "))),
        },
        value => Some(format!("{key} {}", plain(value))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
