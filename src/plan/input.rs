//! The input of a plan. The clock, ids, free ports and answers about the world are
//! data, so equal inputs give equal plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Approved;
use crate::model::{
    BinaryIdentity, Busy, Demand, Desired, FileIdentity, InstanceId, Launch, ModelName, Observed, Provenance, Records,
    Served, Spec, SpecHash, Table, Timestamp, Traffic, Unusable,
};

/// The input of [`super::plan`].
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Now.
    pub now: Timestamp,
    /// The definitions; `None`: stop everything (`down`).
    pub desired: Option<&'a Desired>,
    /// What SQLite remembers.
    pub records: &'a Records,
    /// What really runs.
    pub observed: &'a Observed,
    /// What clients ask for; `None`: no gateway serves, or another process does.
    pub demand: Option<&'a Demand>,
    /// Answers to the questions of an earlier round.
    pub answers: &'a Answers,
    /// What the caller allows.
    pub limits: &'a Limits,
    /// Models that an earlier pass of the same run has tried again (`--retry`).
    pub tried: &'a BTreeSet<ModelName>,
    /// What instances are given where they run.
    pub site: &'a Site,
    /// The plan will be carried out: it records the commits it comes from, too.
    pub acts: bool,
    /// New instance ids are derived from it.
    pub id_seed: [u8; 16],
}

/// A usable llama-server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Which one it is.
    pub identity: BinaryIdentity,
}

/// What the caller allows a pass to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Starts at once.
    pub parallel: usize,
    /// Restarts at once.
    pub max_restarting: usize,
    /// How many deletions are allowed; `None`: what the guard allows by itself.
    pub max_deletes: Option<MaxDeletes>,
    /// Only these models; empty: all.
    pub targets: BTreeSet<ModelName>,
    /// What a saved plan may still do; `None`: there is none, anything.
    pub approved: Option<Approved>,
    /// Try failed generations and crashed models again now, each once.
    pub retry: bool,
    /// Restart instances whose llama-server changed on disk.
    pub upgrade_binary: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 4,
            max_restarting: 1,
            max_deletes: None,
            targets: BTreeSet::new(),
            approved: None,
            retry: false,
            upgrade_binary: false,
        }
    }
}

/// What the place is like where instances run, whatever a person permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Ports to assign, both ends included.
    pub port_range: (u16, u16),
    /// Whether a gateway sends requests to the instances, from this process or from
    /// another: it is asked to withdraw an instance before that drains.
    pub has_gateway: bool,
    /// The directory of the servers' logs.
    pub logs: PathBuf,
    /// The directory that servers download weights to when a URL names them.
    pub downloads: PathBuf,
}

impl Site {
    /// The ports that models get unless `--port-range` says otherwise.
    pub const PORT_RANGE: (u16, u16) = (8100, 8999);
}

impl Default for Site {
    fn default() -> Self {
        Self {
            port_range: Self::PORT_RANGE,
            has_gateway: false,
            logs: PathBuf::from("logs"),
            downloads: PathBuf::from("downloads"),
        }
    }
}

/// `--max-deletes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxDeletes {
    /// At most this many models.
    Count(usize),
    /// At most this share of the managed models, in percent.
    Percent(u8),
}

/// What the planner must know before it decides, and asks for only where it
/// matters. The pass answers and plans again; nothing is decided while
/// answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this be started on this host, as the host's policy is now? A port
    /// that herdsman assigned itself is left out of the spec.
    Allowed {
        /// The model.
        model: ModelName,
        /// What is to be started.
        spec: Box<Spec>,
        /// Its hash.
        hash: SpecHash,
    },
    /// Which llama-server is meant by this `binary` (`None`: the default)?
    Binary(Option<String>),
    /// Does this llama-server accept this command line, and are the weights
    /// what they should be?
    Check(Box<Launch>, Vec<PathBuf>),
    /// Are requests in flight?
    Busy(InstanceId),
    /// What does this instance serve, now that it answers?
    Served(InstanceId),
    /// Who holds this port?
    PortHolder(u16),
    /// How many layers are on a GPU?
    GpuLayers {
        /// The model, whose log is read.
        model: ModelName,
        /// The instance.
        id: InstanceId,
        /// Where its lines begin.
        log_offset: u64,
    },
    /// Which commit does this definition, present or deleted, come from?
    Provenance {
        /// The model.
        model: ModelName,
        /// Its file.
        source: PathBuf,
    },
    /// Are the files of the last ready generation still what they were?
    FilesIntact {
        /// The model.
        model: ModelName,
        /// Its files.
        files: Table<Arc<str>, FileIdentity>,
    },
}

/// Why a command line is not known to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It, or its weights, are refused: why.
    Refused(String),
    /// llama-server did not say.
    Unanswered(Unusable),
}

/// Answers to [`Question`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// By `binary`: which, or why there is none.
    pub binaries: BTreeMap<Option<String>, Result<Binary, Unusable>>,
    /// By model and spec: `Err` says why the policy does not allow it.
    pub allowed: BTreeMap<(ModelName, SpecHash), Result<(), String>>,
    /// By model and the spec that was checked.
    pub checks: BTreeMap<(ModelName, SpecHash), Result<(), Objection>>,
    /// By instance.
    pub busy: BTreeMap<InstanceId, Busy>,
    /// By instance.
    pub served: BTreeMap<InstanceId, Served>,
    /// By port; `None`: unknown.
    pub holders: BTreeMap<u16, Option<String>>,
    /// By instance: layers on a GPU.
    pub gpu_layers: BTreeMap<InstanceId, u32>,
    /// By model.
    pub files_intact: BTreeMap<ModelName, bool>,
    /// By model; `None`: not in Git, or Git does not say for certain.
    pub provenance: BTreeMap<ModelName, Option<Provenance>>,
}

impl Input<'_> {
    /// Whether `--target` and an approved plan leave this model in.
    #[must_use]
    pub(super) fn targets(&self, name: &ModelName) -> bool {
        let Limits { targets, approved, .. } = self.limits;
        (targets.is_empty() || targets.contains(name))
            && approved.as_ref().is_none_or(|approved| approved.includes(name, self.desired))
    }

    /// The requests for a model; `None`: nobody counts them.
    #[must_use]
    pub(super) fn traffic(&self, name: &ModelName) -> Option<Traffic> {
        Some(self.demand?.models.get(name).copied().unwrap_or_default())
    }

    /// A new instance id: the same for the same seed and model.
    #[must_use]
    pub(super) fn instance_id(&self, model: &ModelName) -> InstanceId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.id_seed);
        hasher.update(model.as_str().as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        InstanceId(uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string())
    }
}
