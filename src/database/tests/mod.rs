//! Tests on real files, with a second connection as "another client".
#![allow(clippy::unwrap_used, reason = "tests")]

mod applied;
mod changes;
mod contract;
mod conversion;
mod damage;
mod drift;
mod foreign;
mod hostile;
mod migrating;
mod notifications;
mod opening;
mod overrides;
mod power_loss;
mod salvage;
mod scale;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;

use super::{ColumnValue, Database, Fields};
use crate::model::{
    Change, DesiredState, ModelConfig, ModelName, ModelRecord, ModelType, NewGeneration, Origin, SpecHash, Table,
    Timestamp,
};

/// A database in a directory of its own.
struct Scratch {
    directory: TempDir,
}

/// A directory that was made read-only could not be removed.
impl Drop for Scratch {
    fn drop(&mut self) {
        fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("herdsman.db")
    }

    fn open(&self) -> Database {
        Database::open(&self.path()).unwrap()
    }

    /// Another program, with SQLite's own defaults.
    fn client(&self) -> Connection {
        let client = Connection::open(self.path()).unwrap();
        client.pragma_update(None, "foreign_keys", false).unwrap();
        client
    }

    /// The names in the directory, sorted.
    fn listing(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp(milliseconds)
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn fields<const N: usize>(pairs: [(&str, ColumnValue); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(text: &str) -> ColumnValue {
    ColumnValue::Text(text.to_owned())
}

fn int(number: i64) -> ColumnValue {
    ColumnValue::Integer(number)
}

fn object(value: Json) -> Map<String, Json> {
    value.as_object().unwrap().clone()
}

fn config(model: &str) -> ModelConfig {
    ModelConfig {
        drain_ms: 30_000,
        name: name(model),
        source: format!("/models.d/{model}.toml"),
        model_type: ModelType::Llama,
        state: DesiredState::Running,
        description: None,
        labels: [("team".into(), "search".to_owned())].into_iter().collect(),
        aliases: Vec::new(),
        file_size: Some(1234),
        groups: Vec::new(),
        parameters: object(json!({
            "ctx_size": 8192, "model": "/w/m.gguf", "gpu_layers": "auto", "temperature": 0.7,
            "parallel": 4, "cont_batching": true, "prio": 2, "rope_scale": 1.5,
        })),
    }
}

fn generation(model: &str, number: u32) -> Change {
    Change::AddGeneration(NewGeneration {
        model: name(model),
        number,
        hash: SpecHash(format!("v1:{number:032x}")),
        spec_json: format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", 8100 + number),
        source: format!("/models.d/{model}.toml"),
        origins: vec![Origin::new("models.d/a.toml", number)],
        lines: Table::default(),
        provenance: None,
    })
}

fn create(config: &ModelConfig) -> [Change; 2] {
    [Change::CreateModel { config: config.clone(), adopt_row: None }, generation(config.name.as_str(), 1)]
}

fn adopt(config: &ModelConfig, row: i64) -> [Change; 2] {
    [Change::CreateModel { config: config.clone(), adopt_row: Some(row) }, generation(config.name.as_str(), 1)]
}

fn record(database: &Database, model: &str) -> ModelRecord {
    database.records().unwrap().models.remove(model).unwrap()
}
