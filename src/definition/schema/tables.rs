//! The tables of a definition, except `[parameters]`.

use serde_json::{Value, json};

use super::super::draft::OFF;
use super::super::duration;
use super::super::keys::{GroupKey, IdleKey, ReadyKey, SecretKey, ServeKey, SourceKey, UpdateKey};
use super::{object, text, with_default, words};
use crate::llama::catalogue::Catalogue;
use crate::model::{IdlePolicy, OnFailure, ReadyPolicy, ServePolicy, UpdatePolicy};

/// `[env]`: any variable, except those that have their own key.
pub(super) fn env(catalogue: &Catalogue) -> Value {
    let (beginnings, names) = catalogue.owned_variables();
    json!({
        "description": "Environment variables of the server process.",
        "type": "object",
        "propertyNames": {
            "pattern": text::VARIABLE,
            "not": { "anyOf": [
                { "pattern": format!("^({})", beginnings.map(text::literally).join("|")) },
                { "enum": names },
            ] },
        },
        "additionalProperties": { "type": "string" },
    })
}

/// `[secrets]`.
pub(super) fn secrets() -> Value {
    let about = "Where to find secrets; they never appear in a command line, the database, a log or a plan.";
    let secret = |key: &SecretKey| match key {
        SecretKey::ApiKey => source("The key that clients must send."),
        SecretKey::HfToken => source("The token llama-server downloads with."),
    };
    object(SecretKey::ALL.iter().map(|key| (key.as_str(), secret(key))), about)
}

/// Where one secret is.
fn source(description: &str) -> Value {
    let place = |key: &SourceKey| match key {
        SourceKey::File => text("A file; its path is relative to this one.", "."),
        SourceKey::Env => text("A variable in herdsman's own environment.", text::VARIABLE),
    };
    let mut schema = object(SourceKey::ALL.iter().map(|key| (key.as_str(), place(key))), description);
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

/// `[ready]`.
pub(super) fn ready() -> Value {
    let default = ReadyPolicy::default();
    let key = |key: &ReadyKey| match key {
        ReadyKey::Timeout => {
            let about = "How long a start may make no progress before it fails.";
            with_default(described(about, positive()), duration::text(default.timeout))
        }
        ReadyKey::UnhealthyAfter => {
            let about = "Kill and restart a server whose /health has not answered for this long.";
            let default = default.unhealthy_after.map_or_else(|| OFF.to_owned(), duration::text);
            with_default(described(about, or_off(positive())), default)
        }
        ReadyKey::RequireGpu => {
            let flag = json!({ "type": "boolean" });
            with_default(
                described("Count the server as ready only if it really has layers on a GPU.", flag),
                default.require_gpu,
            )
        }
    };
    object(ReadyKey::ALL.iter().map(|name| (name.as_str(), key(name))), "When a server counts as ready.")
}

/// `[update]`.
pub(super) fn update() -> Value {
    let default = UpdatePolicy::default();
    let key = |key: &UpdateKey| match key {
        UpdateKey::Drain => {
            let about = "How long to wait for in-flight requests before stopping the server.";
            with_default(described(about, any_duration()), duration::text(default.drain))
        }
        UpdateKey::OnFailure => {
            let about = "What to do when a new generation does not become ready: roll back to the last one that did, \
                         or stop.";
            words(about, OnFailure::ALL.map(OnFailure::as_str))
        }
    };
    object(UpdateKey::ALL.iter().map(|name| (name.as_str(), key(name))), "How an update replaces a running server.")
}

/// `[idle]`.
pub(super) fn idle() -> Value {
    let default = IdlePolicy::default();
    let key = |key: &IdleKey| match key {
        IdleKey::StopAfter => {
            let about = "Stop an `on_demand` model that had no request for this long.";
            let default = default.stop_after.map_or_else(|| OFF.to_owned(), duration::text);
            with_default(described(about, or_off(positive())), default)
        }
    };
    object(IdleKey::ALL.iter().map(|name| (name.as_str(), key(name))), "When a model that runs on demand stops.")
}

/// `[serve]`.
pub(super) fn serve() -> Value {
    let default = ServePolicy::default();
    let key = |key: &ServeKey| match key {
        ServeKey::Listed => {
            let about = "List the model in `GET /v1/models`; requests that name it work anyway.";
            with_default(described(about, json!({ "type": "boolean" })), default.listed)
        }
        ServeKey::MaxInFlight => {
            let about = "How many requests the server answers at once; further ones wait.";
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
            with_default(described(about, or_off(limit)), default.max_in_flight.map_or(OFF.into(), Value::from))
        }
    };
    object(ServeKey::ALL.iter().map(|name| (name.as_str(), key(name))), "How `herdsman watch --listen` offers it.")
}

/// A group of `_groups.toml`.
pub(super) fn group() -> Value {
    let key = |key: &GroupKey| match key {
        GroupKey::MaxRunning => json!({
            "description": "How many of its members run at once, at most.",
            "type": "integer",
            "minimum": 1,
            "maximum": u32::MAX,
        }),
    };
    let mut schema = object(GroupKey::ALL.iter().map(|name| (name.as_str(), key(name))), "Models that share room.");
    schema["required"] = json!([GroupKey::MaxRunning.as_str()]);
    schema
}

/// What `schema` takes, or `"off"`.
fn or_off(schema: Value) -> Value {
    json!({ "anyOf": [{ "const": OFF }, schema] })
}

fn any_duration() -> Value {
    json!({ "type": "string", "minLength": 1, "pattern": duration::pattern() })
}

/// A duration with a digit that is not zero.
fn positive() -> Value {
    json!({ "type": "string", "pattern": duration::pattern(), "not": { "pattern": "^[^1-9]*$" } })
}

fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = description.into();
    schema
}
