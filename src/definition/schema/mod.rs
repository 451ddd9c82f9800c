//! The JSON Schema of a definition, for editors and other programs.
//!
//! ```text
//!   keys                 which keys there are   ->  mod, tables   what each may be
//!   catalogue            which options          ->  parameters    by all their names
//!                                               ->  option        what each may be
//!   the parsers' rules   host, duration, …      ->  text          as patterns
//! ```
//!
//! Invariants:
//! - The schema accepts everything the loader accepts, so an editor never marks a
//!   line that works. What no schema can express (whether a file exists, two
//!   spellings of one option, a duration that is too long) is left to the loader.
//! - The same catalogue gives the same text. Patterns use only what every regular
//!   expression engine supports: no look-ahead.

mod option;
mod parameters;
mod tables;
mod text;

use serde_json::{Map, Value, json};

use super::defaults::FILE_NAME;
use super::draft::FileKind;
use super::keys::Key;
use super::{groups, host};
use crate::llama::catalogue::Catalogue;
use crate::model::{DesiredState, Evict, ModelType, Placement};

/// The schema (JSON Schema, 2020-12) of a definition or of `_defaults.toml`,
/// with the options of one llama-server.
#[must_use]
pub fn schema(catalogue: &Catalogue, kind: FileKind) -> Value {
    let (title, description) = match kind {
        FileKind::Definition => ("Model definition", "One llama-server that herdsman keeps running."),
        FileKind::Defaults => (FILE_NAME, "Defaults for every definition in the same directory."),
    };
    let keys = Key::ALL.iter().filter(|key| kind == FileKind::Definition || !key.is_of_one_model());
    let mut schema = object(keys.map(|key| (key.as_str(), of_key(*key, catalogue))), description);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = title.into();
    if kind == FileKind::Definition {
        schema["oneOf"] = Key::WEIGHTS.iter().map(|key| json!({ "required": [key.as_str()] })).collect();
    }
    schema
}

/// The schema (JSON Schema, 2020-12) of `_groups.toml`.
#[must_use]
pub fn groups_schema() -> Value {
    let mut schema = json!({
        "description": "Groups of models that share room: a definition names its own with `group`.",
        "type": "object",
        "propertyNames": { "pattern": text::NAME },
        "additionalProperties": tables::group(),
    });
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = groups::FILE_NAME.into();
    schema
}

fn of_key(key: Key, catalogue: &Catalogue) -> Value {
    match key {
        Key::Type => words("The model's family; only recorded.", ModelType::ALL.map(ModelType::as_str)),
        Key::State => words(
            "`running`; `on_demand` to start with the first request; `stopped` to keep the record without a server.",
            DesiredState::ALL.map(DesiredState::as_str),
        ),
        Key::Name => text("The model's name; by default the file name without `.toml`.", text::NAME),
        Key::Model => text("The weights: a path relative to this file.", text::NOT_BLANK),
        Key::HfRepo => text("The weights: a Hugging Face repository, which llama-server downloads.", text::REPOSITORY),
        Key::ModelUrl => text("The weights: a URL, which llama-server downloads.", text::URL),
        Key::Host => {
            let about = "The address to listen on, or a unix socket: an absolute path that ends in `.sock`.";
            with_default(text(about, text::HOST), host::DEFAULT)
        }
        Key::Port => json!({
            "description": "A fixed port; by default herdsman picks one and keeps it.",
            "type": "integer",
            "minimum": 1,
            "maximum": u16::MAX,
        }),
        Key::Aliases => json!({
            "description": "More names that the server answers to.",
            "type": "array",
            "items": { "type": "string", "pattern": text::ALIAS },
            "default": [],
        }),
        Key::Group => {
            let name = json!({ "type": "string", "pattern": text::NAME });
            let names = json!({ "type": "array", "items": name });
            json!({
                "description": "The group, or groups, of `_groups.toml` that it shares room with.",
                "anyOf": [name, names],
                "default": [],
            })
        }
        Key::Priority => json!({
            "description": "In a full group, the idle model with the lowest priority stops first.",
            "type": "integer",
            "minimum": i32::MIN,
            "maximum": i32::MAX,
            "default": Placement::default().priority,
        }),
        Key::Evict => words(
            "Whether herdsman may stop it to make room for another model: `idle`, once its requests have ended, or `never`.",
            Evict::ALL.map(Evict::as_str),
        ),
        Key::Binary => {
            text("Another llama-server for this model: a path relative to this file, or a command.", text::NOT_BLANK)
        }
        Key::Description => text("A free-text note; only recorded.", ""),
        Key::Labels => json!({
            "description": "Labels of your own; only recorded.",
            "type": "object",
            "additionalProperties": { "type": "string" },
        }),
        Key::Parameters => parameters::schema(catalogue),
        Key::Env => tables::env(catalogue),
        Key::Secrets => tables::secrets(),
        Key::Ready => tables::ready(),
        Key::Update => tables::update(),
        Key::Idle => tables::idle(),
        Key::Serve => tables::serve(),
    }
}

/// A table with these keys and no others.
fn object<'k>(keys: impl Iterator<Item = (&'k str, Value)>, description: &str) -> Value {
    let properties: Map<String, Value> = keys.map(|(key, value)| (key.to_owned(), value)).collect();
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// A text; an empty `pattern` allows any text.
fn text(description: &str, pattern: &str) -> Value {
    let mut schema = json!({ "description": description, "type": "string" });
    if !pattern.is_empty() {
        schema["pattern"] = pattern.into();
    }
    schema
}

/// One of these words; the first is the default.
fn words<const N: usize>(description: &str, words: [&str; N]) -> Value {
    json!({ "description": description, "enum": words.as_slice(), "default": words.first() })
}

fn with_default(mut schema: Value, default: impl Into<Value>) -> Value {
    schema["default"] = default.into();
    schema
}
