//! RECORDED: what SQLite remembers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    BinaryIdentity, Death, Definition, DesiredState, ModelName, Origin, Overrides, ProcessId, Progress, Provenance,
    Spec, SpecHash, Status, Table, Timestamp,
};

/// The uuid of one instance, recorded before it is started and carried in its
/// environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything the planner needs of the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// The models herdsman made or took over.
    pub models: BTreeMap<ModelName, ModelRecord>,
    /// Rows of other programs.
    pub unmanaged: Vec<UnmanagedRow>,
    /// Instances recorded for a model that has no record any more.
    pub orphans: Vec<InstanceRecord>,
    /// What was asked for by hand; also of models that have no record.
    pub overrides: BTreeMap<ModelName, Overrides>,
}

impl Records {
    /// The state that a definition's model is to have: by hand, or as declared.
    #[must_use]
    pub fn wanted_state(&self, definition: &Definition) -> DesiredState {
        let by_hand = self.overrides.get(&definition.name).and_then(|overrides| overrides.state_instead(definition));
        by_hand.map_or(definition.state, |by_hand| by_hand.state)
    }

    /// The models by the file that each was last recorded from.
    #[must_use]
    pub fn by_source(&self) -> BTreeMap<&str, &ModelName> {
        self.models.iter().map(|(name, record)| (record.source.as_str(), name)).collect()
    }
}

/// One managed model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    /// The id of its row in `models`.
    pub id: i64,
    /// The definition's path it was last recorded from.
    pub source: String,
    /// What was last wanted of it.
    pub state: DesiredState,
    /// Digest of the [`super::ModelConfig`] last written.
    pub config_digest: String,
    /// That [`super::ModelConfig`] as JSON; read with [`ModelRecord::config`].
    pub config_json: Box<str>,
    /// Whether its row in `models` is still there and as written.
    pub row: Row,
    /// The row's status, and when herdsman last wrote it.
    pub status: Status,
    /// Why, when the status is `error` (for people).
    pub status_message: Option<String>,
    /// The newest generation: the one wanted.
    pub generation: Generation,
    /// The last generation that was ready, when it is another one.
    pub last_ready: Option<Generation>,
    /// Its port, once it has one.
    pub port: Option<PortRecord>,
    /// Its crashes in a row.
    pub crashes: Crashes,
    /// Its instances, oldest first.
    pub instances: Vec<InstanceRecord>,
}

impl ModelRecord {
    /// Reads the configuration last written.
    ///
    /// # Errors
    /// The text is not the JSON of a [`super::ModelConfig`] (someone edited the
    /// database).
    pub fn config(&self) -> Result<super::ModelConfig, serde_json::Error> {
        serde_json::from_str(&self.config_json)
    }
}

/// The row of a managed model in the shared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// There, and as herdsman wrote it but for these columns.
    Present(Vec<ColumnDrift>),
    /// Another client deleted it.
    Missing,
}

/// A column another client changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// What herdsman wrote, as text; `NULL` for null.
    pub recorded: String,
    /// What it holds now.
    pub found: String,
}

/// A row herdsman did not make: shown, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmanagedRow {
    /// Its id.
    pub id: i64,
    /// Its name: any text.
    pub name: String,
}

/// A numbered, immutable version of a model's spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// From 1.
    pub number: u32,
    /// The hash of its spec.
    pub hash: SpecHash,
    /// Its spec as JSON; read with [`Generation::spec`].
    pub spec_json: Box<str>,
    /// How it went.
    pub outcome: GenerationOutcome,
    /// The places whose edit made it.
    pub origins: Vec<Origin>,
    /// The llama-server whose dry run accepted its command line.
    pub accepted_by: Option<BinaryIdentity>,
}

impl Generation {
    /// Reads the recorded spec.
    ///
    /// # Errors
    /// The text is not the JSON of a [`Spec`] (someone edited the database).
    pub fn spec(&self) -> Result<Spec, serde_json::Error> {
        serde_json::from_str(&self.spec_json)
    }
}

/// A generation as the history tells it: [`Generation`], and when and where it
/// came from.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRecord {
    /// From 1.
    pub number: u32,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Its spec as JSON.
    pub spec_json: Box<str>,
    /// The definition's absolute path.
    pub source: String,
    /// The places whose edit made it.
    pub origins: Vec<Origin>,
    /// Where each field was stated; empty if an older herdsman recorded it.
    pub lines: Table<Arc<str>, Origin>,
    /// How it went.
    pub outcome: GenerationOutcome,
    /// The commit it came from, if that is known.
    pub provenance: Option<Provenance>,
}

/// How a generation went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum GenerationOutcome {
    /// Not known yet.
    Pending,
    /// An instance of it was ready.
    Ready,
    /// It did not become ready, and will not be tried again as it is.
    Failed(Death),
}

/// The port of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// The number.
    pub port: u16,
    /// Whether an instance of this model was ever ready on it. Before that, a
    /// bind conflict allots another; after, it is kept.
    pub proven: bool,
}

/// Crashes in a row, remembered so that cron runs obey the backoff too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashes {
    /// How many in a row.
    pub count: u32,
    /// When the last start was.
    pub last_start: Option<Timestamp>,
}

/// One instance as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Its uuid.
    pub id: InstanceId,
    /// Its model.
    pub model: ModelName,
    /// The generation it serves.
    pub generation: u32,
    /// The hash of that generation's spec.
    pub spec: SpecHash,
    /// The address it was told to listen on.
    pub host: String,
    /// The port it was told to listen on; `None` for a unix socket.
    pub port: Option<u16>,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Its process; `None` from the intent until the start is recorded.
    pub process: Option<ProcessId>,
    /// When the start was intended.
    pub started_at: Timestamp,
    /// Its loading progress when last seen to grow, and when that was.
    pub progress: (Progress, Timestamp),
    /// When it was first and last seen ready.
    pub ready: Option<(Timestamp, Timestamp)>,
    /// Since when its `/health` has not answered.
    pub unanswered_since: Option<Timestamp>,
    /// How long the log was when it was started, bytes: its own lines follow.
    pub log_offset: u64,
    /// The llama-server it runs.
    pub binary: Option<BinaryIdentity>,
}

impl InstanceRecord {
    /// The unix socket it was told to listen on.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        self.host.contains('/').then(|| PathBuf::from(&self.host))
    }

    /// Moves every time in it by so many milliseconds.
    pub(crate) fn shift(&mut self, ms: i64) {
        let shift = |time: &mut Timestamp| *time = time.shifted(ms);
        shift(&mut self.started_at);
        shift(&mut self.progress.1);
        if let Some((first, last)) = &mut self.ready {
            shift(first);
            shift(last);
        }
        self.unanswered_since.iter_mut().for_each(shift);
        if let InstanceState::Draining { deadline } = &mut self.state {
            shift(deadline);
        }
    }
}

/// Where an instance is in its life; what each pass does with it is in
/// `plan::model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InstanceState {
    /// About to be started: a process may or may not exist.
    Intent,
    /// Started, not ready yet.
    Loading,
    /// Was ready.
    Ready,
    /// To be stopped when no request is in flight, or at the deadline.
    Draining {
        /// When the drain time is over.
        deadline: Timestamp,
    },
    /// Being stopped: its death is no crash.
    Stopping,
}
