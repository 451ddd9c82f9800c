//! What to start and what to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{InstanceId, ModelName, ProcessId, SecretSource, SpecHash};

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
    /// The file its stdout and stderr are appended to.
    pub log: PathBuf,
    /// The file it downloads its weights to, if it does.
    pub download: Option<PathBuf>,
    /// The unix socket it listens on, if it does.
    pub socket: Option<PathBuf>,
}

/// One instance to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTarget {
    /// Its process.
    pub process: ProcessId,
    /// Its uuid: the process must carry it, or it gets no signal.
    pub id: InstanceId,
    /// Its model, for messages.
    pub model: ModelName,
    /// SIGKILL at once: its drain time is over and it is still busy.
    pub force: bool,
    /// The unix socket to remove once it is gone.
    pub socket: Option<PathBuf>,
}
