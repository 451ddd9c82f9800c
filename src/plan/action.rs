//! The parts of a plan.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Question, Reason, WaitFor, WaitKind};
use crate::model::text::count;
use crate::model::{
    Change, Crashes, Death, InstanceId, InstanceRecord, InstanceState, Launch, ModelName, Provenance, StopTarget,
    Timestamp, UnmanagedRow,
};

/// The outcome of planning: every action with its reasons, and what every other model
/// waits for. Applying a plan takes no further decisions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do, in order of model.
    pub actions: Vec<Action>,
    /// Models that get no action but do not match their definitions (yet).
    pub waiting: Vec<Waiting>,
    /// What models on demand that do not run would wait for if a request asked for them
    /// now.
    pub on_request: Vec<Waiting>,
    /// What happened since the last pass; [`Plan::bookkeeping`] records it.
    pub findings: Vec<Finding>,
    /// Instances that herdsman was stopping when it died, and that have exited
    /// since. Their leftovers (processes of their session, the file of their socket)
    /// are removed before their records.
    pub remains: Vec<StopTarget>,
    /// Observed facts to record in SQLite.
    pub bookkeeping: Vec<Change>,
    /// Rows of other programs.
    pub unmanaged: Vec<UnmanagedRow>,
    /// The mass-delete guard's refusal.
    pub guard: Option<GuardRefusal>,
    /// What the planner must know to complete the plan.
    pub questions: Vec<Question>,
    /// How many models match their definitions.
    pub matching: usize,
}

impl Plan {
    /// Returns whether there is nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.waiting.iter().all(|w| matches!(w.on.kind(), WaitKind::Note | WaitKind::ByHand))
    }

    /// Returns the models that are out of sync, in order. Notes and overrides do not
    /// count.
    #[must_use]
    pub fn not_as_wanted(&self) -> BTreeSet<&ModelName> {
        let is_wanted = |on: &WaitFor| matches!(on.kind(), WaitKind::Note | WaitKind::ByHand);
        self.waiting.iter().filter(|w| !is_wanted(&w.on)).map(|w| &w.model).collect()
    }

    /// Returns the recorded instances that were found dead; of some, a helper is left.
    pub fn dead(&self) -> impl Iterator<Item = &InstanceId> {
        self.bookkeeping.iter().filter_map(|change| match change {
            Change::RemoveInstance(id) => Some(id),
            Change::PutInstance(record) if record.state == InstanceState::Stopping => Some(&record.id),
            _ => None,
        })
    }

    /// Counts the overrides in force: suspended, stopped and started by hand.
    #[must_use]
    pub fn by_hand(&self) -> [(&'static str, usize); 3] {
        let others = self.not_as_wanted();
        ["suspended", "stopped by hand", "started by hand"].map(|how| {
            let is = |w: &&Waiting| w.on.by_hand() == Some(how) && !others.contains(&w.model);
            (how, self.waiting.iter().filter(is).count())
        })
    }
}

/// One action on one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The model.
    pub model: ModelName,
    /// Its kind.
    pub kind: ActionKind,
    /// Every reason.
    pub reasons: Vec<Reason>,
    /// Its steps, in order; a failed step ends the action.
    pub steps: Vec<Step>,
    /// The commit behind a new generation or a deletion. `None`: the cause is something
    /// else or not in Git, or nobody asked.
    pub provenance: Option<Provenance>,
}

impl Action {
    /// Returns the generation it starts, else the one it records, else the one it
    /// stops.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        let started = self.steps.iter().find_map(|step| match step {
            Step::Start { record, .. } => Some(record.generation),
            _ => None,
        });
        let recorded = || {
            self.changes().find_map(|change| match change {
                Change::AddGeneration(new) => Some(new.number),
                _ => None,
            })
        };
        let ended = || {
            self.steps.iter().find_map(|step| match step {
                Step::Stop { record, .. } => record.as_ref().map(|record| record.generation),
                _ => None,
            })
        };
        started.or_else(recorded).or_else(ended).filter(|number| *number > 0)
    }

    /// Returns everything that it records.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps
            .iter()
            .filter_map(|step| match step {
                Step::Record(changes) => Some(changes),
                Step::Withdraw(_) | Step::Stop { .. } | Step::Start { .. } => None,
            })
            .flatten()
    }

    /// Returns the instances that it takes out of rotation.
    pub fn withdrawn(&self) -> impl Iterator<Item = &InstanceId> {
        self.steps.iter().filter_map(|step| if let Step::Withdraw(id) = step { Some(id) } else { None })
    }

    /// Returns whether it only starts a drain and a later pass does the rest.
    #[must_use]
    pub fn only_begins(&self) -> bool {
        let ends = |step: &Step| match step {
            Step::Withdraw(_) => false,
            Step::Stop { .. } | Step::Start { .. } => true,
            Step::Record(changes) => changes.iter().any(|change| matches!(change, Change::DeleteModel { .. })),
        };
        matches!(self.kind, ActionKind::Restart | ActionKind::Stop | ActionKind::Delete) && !self.steps.iter().any(ends)
    }
}

