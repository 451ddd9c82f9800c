//! What is needed to start or stop a process: data a plan carries to the
//! edge of effects.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{InstanceId, ModelName, ProcessId, SecretSource, SpecHash};

/// Everything needed to start one instance. It holds no secret: those are
/// read from their source at the moment of the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Goes into the environment as `HERDSMAN_INSTANCE`.
    pub id: InstanceId,
    /// Goes into the environment as `HERDSMAN_MODEL`.
    pub model: ModelName,
    /// Goes into the environment as `HERDSMAN_SPEC`.
    pub spec: SpecHash,
    /// Absolute path of the definition: `HERDSMAN_DEFINITION`.
    pub definition: String,
    /// The llama-server to execute.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The definition's `[env]`.
    pub env: BTreeMap<String, String>,
    /// Secrets by environment variable.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Where standard output and error are appended.
    pub log: PathBuf,
    /// The unix socket it listens on, if it does.
    pub socket: Option<PathBuf>,
}

/// One instance to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTarget {
    /// Its uuid: checked against the process before any signal.
    pub id: InstanceId,
    /// Its model, for messages.
    pub model: ModelName,
    /// Who it is.
    pub process: ProcessId,
    /// Kill at once: it cannot be asked to end.
    pub force: bool,
    /// The unix socket to remove after it is gone.
    pub socket: Option<PathBuf>,
}
