//! OBSERVED: what really runs, in three values: known, absent, unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Handle, InstanceId, ModelName, SpecHash, Timestamp};

/// A llama-server as identified by path, size, time and inode of its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BinaryIdentity(pub String);

/// Live processes that carry the markers of one start, and can serve. Its main
/// process is the one herdsman started, or, where that has ended, the server it
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
    /// `--host` of its own command line.
    pub host: String,
    /// `--port` of its own command line; `None` for a unix socket.
    pub port: Option<u16>,
    /// Where it is reached from this machine; `None` for a unix socket.
    pub url: Option<String>,
    /// What it answers.
    pub health: Health,
    /// How far its loading has come.
    pub progress: Progress,
    /// Resident memory, bytes.
    pub resident: u64,
}

/// What a live instance answers. Ready takes all three: the process lives,
/// it owns the listening socket, and `/health` is 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All three.
    Ready,
    /// It owns the socket and answers 503.
    Loading,
    /// It owns no listening socket yet.
    NotListening,
    /// It owns none and is alive, while another process of the instance below
    /// it answers 200: it is a wrapper that did not `exec` the server. Signals
    /// and exits would be the wrapper's, so this is not ready.
    Wrapped {
        /// The process that answers.
        child: i32,
    },
    /// It owns the socket and gives no answer that can be read; why.
    Unanswered(String),
}

/// Live processes that carry the markers of one start none of which can serve:
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

/// Bytes moved so far: read, written (a download) and resident. Only growth means
/// anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Progress(pub u64);

/// Who listens on a TCP port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A process of one of our instances, or what such a one left.
    Ours(InstanceId),
    /// Some other process; named only when [`super::Observed`] was asked to look.
    Stranger(Option<String>),
}

/// Whether requests are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Busy {
    /// This many slots are at work.
    Yes(usize),
    /// None is, or the server sleeps.
    No,
    /// It cannot be asked (no `/slots`, no answer): wait the whole drain time.
    Unknown,
}

impl Busy {
    /// How often a server is asked while nothing about it changes. One that is
    /// asked within a second of the last time does not notice that the client
    /// of a plain request has left.
    pub const ASKED_EVERY: Duration = Duration::from_millis(1100);
}

/// What a server whose `/health` is 200 says it serves. Without a model
/// llama-server becomes a router, which is just as healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// The weights in this file; the path is as the server was given it.
    File(String),
    /// No model.
    Nothing,
    /// It does not say: not every build of llama-server does.
    Untold,
    /// It gives no answer, so it is not known yet.
    Unanswered,
}

/// Why an instance failed, as far as its log tells: decides between rollback
/// (the definition's fault) and backoff (the world's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// Its command line or its weights: the same spec will fail again.
    Spec,
    /// Somebody else has the port.
    PortBusy,
    /// Memory ran out.
    NoMemory,
    /// Somebody ended it from outside: a person, or the kernel when memory ran
    /// out, which leaves no other trace.
    Killed,
    /// The disk is full.
    DiskFull,
    /// A download failed.
    Download,
    /// It was started and could not be executed at all.
    Spawn,
    /// It lived on and did not become ready in time.
    Deadline,
    /// No layer is on a GPU although the definition requires it.
    NoGpu,
}

impl FailureCause {
    /// Whether another try may succeed with the very same spec.
    #[must_use]
    pub const fn is_world(self) -> bool {
        match self {
            Self::Spec | Self::Deadline | Self::NoGpu => false,
            Self::PortBusy | Self::NoMemory | Self::Killed | Self::DiskFull | Self::Download | Self::Spawn => true,
        }
    }
}

/// How a recorded instance ended, read from its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Whose fault it seems.
    pub cause: FailureCause,
    /// The one line that says most.
    pub message: String,
}

/// Everything seen of the machine in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// This boot.
    pub boot_id: String,
    /// Live instances under our state id, in order of model, then start.
    pub instances: Vec<Instance>,
    /// What instances under our state id left, in order of model, then start.
    pub leftovers: Vec<Leftover>,
    /// Recorded instances whose process lives but cannot be read: not absent.
    pub unknown: Vec<InstanceId>,
    /// Recorded instances whose process is gone, and what their log says.
    pub deaths: BTreeMap<InstanceId, Death>,
    /// TCP ports somebody listens on.
    pub listeners: BTreeMap<u16, Listener>,
    /// Live instances of other state ids, by definition path: `(model, pid)`.
    pub foreign: BTreeMap<String, (String, i32)>,
}