/// What an action does, in the words people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Adds a record, and an instance if the model should run.
    Create,
    /// Changes the record only.
    Update,
    /// Drains, stops and starts.
    Restart,
    /// Starts an instance.
    Start,
    /// Stops the instance; the record stays.
    Stop,
    /// Stops the instance and deletes the record.
    Delete,
    /// Records a live instance.
    Adopt,
}

impl ActionKind {
    /// All kinds, in the order of a summary.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Restart, Self::Start, Self::Stop, Self::Delete, Self::Adopt];

    /// Returns the word that people see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Delete => "delete",
            Self::Adopt => "adopt",
        }
    }
}

/// One step of an action: the only things a plan can make happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// One transaction.
    Record(Vec<Change>),
    /// Take an instance out of the gateway's rotation. If the gateway does not confirm,
    /// the action ends here: nothing is stopped.
    Withdraw(InstanceId),
    /// Record `stopping`, stop, confirm, forget.
    Stop {
        /// The instance.
        target: StopTarget,
        /// Its record, if it has one.
        record: Option<Box<InstanceRecord>>,
        /// Whether the model's status stays: another of its instances is alive,
        /// it has no record, or its status says how this instance failed.
        keeps_status: bool,
    },
    /// Record the intent, start, record the process.
    Start {
        /// The server to start.
        launch: Box<Launch>,
        /// The record of the intent.
        record: Box<InstanceRecord>,
        /// Instances that must be confirmed gone first: they use its port, or its room.
        after: Vec<InstanceId>,
        /// The crash history to record if it cannot be executed at all.
        if_failed: Crashes,
    },
}

/// A model that gets no action now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The model.
    pub model: ModelName,
    /// What it waits for.
    #[serde(flatten)]
    pub on: WaitFor,
    /// Why it will restart or start later, or the edits of a suspended model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// Something that happened to a model since the last pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The model.
    pub model: ModelName,
    /// The generation of the instance; 0 if unknown because it was adopted.
    pub generation: u32,
    /// When that instance started.
    pub started_at: Timestamp,
    /// What happened.
    pub what: Found,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It became ready.
    Ready {
        /// Its process, to print.
        pid: i32,
        /// The port it serves on; `None` for a unix socket.
        port: Option<u16>,
    },
    /// It did not become ready.
    StartFailed(Death),
    /// It was ready and died.
    Crashed(Death),
}

impl Found {
    /// Returns the word that programs read.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::StartFailed(_) => "start_failed",
            Self::Crashed(_) => "crashed",
        }
    }

    /// Returns how it ended, if it did.
    #[must_use]
    pub const fn death(&self) -> Option<&Death> {
        match self {
            Self::Ready { .. } => None,
            Self::StartFailed(death) | Self::Crashed(death) => Some(death),
        }
    }
}

/// What the model did: `crashed: out of memory`.
impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready { pid, .. } => write!(f, "ready (pid {pid})"),
            Self::StartFailed(death) => write!(f, "failed to start: {}", death.message),
            Self::Crashed(death) => write!(f, "crashed: {}", death.message),
        }
    }
}

/// In one line.
impl std::fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.headline())?;
        self.help().iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

/// Why herdsman deleted and created nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRefusal {
    /// The models that it did not delete.
    pub deletions: Vec<ModelName>,
    /// How many models herdsman manages.
    pub managed: usize,
    /// Likely renames, as (old, new): a deleted and a created model that use the
    /// same weights.
    pub renames: Vec<(ModelName, ModelName)>,
}

impl GuardRefusal {
    /// Returns what it refused.
    #[must_use]
    pub fn headline(&self) -> String {
        let managed = count(self.managed, "managed model");
        format!("refused to delete {} of {managed}; nothing is deleted or created", self.deletions.len())
    }

    /// Returns what a person can do about it: a line for each likely rename, and
    /// how to insist.
    #[must_use]
    pub fn help(&self) -> Vec<String> {
        let renamed = |(old, new): &(ModelName, ModelName)| {
            format!("{new} uses the weights of {old}: if you renamed it, set name = \"{old}\" in its file")
        };
        let insist = format!("to delete them anyway: herdsman reconcile --max-deletes {}", self.deletions.len());
        self.renames.iter().map(renamed).chain([insist]).collect()
    }
}
