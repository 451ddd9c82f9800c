//! What a model without an action waits for, and what that means for the command
//! that reports it. Programs read it as JSON, people read its `Display`, or
//! `view::words` where a clock is at hand; `tests/pure/words` pins both.

mod words;

use serde::{Deserialize, Serialize};

use crate::model::{DesiredState, Given, ModelName, Origin, Timestamp, Unusable};

/// What a model waits for before a pass acts on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "waiting_for", rename_all = "snake_case")]
pub enum WaitFor {
    /// Its instance to finish loading.
    Ready {
        /// Its process.
        pid: i32,
        /// When herdsman gives it up, unless it makes progress.
        deadline: Timestamp,
    },
    /// Requests in flight.
    Drain {
        /// How many requests there are; `None`: the server does not say.
        busy: Option<usize>,
        /// When herdsman stops it at the latest.
        deadline: Timestamp,
    },
    /// An answer of its server, which is alive but not responding.
    Answer {
        /// Its process.
        pid: i32,
        /// When herdsman restarts it (`[ready] unhealthy_after`); `None`: never.
        deadline: Option<Timestamp>,
    },
    /// A start slot: earlier starts hold them all (`--parallel`).
    StartSlot,
    /// Weights that somebody may still be writing.
    Weights {
        /// The file that changed last.
        file: String,
        /// When it has been unchanged for long enough.
        until: Timestamp,
    },
    /// The restart of another model (`--max-restarting`).
    RestartSlot {
        /// The model that restarts first.
        #[serde(rename = "other")]
        model: ModelName,
    },
    /// Room in a full group: another member will stop for it.
    Room {
        /// The group.
        group: String,
        /// The members that it waits for.
        busy: Vec<ModelName>,
        /// When one of them gives way even if it is busy; `None`: once it has answered
        /// what it was started for, or it is stopping already.
        deadline: Option<Timestamp>,
    },
    /// Room in a full group whose members never give way.
    NoRoom {
        /// The group.
        group: String,
        /// Those members.
        holders: Vec<ModelName>,
    },
    /// A request, or else it stops: it runs on demand.
    IdleStop {
        /// When it stops.
        until: Timestamp,
        /// How long it runs without a request, in milliseconds (`[idle] stop_after`).
        after_ms: u64,
    },
    /// A port that another managed model is about to release.
    PortOf {
        /// The port.
        port: u16,
        /// That model.
        #[serde(rename = "other")]
        model: ModelName,
    },
    /// Its next try after crashes (backoff).
    Backoff {
        /// When.
        until: Timestamp,
        /// How many crashes in a row.
        crashes: u32,
        /// Whether it was ever ready; if not, it failed to start.
        #[serde(default)]
        was_ready: bool,
        /// How it ended last.
        message: String,
    },
    /// An edit of its definition, because this generation failed.
    Edit {
        /// The failed generation.
        generation: u32,
        /// Why it failed.
        message: String,
        /// The generation that serves in the meantime.
        serving: Option<u32>,
    },
    /// An edit of a line that other models share, because a restart for it failed.
    Sibling {
        /// The model whose restart failed.
        #[serde(rename = "other")]
        model: ModelName,
        /// That line.
        origin: Origin,
    },
    /// A port that somebody else uses.
    Port {
        /// The port.
        port: u16,
        /// Who.
        holder: String,
    },
    /// A free port in the range.
    FreePort {
        /// The range's ends.
        range: (u16, u16),
    },
    /// A valid definition: its file cannot be read or is invalid.
    Definition {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A valid file somewhere: an invalid one may be this model's renamed
    /// definition, so herdsman deletes nothing.
    DeletionBlocked {
        /// The file.
        file: String,
    },
    /// A person to allow the deletions (`--max-deletes`).
    Guard,
    /// A usable llama-server.
    Binary {
        /// What is wrong with it.
        problem: String,
        /// Whether herdsman has asked it and waits for the answer.
        #[serde(default)]
        pending: bool,
    },
    /// A policy that allows the start. herdsman starts nothing against it, not even
    /// what was recorded under an earlier policy.
    Policy {
        /// What it forbids, and where it says so.
        problem: String,
    },
    /// A command line and weights that llama-server accepts in a dry run.
    Accepted {
        /// What it says.
        message: String,
        /// The definition.
        origin: Origin,
    },
    /// The end of an unidentified process that may be its server.
    UnknownProcess {
        /// Its pid.
        pid: Option<i32>,
    },
    /// The end of an instance of this definition under another state directory.
    ForeignInstance {
        /// Its pid.
        pid: i32,
    },
    /// A database with one row of this name.
    OneRow {
        /// The ids of the rows that share it.
        ids: Vec<i64>,
    },
    /// `--upgrade-binary`: its llama-server changed on disk while it ran.
    BinaryUpgrade,
    /// `herdsman resume`: herdsman leaves it alone.
    Suspended {
        /// Who, when and why.
        #[serde(flatten)]
        given: Given,
        /// When the suspension expires; `None`: never.
        until: Option<Timestamp>,
        /// Its definition is gone, so herdsman deletes it once resumed.
        removed: bool,
        /// It should run and does not, so herdsman starts it once resumed.
        missing: bool,
        /// Its definition changed, which herdsman applies once resumed.
        #[serde(default)]
        edited: bool,
    },
    /// A change of its definition: somebody started or stopped it by hand.
    StateByHand {
        /// Who, when and why.
        #[serde(flatten)]
        given: Given,
        /// The state set by hand, instead of the declared one.
        state: DesiredState,
    },
}

/// What a wait means for the command that reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// It ends soon without help, so `reconcile` makes another pass.
    Progressing,
    /// The model stays out of sync until something else happens.
    Stuck,
    /// A definition is invalid.
    InvalidDefinition,
    /// There is no usable llama-server.
    NoBinary,
    /// The mass-delete guard refused.
    Guard,
    /// The model matches its definition.
    Note,
    /// An override is in force.
    ByHand,
}

