//! RECORDED: what SQLite has.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    BinaryIdentity, Death, Definition, DesiredState, Handle, ModelName, Origin, Overrides, Progress, Provenance, Spec,
    SpecHash, Status, Table, Timestamp,
};

/// The uuid of one instance, recorded before it starts and carried in its
/// environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything the planner needs from the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// The models that herdsman created or adopted.
    pub models: BTreeMap<ModelName, ModelRecord>,
    /// Rows of other programs.
    pub unmanaged: Vec<UnmanagedRow>,
    /// Instances recorded for a model that is no longer recorded.
    pub orphans: Vec<InstanceRecord>,
    /// Overrides by hand, also for models that are not recorded.
    pub overrides: BTreeMap<ModelName, Overrides>,
}

impl Records {
    /// Returns the wanted state of a definition's model: by hand, or as declared.
    #[must_use]
    pub fn wanted_state(&self, definition: &Definition) -> DesiredState {
        let by_hand = self.overrides.get(&definition.name).and_then(|overrides| overrides.state_instead(definition));
        by_hand.map_or(definition.state, |by_hand| by_hand.state)
    }

    /// Returns the models by the file that each was last recorded from.
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
    /// When its row was created; `None`: another program wrote something else there.
    pub created_at: Option<Timestamp>,
    /// The definition's path it was last recorded from.
    pub source: String,
    /// The last wanted state.
    pub state: DesiredState,
    /// Digest of the [`super::ModelConfig`] last written.
    pub config_digest: String,
    /// That [`super::ModelConfig`] as JSON; read with [`ModelRecord::config`].
    pub config_json: Box<str>,
    /// Whether its row in `models` still exists unchanged.
    pub row: Row,
    /// The row's status, and when herdsman last wrote it.
    pub status: Status,
    /// The reason for an `error`, for people.
    pub status_message: Option<String>,
    /// The newest generation: the one wanted.
    pub generation: Generation,
    /// The last ready generation, if it is another one.
    pub last_ready: Option<Generation>,
    /// Its port, once it has one.
    pub port: Option<PortRecord>,
    /// Its consecutive crashes.
    pub crashes: Crashes,
    /// Its instances, oldest first.
    pub instances: Vec<InstanceRecord>,
}

impl ModelRecord {
    /// Reads the configuration that was last written.
    ///
    /// # Errors
    /// The text is not the JSON of a [`super::ModelConfig`] (someone edited the
    /// database).
    pub fn config(&self) -> Result<super::ModelConfig, serde_json::Error> {
        serde_json::from_str(&self.config_json)
    }
}

/// The state of a managed model's row in the shared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It exists, as herdsman wrote it except for these columns.
    Present(Vec<ColumnDrift>),
    /// Another client deleted it.
    Missing,
}

/// A column that another client changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// What herdsman wrote, as text; `NULL` for null.
    pub recorded: String,
    /// Its current value.
    pub found: String,
}

/// A row that herdsman did not create: shown, never changed.
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
    /// Its outcome.
    pub outcome: GenerationOutcome,
    /// The places whose edits led to it.
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

/// A generation for the history: [`Generation`], with when and where it came from.
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
    /// The places whose edits led to it.
    pub origins: Vec<Origin>,
    /// Where each field was set; empty if an older herdsman recorded it.
    pub lines: Table<Arc<str>, Origin>,
    /// Its outcome.
    pub outcome: GenerationOutcome,
    /// Its commit, if known.
    pub provenance: Option<Provenance>,
}

/// The outcome of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum GenerationOutcome {
    /// Not known yet.
    Pending,
    /// An instance of it was ready.
    Ready,
    /// It did not become ready, and is not retried unchanged.
    Failed(Death),
}

/// The port of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// The number.
    pub port: u16,
    /// Whether an instance of this model was ever ready on it. Before that,
    /// herdsman picks another port on a conflict; after, it keeps this one.
    pub proven: bool,
}

/// Consecutive crashes, recorded so that cron runs obey the backoff too.
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
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; `None` for a unix socket.
    pub port: Option<u16>,
    /// Its stage of life.
    pub state: InstanceState,
    /// Its process; `None` from the intent until the start is recorded.
    pub handle: Option<Handle>,
    /// When the start was intended.
    pub started_at: Timestamp,
    /// Its last growth in loading progress, and when that was.
    pub progress: (Progress, Timestamp),
    /// When it was first and last seen ready.
    pub ready: Option<(Timestamp, Timestamp)>,
    /// Since when `/health` has gone unanswered.
    pub unanswered_since: Option<Timestamp>,
    /// Where its lines begin, bytes, in a log that it shares with instances
    /// before it: one that an earlier version started. 0 in a log of its own.
    pub log_offset: u64,
    /// The llama-server it runs.
    pub binary: Option<BinaryIdentity>,
}

impl InstanceRecord {
    /// Returns the unix socket that it listens on.
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
    /// To be stopped once no request is in flight, or at the deadline.
    Draining {
        /// When the drain time is over.
        deadline: Timestamp,
    },
    /// Being stopped: its death is not a crash.
    Stopping,
}
