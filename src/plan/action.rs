//! What a plan consists of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Question, Reason, WaitFor, WaitKind};
use crate::model::{
    Change, Crashes, Death, DesiredState, InstanceId, InstanceRecord, Launch, ModelName, StopTarget, Timestamp,
    UnmanagedRow,
};

/// The outcome of planning: every action with its reasons, every non-action
/// with what it waits for. Applying it leaves no choice to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do, in order of model.
    pub actions: Vec<Action>,
    /// Models that get no action although they are not (yet) as declared.
    pub waiting: Vec<Waiting>,
    /// What was found since the last pass, and is recorded with
    /// [`Plan::bookkeeping`].
    pub findings: Vec<Finding>,
    /// Instances that herdsman was stopping when it died, and that are gone by
    /// now: what they may have left, the rest of their session and the file of
    /// their socket, goes before their record does.
    pub remains: Vec<StopTarget>,
    /// Observed facts to record; they change nothing but SQLite.
    pub bookkeeping: Vec<Change>,
    /// Rows of other programs.
    pub unmanaged: Vec<UnmanagedRow>,
    /// The mass-delete guard's refusal.
    pub guard: Option<GuardRefusal>,
    /// What must be answered before the plan is whole.
    pub questions: Vec<Question>,
    /// How many models are as declared.
    pub matching: usize,
}

impl Plan {
    /// Nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.waiting.iter().all(|w| matches!(w.on.kind(), WaitKind::Note | WaitKind::ByHand))
    }

    /// The models that wait for what is neither a remark nor somebody's wish,
    /// in order.
    #[must_use]
    pub fn not_as_wanted(&self) -> BTreeSet<&ModelName> {
        let is_wanted = |on: &WaitFor| matches!(on.kind(), WaitKind::Note | WaitKind::ByHand);
        self.waiting.iter().filter(|w| !is_wanted(&w.on)).map(|w| &w.model).collect()
    }

    /// How many models are as somebody wants them by hand: suspended, stopped
    /// and started.
    #[must_use]
    pub fn by_hand(&self) -> [(&'static str, usize); 3] {
        let others = self.not_as_wanted();
        let count =
            |is: fn(&WaitFor) -> bool| self.waiting.iter().filter(|w| is(&w.on) && !others.contains(&w.model)).count();
        [
            ("suspended", count(|on| matches!(on, WaitFor::Suspended { .. }))),
            ("stopped by hand", count(|on| matches!(on, WaitFor::StateByHand { state: DesiredState::Stopped, .. }))),
            ("started by hand", count(|on| matches!(on, WaitFor::StateByHand { state: DesiredState::Running, .. }))),
        ]
    }
}

/// One action on one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The model.
    pub model: ModelName,
    /// What is done.
    pub kind: ActionKind,
    /// Every reason.
    pub reasons: Vec<Reason>,
    /// How, in order; a step that fails ends the action.
    pub steps: Vec<Step>,
}

impl Action {
    /// The generation it starts, else the one it records, else the one it ends.
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

    /// Everything it records by itself.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps
            .iter()
            .filter_map(|step| match step {
                Step::Record(changes) => Some(changes),
                Step::Stop { .. } | Step::Start { .. } => None,
            })
            .flatten()
    }

    /// Whether it only begins, with a drain: a later pass does the rest.
    #[must_use]
    pub fn only_begins(&self) -> bool {
        let ends = |step: &Step| match step {
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
    /// A record, and an instance if one is wanted.
    Create,
    /// The record alone.
    Update,
    /// Drain, stop, start.
    Restart,
    /// An instance for a record.
    Start,
    /// The instance ends, the record stays.
    Stop,
    /// Both end.
    Delete,
    /// A live instance gets a record.
    Adopt,
}

impl ActionKind {
    /// Every kind, in the order of a summary.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Restart, Self::Start, Self::Stop, Self::Delete, Self::Adopt];

    /// The word people see.
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
    /// Record `stopping`, stop, confirm, forget.
    Stop {
        /// Whom.
        target: StopTarget,
        /// Its record; `None` for one that has none.
        record: Option<Box<InstanceRecord>>,
        /// Its model has no status to change: another instance of it lives on,
        /// it has no record, or its status says how this one failed.
        keeps_status: bool,
    },
    /// Record the intent, start, record the process.
    Start {
        /// What.
        launch: Box<Launch>,
        /// The record of the intent.
        record: Box<InstanceRecord>,
        /// Instances that must be confirmed gone first: they hold its port.
        after: Vec<InstanceId>,
        /// The crash history to record if it cannot even be executed.
        if_failed: Crashes,
    },
}

/// A model that gets no action now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The model.
    pub model: ModelName,
    /// What for.
    #[serde(flatten)]
    pub on: WaitFor,
    /// Why it will be restarted or started when its turn comes; of a suspended
    /// one: what was edited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// Something that happened to a model since the last pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The model.
    pub model: ModelName,
    /// The generation of the instance; 0: not known, it was adopted.
    pub generation: u32,
    /// When that was started.
    pub started_at: Timestamp,
    /// What.
    pub what: Found,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It became ready.
    Ready {
        /// Its process.
        pid: i32,
    },
    /// It did not.
    StartFailed(Death),
    /// It was ready and died.
    Crashed(Death),
}

impl Found {
    /// The word programs read.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::StartFailed(_) => "start_failed",
            Self::Crashed(_) => "crashed",
        }
    }

    /// How it ended, if it did.
    #[must_use]
    pub const fn death(&self) -> Option<&Death> {
        match self {
            Self::Ready { .. } => None,
            Self::StartFailed(death) | Self::Crashed(death) => Some(death),
        }
    }
}

/// What to say of its model: `crashed: out of memory`.
impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready { pid } => write!(f, "ready (pid {pid})"),
            Self::StartFailed(death) => write!(f, "failed to start: {}", death.message),
            Self::Crashed(death) => write!(f, "crashed: {}", death.message),
        }
    }
}

/// In one line.
impl std::fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (deletions, managed) = (self.deletions.len(), crate::model::text::count(self.managed, "managed model"));
        write!(f, "refused: this would delete {deletions} of {managed}; nothing is deleted or created.")?;
        for (old, new) in &self.renames {
            write!(f, " {new} uses the weights of {old}: a rename? Then set name = \"{old}\" in its file.")?;
        }
        write!(f, " If it is meant: herdsman reconcile --max-deletes {deletions}")
    }
}

/// Why nothing was deleted or created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRefusal {
    /// The models that would have been deleted.
    pub deletions: Vec<ModelName>,
    /// How many models are managed.
    pub managed: usize,
    /// Deleted and created models that use the same weights: likely renames.
    pub renames: Vec<(ModelName, ModelName)>,
}
