//! What to start and what to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Handle, InstanceId, ModelName, SecretSource, SpecHash, Timestamp};

/// Everything needed to start one instance, except secret values: those are read at
/// the start and go only to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The uuid recorded with the intent: `HERDSMAN_INSTANCE`.
    pub id: InstanceId,
    /// The model it serves: `HERDSMAN_MODEL`.
    pub model: ModelName,
    /// The hash of the spec it runs: `HERDSMAN_SPEC`.
    pub spec: SpecHash,
    /// The definition's absolute path: `HERDSMAN_DEFINITION`. It tells a herdsman
    /// with another state id that the model is taken.
    pub definition: String,
    /// The llama-server, absolute (its working directory is `/`).
    pub binary: PathBuf,
    /// Its arguments, without `argv[0]`.
    pub args: Vec<String>,
    /// `[env]`: variables on top of the inherited ones.
    pub env: BTreeMap<String, String>,
    /// Secrets by the variable that carries them.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The file its stdout and stderr are appended to; it must not be there yet.
    pub log: PathBuf,
    /// The file it downloads its weights to, if it does.
    pub download: Option<PathBuf>,
    /// The unix socket it listens on, if it does.
    pub socket: Option<PathBuf>,
}

/// Returns the file that an instance writes its log to, and no other does. Those
/// of a model sort by the time of the start.
#[must_use]
pub fn log_path(logs: &Path, model: &ModelName, id: &InstanceId, start: Timestamp) -> PathBuf {
    let start = jiff::Timestamp::from_millisecond(start.0).unwrap_or_default();
    logs.join(model.as_str()).join(format!("{}{}", start.strftime("%Y-%m-%dT%H%M%S.%3fZ"), log_suffix(id)))
}

/// Returns the end of that file's name, which tells the instance.
#[must_use]
pub fn log_suffix(id: &InstanceId) -> String {
    format!("-{}.log", id.0.chars().take(8).collect::<String>())
}

/// One instance to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTarget {
    /// Its process.
    pub handle: Handle,
    /// Its uuid: the process must carry it, or it is not signalled.
    pub id: InstanceId,
    /// Its model, for messages.
    pub model: ModelName,
    /// SIGKILL at once: its drain time is over and it is still busy.
    pub force: bool,
    /// The unix socket to remove once it is gone.
    pub socket: Option<PathBuf>,
}
