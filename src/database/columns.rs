//! The columns of `models` that record a parameter: type, default, and the
//! llama-server options that fill them.

use rusqlite::types::Value;
use serde_json::{Map, Value as Json};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Real,
    Text,
}

/// The contract's default. It says nothing about llama-server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    Null,
    Integer(i64),
    Real(f64),
}

/// One column that records a parameter.
#[derive(Debug)]
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    default: Default,
    /// The options that fill it, besides one with the column's own name: the names
    /// that llama-server's `--help` prints.
    options: &'static [&'static str],
}

/// Every column that records a parameter, in the order of the contract.
pub(super) const PARAMETERS: [Column; 29] = [
    text("model_path", &["model"]),
    text("model_url", &[]),
    text("docker_repo", &[]),
    text("hf_repo", &[]),
    text("hf_repo_draft", &["spec_draft_hf"]),
    text("hf_file", &[]),
    text("hf_file_v", &[]),
    integer("ctx_size", Default::Integer(0), &[]),
    integer("predict", Default::Integer(-1), &["n_predict"]),
    integer("batch_size", Default::Integer(2048), &[]),
    integer("ubatch_size", Default::Integer(512), &[]),
    integer("n_parallel", Default::Integer(-1), &["parallel"]),
    integer("cont_batching", Default::Integer(0), &[]),
    integer("threads", Default::Integer(-1), &[]),
    integer("threads_batch", Default::Null, &[]),
    text("cpu_mask", &[]),
    text("cpu_range", &[]),
    integer("cpu_strict", Default::Integer(0), &[]),
    text("cpu_mask_batch", &[]),
    text("cpu_range_batch", &[]),
    integer("cpu_strict_batch", Default::Integer(0), &[]),
    integer("priority", Default::Integer(0), &["prio"]),
    integer("priority_batch", Default::Null, &["prio_batch"]),
    integer("gpu_layers", Default::Integer(-1), &["n_gpu_layers"]),
    real("temperature", Default::Real(0.8), &["temp"]),
    integer("top_k", Default::Integer(40), &[]),
    real("top_p", Default::Real(0.9), &[]),
    text("chat_template", &[]),
    // Not a parameter, but written like one: the size of the weights.
    integer("file_size_bytes", Default::Null, &[]),
];

const fn text(name: &'static str, options: &'static [&'static str]) -> Column {
    Column { name, kind: Kind::Text, default: Default::Null, options }
}

const fn integer(name: &'static str, default: Default, options: &'static [&'static str]) -> Column {
    Column { name, kind: Kind::Integer, default, options }
}

const fn real(name: &'static str, default: Default, options: &'static [&'static str]) -> Column {
    Column { name, kind: Kind::Real, default, options }
}

impl Column {
    /// The names of parameters that fill it, the column's own first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.options.iter().copied())
    }

    /// The contract's value when nothing is set.
    pub(super) fn default(&self) -> Value {
        match self.default {
            Default::Null => Value::Null,
            Default::Integer(number) => Value::Integer(number),
            Default::Real(number) => Value::Real(number),
        }
    }

    /// Its value for these parameters. If the column cannot hold a value
    /// (`gpu_layers = "auto"`) it gets the default; `parameters` keeps the value.
    pub(super) fn value_from(&self, parameters: &Map<String, Json>) -> Value {
        let stated = self.keys().find_map(|key| parameters.get(key));
        stated.and_then(|value| self.kind.fit(value)).unwrap_or_else(|| self.default())
    }
}

impl Kind {
    /// Converts the JSON value to this type of column; `None`: it does not fit.
    pub(super) fn fit(self, value: &Json) -> Option<Value> {
        if value.is_null() {
            return Some(Value::Null);
        }
        match self {
            Self::Integer => match value {
                Json::Bool(on) => Some(Value::Integer(i64::from(*on))),
                Json::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)).map(Value::Integer),
                Json::String(text) => text.parse().ok().map(Value::Integer),
                _ => None,
            },
            Self::Real => match value {
                Json::Number(number) => number.as_f64().map(Value::Real),
                Json::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Real),
                _ => None,
            },
            Self::Text => match value {
                Json::String(text) => Some(Value::Text(text.clone())),
                Json::Number(number) => Some(Value::Text(number.to_string())),
                _ => None,
            },
        }
    }

    /// In words, for error messages.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Integer => "a whole number or null",
            Self::Real => "a number or null",
            Self::Text => "text or null",
        }
    }
}

/// Reads `8192.0` as 8192: JSON does not distinguish them.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then(|| format!("{number:.0}").parse().ok()).flatten()
}

/// Whether two values are the same to every reader: SQLite's affinity may turn `1`
/// into `1.0` or `"1"`, and a JSON number that was printed and read again may be
/// off by one unit in the last place.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (number(left), number(right)) {
        (Some(left), Some(right)) => (left - right).abs() <= left.abs().max(right.abs()) * f64::EPSILON * 2.0,
        _ => shown(left) == shown(right) && (left == &Value::Null) == (right == &Value::Null),
    }
}

/// Integers beyond 2^53 are not treated as numbers here, but compared digit by
/// digit.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        Value::Real(number) => Some(*number),
        _ => None,
    }
}

/// Formats a value for people; `NULL` for null.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Whether two JSON values mean the same: unlike `==`, `1` is `1.0`.
pub(super) fn same_json(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left == right
                || matches!((left.as_f64(), right.as_f64()), (Some(l), Some(r)) if same(&Value::Real(l), &Value::Real(r)))
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_json(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same_json(left, right)))
        }
        _ => left == right,
    }
}
