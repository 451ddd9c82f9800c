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
    /// A new model: a new row in `models`, or an unmanaged one taken over.
    CreateModel {
        /// What to write.
        config: ModelConfig,
        /// The unmanaged row to take over.
        adopt_row: Option<i64>,
    },
    /// Writes the row's own columns again: a changed definition, drift put
    /// back, or a row someone deleted (it returns with its id).
    UpdateModel {
        /// What to write.
        config: ModelConfig,
    },
    /// The next generation of a model; it becomes the wanted one.
    AddGeneration(NewGeneration),
    /// How a generation went.
    SetGenerationOutcome {
        /// The model.
        model: ModelName,
        /// The generation.
        number: u32,
        /// How it went.
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
    /// The model's port, no longer that of the model that had it; `None`
    /// gives it up (a unix socket).
    SetPort {
        /// The model.
        model: ModelName,
        /// Its port.
        port: Option<PortRecord>,
    },
    /// Inserts or replaces an instance, whole.
    PutInstance(InstanceRecord),
    /// Forgets an instance: only after it is confirmed gone.
    RemoveInstance(InstanceId),
    /// The observed status, with the reason when it is `error`.
    SetStatus {
        /// The model.
        model: ModelName,
        /// The status.
        status: Status,
        /// Why, for people.
        message: Option<String>,
    },
    /// The crash history.
    SetCrashes {
        /// The model.
        model: ModelName,
        /// Its crashes.
        crashes: Crashes,
    },
    /// Deletes the model: its row and all herdsman keeps of it but events.
    DeleteModel {
        /// The model.
        model: ModelName,
    },
    /// What somebody asked for by hand, in the place of another of its kind.
    PutOverride {
        /// The model; it need not be recorded.
        model: ModelName,
        /// What.
        what: Override,
    },
    /// What was asked for by hand is over; one that is not there is over
    /// already.
    EndOverride {
        /// The model.
        model: ModelName,
        /// Which.
        kind: OverrideKind,
    },
    /// A line of the history.
    Event(EventRecord),
    /// What others are to be told, and what they were told of.
    Tell(Telling),
}

/// What a row of `models` and its herdsman record are written from: the part
/// of a definition that is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The name.
    pub name: ModelName,
    /// The definition's absolute path.
    pub source: String,
    /// The type.
    pub model_type: ModelType,
    /// What is wanted.
    pub state: DesiredState,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub labels: Table<Arc<str>, String>,
    /// Further names.
    pub aliases: Vec<String>,
    /// `[update] drain`, milliseconds: what is deleted or stopped by `down` has
    /// no definition to ask.
    pub drain_ms: u64,
    /// Size of the model file, bytes.
    pub file_size: Option<u64>,
    /// Every parameter of the definition by canonical option name (`ctx_size`,
    /// `model`, `hf_repo`, …), typed. Columns are filled from here.
    pub parameters: Map<String, Value>,
}

impl ModelConfig {
    /// A digest of everything written; equal digests write equal rows.
    #[must_use]
    pub fn digest(&self) -> String {
        Self::digest_of(self)
    }

    /// The digest of anything that serialises as a configuration does.
    pub(crate) fn digest_of(config: &impl Serialize) -> String {
        // A struct of ordered maps serialises the same way every time, and
        // writing to memory cannot fail.
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
    /// The places whose edit made it.
    pub origins: Vec<Origin>,
    /// Where each field is stated, by the names [`super::FieldChange::field`] uses.
    pub lines: Table<Arc<str>, Origin>,
    /// The commit its definition was read from. `None`: not in Git, or Git does
    /// not say for certain.
    pub provenance: Option<Provenance>,
}

/// A line of the history: what was decided, why, and how it went; or what was
/// found of a start (`plan::Found`).
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// When.
    pub at: Timestamp,
    /// Which model.
    pub model: ModelName,
    /// The action's word (`restart`); `drain` for one that only begins; or
    /// `ready`, `start_failed`, `crashed`.
    pub action: String,
    /// The generation it started, recorded, stopped or found.
    pub generation: Option<u32>,
    /// What caused the pass (`reconcile`, `watch: file event`).
    pub cause: String,
    /// Every reason, as the plan's JSON.
    pub reasons: Value,
    /// How it went.
    pub outcome: EventOutcome,
    /// How long it took, milliseconds; of what was found: since the start.
    pub duration_ms: u64,
    /// The commit that brought it, where a new generation or a deletion did.
    pub provenance: Option<Provenance>,
}

/// How an action went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "message")]
pub enum EventOutcome {
    /// Carried out.
    Done,
    /// Not; why.
    Failed(String),
}
