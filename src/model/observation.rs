//! OBSERVED: what is really running, in three values: known, absent, unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, Handle, InstanceId, ModelName, SpecHash, Timestamp};

/// A llama-server, identified by path, size, time and inode of its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BinaryIdentity(pub String);

/// Live processes that carry the markers of one start, and can serve. The main
/// process is the one that herdsman started, or if that has ended, the server it
/// left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `HERDSMAN_INSTANCE`.
    pub id: InstanceId,
    /// `HERDSMAN_MODEL`.
    pub model: ModelName,
    /// `HERDSMAN_SPEC`.
    pub spec: SpecHash,
    /// Its main process.
    pub handle: Handle,
    /// When the kernel started that.
    pub started_at: Timestamp,
    /// Where it listens.
    pub address: Address,
    /// Its answer to a health check.
    pub health: Health,
    /// Its loading progress.
    pub progress: Progress,
    /// Resident memory, bytes.
    pub resident: u64,
}

/// A live instance's answer. Ready takes all three: the process lives, it owns the
/// listening socket, and `/health` is 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All three.
    Ready,
    /// It owns the socket and answers 503.
    Loading,
    /// It owns no listening socket yet.
    NotListening,
    /// It owns no socket and is alive, while another process of the instance below
    /// it answers 200: it is a wrapper that did not `exec` the server. Signals and
    /// exits would be the wrapper's, so this is not ready.
    Wrapped {
        /// The process that answers.
        child: i32,
    },
    /// It owns the socket, but gives no valid answer; why.
    Unanswered(String),
}

/// Live processes that carry the markers of one start, none of which can serve:
/// helpers of a server that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// `HERDSMAN_INSTANCE`.
    pub id: InstanceId,
    /// `HERDSMAN_MODEL`.
    pub model: ModelName,
    /// The oldest of them.
    pub handle: Handle,
}

/// Bytes moved so far: read, written (a download) and resident. Only growth
/// matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Progress(pub u64);

/// The listener on a TCP port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A process of one of our instances, or something it left behind.
    Ours(InstanceId),
    /// Another process; the planner asks which where it matters.
    Stranger,
}

/// Whether requests are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Busy {
    /// This many slots are busy.
    Yes(usize),
    /// None are, or the server sleeps.
    No,
    /// It cannot be asked (no `/slots`, no answer): wait for the whole drain time.
    Unknown,
}

impl Busy {
    /// How often a server is asked while nothing about it changes. A server that is
    /// asked within a second of the last time does not notice that the client of a
    /// plain request has left.
    pub const ASKED_EVERY: Duration = Duration::from_millis(1100);
}

/// What a server whose `/health` is 200 says it serves. Without a model,
/// llama-server becomes a router, which is just as healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// The weights in this file; the path is as the server got it.
    File(String),
    /// No model.
    Nothing,
    /// It does not say, like some builds of llama-server.
    Untold,
    /// It gives no answer, so this is not known yet.
    Unanswered,
}

/// Why an instance failed, judging by its log. This decides between rollback (the
/// definition is the cause) and backoff (the environment is).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// Its command line or its weights: the same spec will fail again.
    Spec,
    /// Another program uses the port.
    PortBusy,
    /// It ran out of memory.
    NoMemory,
    /// It was killed from outside: by a person, or by the kernel when memory ran
    /// out, which leaves no other trace.
    Killed,
    /// The disk is full.
    DiskFull,
    /// A download failed.
    Download,
    /// It could not be executed at all.
    Spawn,
    /// It kept running but did not become ready in time.
    Deadline,
    /// No layer is on a GPU, but the definition requires one.
    NoGpu,
}

impl FailureCause {
    /// Whether a retry with the same spec may succeed.
    #[must_use]
    pub const fn is_world(self) -> bool {
        match self {
            Self::Spec | Self::Deadline | Self::NoGpu => false,
            Self::PortBusy | Self::NoMemory | Self::Killed | Self::DiskFull | Self::Download | Self::Spawn => true,
        }
    }
}

/// How a recorded instance ended, according to its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The probable cause.
    pub cause: FailureCause,
    /// The most telling line.
    pub message: String,
}

/// Everything observed of the machine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The current boot.
    pub boot_id: String,
    /// Live instances with our state id, in order of model, then start.
    pub instances: Vec<Instance>,
    /// What instances with our state id left behind, in order of model, then start.
    pub leftovers: Vec<Leftover>,
    /// Recorded instances whose process is alive but unreadable: not absent.
    pub unknown: Vec<InstanceId>,
    /// Recorded instances whose process is gone, and what their log says.
    pub deaths: BTreeMap<InstanceId, Death>,
    /// TCP ports with a listener.
    pub listeners: BTreeMap<u16, Listener>,
    /// Live instances of other state ids, by definition path: `(model, pid)`.
    pub foreign: BTreeMap<String, (String, i32)>,
}