impl WaitFor {
    /// Returns the wait for a llama-server that cannot be used now.
    #[must_use]
    pub fn binary(unusable: &Unusable) -> Self {
        Self::Binary { problem: unusable.problem.clone(), pending: unusable.is_pending }
    }

    /// Returns what somebody did by hand, and the command that undoes it.
    #[must_use]
    pub const fn words_by_hand(state: DesiredState) -> (&'static str, &'static str) {
        match state {
            DesiredState::Running | DesiredState::OnDemand => ("started", "stop"),
            DesiredState::Stopped => ("stopped", "start"),
        }
    }

    /// Returns in which way somebody has the model by hand: `suspended`,
    /// `stopped by hand`, `started by hand`; `None`: the wait is for something else.
    #[must_use]
    pub const fn by_hand(&self) -> Option<&'static str> {
        match self {
            Self::Suspended { .. } => Some("suspended"),
            Self::StateByHand { state: DesiredState::Stopped, .. } => Some("stopped by hand"),
            Self::StateByHand { state: DesiredState::Running, .. } => Some("started by hand"),
            _ => None,
        }
    }

    /// Returns what happened before the next try: `crashed once`, `failed to
    /// start 3 times in a row`.
    #[must_use]
    pub fn words_of_failures(crashes: u32, was_ready: bool) -> String {
        let what = if was_ready { "crashed" } else { "failed to start" };
        if crashes == 1 { format!("{what} once") } else { format!("{what} {crashes} times in a row") }
    }

    /// Returns what a suspension holds up.
    #[must_use]
    pub const fn words_suspended(removed: bool, missing: bool, edited: bool) -> &'static str {
        match (removed, missing, edited) {
            (true, ..) => "; its definition is gone, so resuming deletes it",
            (false, true, _) => "; it is not running, and resuming starts it",
            (false, false, true) => "; resuming applies the edits to its definition",
            (false, false, false) => "",
        }
    }

    /// Returns when the plan changes even if nothing happens.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Ready { deadline, .. } | Self::Drain { deadline, .. } => Some(*deadline),
            Self::Backoff { until, .. } | Self::Weights { until, .. } | Self::IdleStop { until, .. } => Some(*until),
            Self::Answer { deadline, .. } | Self::Room { deadline, .. } => *deadline,
            Self::Suspended { until, .. } => *until,
            _ => None,
        }
    }

    /// Returns what it means for the command that reports it.
    #[must_use]
    pub const fn kind(&self) -> WaitKind {
        match self {
            Self::Ready { .. }
            | Self::Drain { .. }
            | Self::StartSlot
            | Self::Weights { .. }
            | Self::RestartSlot { .. }
            | Self::PortOf { .. }
            | Self::Room { .. }
            | Self::Binary { pending: true, .. } => WaitKind::Progressing,
            Self::Backoff { .. }
            | Self::Edit { .. }
            | Self::Sibling { .. }
            | Self::Port { .. }
            | Self::FreePort { .. }
            | Self::UnknownProcess { .. }
            | Self::ForeignInstance { .. }
            | Self::OneRow { .. }
            | Self::NoRoom { .. }
            | Self::Answer { .. } => WaitKind::Stuck,
            Self::Definition { .. } | Self::DeletionBlocked { .. } | Self::Policy { .. } | Self::Accepted { .. } => {
                WaitKind::InvalidDefinition
            }
            Self::Guard => WaitKind::Guard,
            Self::Binary { pending: false, .. } => WaitKind::NoBinary,
            Self::BinaryUpgrade | Self::IdleStop { .. } => WaitKind::Note,
            Self::Suspended { .. } | Self::StateByHand { .. } => WaitKind::ByHand,
        }
    }
}
