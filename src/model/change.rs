//! What a pass writes: each variant is one fact, each commit a transaction.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    BinaryIdentity, Crashes, DesiredState, GenerationOutcome, InstanceId, InstanceRecord, ModelName, ModelType, Origin,
    Override, OverrideKind, PortRecord, Provenance, SpecHash, Status, Table, Telling, Timestamp,
};

/// One fact to record.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new model: a new row in `models`, or an adopted unmanaged one.
    CreateModel {
        /// The configuration to write.
        config: ModelConfig,
        /// The unmanaged row to adopt.
        adopt_row: Option<i64>,
    },
    /// Rewrites the row's own columns: a changed definition, drift corrected, or a
    /// row someone deleted (it returns with its id).
    UpdateModel {
        /// The configuration to write.
        config: ModelConfig,
    },
    /// The next generation of a model; it becomes the wanted one.
    AddGeneration(NewGeneration),
    /// The outcome of a generation.
    SetGenerationOutcome {
        /// The model.
        model: ModelName,
        /// The generation.
        number: u32,
        /// Its outcome.
        outcome: GenerationOutcome,
    },
    /// A llama-server's dry run accepted this generation's command line.
    SetAccepted {
        /// The model.
        model: ModelName,
        /// The generation.
        number: u32,
        /// Which llama-server.
        binary: BinaryIdentity,
    },
    /// The model's port, taken from the model that had it; `None` gives it up (a
    /// unix socket).
    SetPort {
        /// The model.
        model: ModelName,
        /// Its port.
        port: Option<PortRecord>,
    },
    /// Inserts or replaces an instance as a whole.
    PutInstance(InstanceRecord),
    /// Deletes an instance: only after it is confirmed gone.
    RemoveInstance(InstanceId),
    /// The observed status, with the reason if it is `error`.
    SetStatus {
        /// The model.
        model: ModelName,
        /// The status.
        status: Status,
        /// The reason, for people.
        message: Option<String>,
    },
    /// The crash history.
    SetCrashes {
        /// The model.
        model: ModelName,
        /// Its crashes.
        crashes: Crashes,
    },
    /// Deletes the model: its row and everything herdsman keeps about it except
    /// events.
    DeleteModel {
        /// The model.
        model: ModelName,
    },
    /// Records an override, replacing another of its kind.
    PutOverride {
        /// The model; it need not be recorded.
        model: ModelName,
        /// The override.
        what: Override,
    },
    /// Ends an override; does nothing if there is none.
    EndOverride {
        /// The model.
        model: ModelName,
        /// Its kind.
        kind: OverrideKind,
    },
    /// An event of the history.
    Event(EventRecord),
    /// A notification, and the troubles that others know about.
    Tell(Telling),
}

/// The recorded part of a definition, which a row of `models` and its herdsman
/// record are written from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The name.
    pub name: ModelName,
    /// The definition's absolute path.
    pub source: String,
    /// The type.
    pub model_type: ModelType,
    /// The wanted state.
    pub state: DesiredState,
    /// A note for people.
    pub description: Option<String>,
    /// Labels for people.
    pub labels: Table<Arc<str>, String>,
    /// More names.
    pub aliases: Vec<String>,
    /// `[update] drain`, milliseconds: a model that `down` deletes or stops may no
    /// longer have a definition.
    pub drain_ms: u64,
    /// Size of the model file, bytes.
    pub file_size: Option<u64>,
    /// Every parameter of the definition by canonical option name (`ctx_size`,
    /// `model`, `hf_repo`, …), typed. Columns are filled from here.
    pub parameters: Map<String, Value>,
    /// `group`: an instance takes its place in its groups even while its
    /// definition cannot be read. Left out if there is none, so that records of
    /// an older herdsman still match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Arc<str>>,
}

impl ModelConfig {
    /// A digest of everything written; equal digests write equal rows.
    #[must_use]
    pub fn digest(&self) -> String {
        Self::digest_of(self)
    }

    /// Digests anything that serialises like a configuration.
    pub(crate) fn digest_of(config: &impl Serialize) -> String {
        // A struct of ordered maps always serialises the same way, and writing to
        // memory cannot fail.
        let text = serde_json::to_vec(config).unwrap_or_default();
        blake3::hash(&text).to_hex()[..32].to_owned()
    }
}

/// A generation to record.
#[derive(Clone, Debug, PartialEq)]
pub struct NewGeneration {
    /// The model.
    pub model: ModelName,
    /// Its number.
    pub number: u32,
    /// The hash of its spec.
    pub hash: SpecHash,
    /// Its spec as JSON.
    pub spec_json: String,
    /// The definition's path.
    pub source: String,
    /// The places whose edits led to it.
    pub origins: Vec<Origin>,
    /// Where each field is set, by the names that [`super::FieldChange::field`]
    /// uses.
    pub lines: Table<Arc<str>, Origin>,
    /// The commit its definition was read from. `None`: not in Git, or Git does
    /// not say for certain.
    pub provenance: Option<Provenance>,
}

/// An event of the history: what herdsman decided, why, and how it went; or what it
/// found out about a start (`plan::Found`).
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// When.
    pub at: Timestamp,
    /// The model.
    pub model: ModelName,
    /// The action's word (`restart`); `drain` for one that only starts; or `ready`,
    /// `start_failed`, `crashed`.
    pub action: String,
    /// The generation that it started, recorded, stopped or found.
    pub generation: Option<u32>,
    /// What caused the pass (`reconcile`, `watch: file event`).
    pub cause: String,
    /// Every reason, as the plan's JSON.
    pub reasons: Value,
    /// How it went.
    pub outcome: EventOutcome,
    /// How long it took, milliseconds; for a finding: since the start.
    pub duration_ms: u64,
    /// The commit that brought it, for a new generation or a deletion.
    pub provenance: Option<Provenance>,
}

/// The outcome of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "message")]
pub enum EventOutcome {
    /// Carried out.
    Done,
    /// Failed, and why.
    Failed(String),
}
