//! What a model that gets no action is waiting for, and what that means. Programs
//! get it as JSON; people get the prose of its `Display` implementation, and
//! nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::text::printable;
use crate::model::{DesiredState, Given, ModelName, Origin, Timestamp, Unusable};

/// What a model gets no action for, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "waiting_for", rename_all = "snake_case")]
pub enum WaitFor {
    /// An instance is loading.
    Ready {
        /// Its process.
        pid: i32,
        /// It is given up then, unless it makes progress.
        deadline: Timestamp,
    },
    /// Requests in flight.
    Drain {
        /// How many slots are at work; `None`: it cannot be asked.
        busy: Option<usize>,
        /// It is stopped then at the latest.
        deadline: Timestamp,
    },
    /// A live server that has fallen silent.
    Answer {
        /// Its process.
        pid: i32,
        /// It is killed and started again then (`[ready] unhealthy_after`).
        deadline: Option<Timestamp>,
    },
    /// One of the starts before it (`--parallel`).
    StartSlot,
    /// Weights that somebody may still be writing.
    Weights {
        /// The file that changed last.
        file: String,
        /// When it will have been still for long enough.
        until: Timestamp,
    },
    /// The restart of another model (`--max-restarting`).
    RestartSlot {
        /// The model whose turn it is.
        #[serde(rename = "other")]
        model: ModelName,
    },
    /// A port that another of our models is about to leave.
    PortOf {
        /// The port.
        port: u16,
        /// That model.
        #[serde(rename = "other")]
        model: ModelName,
    },
    /// Its next try after crashes.
    Backoff {
        /// When.
        until: Timestamp,
        /// How many crashes in a row.
        crashes: u32,
        /// Whether it was ever ready: else it failed to start.
        #[serde(default)]
        was_ready: bool,
        /// The last one.
        message: String,
    },
    /// An edit of its definition: this generation failed.
    Edit {
        /// The failed generation.
        generation: u32,
        /// How it failed.
        message: String,
        /// The generation that serves meanwhile.
        serving: Option<u32>,
    },
    /// Another model, whose restart for the same line failed.
    Sibling {
        /// That model.
        #[serde(rename = "other")]
        model: ModelName,
        /// That line.
        origin: Origin,
    },
    /// A port somebody else holds.
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
    /// Its definition to be readable and valid.
    Definition {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of unknown meaning to be usable: it may be this model's
    /// renamed definition, so nothing is deleted.
    DeletionBlocked {
        /// The file.
        file: String,
    },
    /// A person to allow the deletions (`--max-deletes`).
    Guard,
    /// A usable llama-server.
    Binary {
        /// What is wrong.
        problem: String,
        /// It was asked, and its answer is still to come.
        #[serde(default)]
        pending: bool,
    },
    /// The host's policy to allow the start: nothing may be started that it
    /// does not allow, whatever was recorded before it said so.
    Policy {
        /// What it does not allow, and where it says so.
        problem: String,
    },
    /// A command line and weights that llama-server accepts.
    Accepted {
        /// What it says.
        message: String,
        /// The definition.
        origin: Origin,
    },
    /// A process that cannot be read: it may be this model's.
    UnknownProcess {
        /// Its pid.
        pid: Option<i32>,
    },
    /// An instance of the same definition under another state directory.
    ForeignInstance {
        /// Its pid.
        pid: i32,
    },
    /// A database with one row of this name.
    OneRow {
        /// The rows that share it.
        ids: Vec<i64>,
    },
    /// `--upgrade-binary`: it runs, on a llama-server that changed on disk.
    BinaryUpgrade,
    /// `herdsman resume`: nothing is done to it.
    Suspended {
        /// By whom.
        #[serde(flatten)]
        given: Given,
        /// Until then at the latest.
        until: Option<Timestamp>,
        /// Its definition is gone: it is deleted once it is resumed.
        removed: bool,
        /// It is to run and does not: it is started once it is resumed.
        missing: bool,
        /// Its definition says otherwise than its record: that is applied once
        /// it is resumed.
        #[serde(default)]
        edited: bool,
    },
    /// A change of its definition: it is in the other state by hand.
    StateByHand {
        /// By whom.
        #[serde(flatten)]
        given: Given,
        /// The state wanted instead of the declared one.
        state: DesiredState,
    },
}

/// What a wait means for the command that reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// It ends by itself soon: `reconcile` makes another pass.
    Progressing,
    /// The model is not as declared until something else happens.
    Stuck,
    /// A definition is at fault.
    InvalidDefinition,
    /// No usable llama-server.
    NoBinary,
    /// The mass-delete guard refused.
    Guard,
    /// The model is as declared.
    Note,
    /// The model is as somebody wants it by hand.
    ByHand,
}

impl WaitFor {
    /// For a llama-server that cannot be used now.
    #[must_use]
    pub fn binary(unusable: &Unusable) -> Self {
        Self::Binary { problem: unusable.problem.clone(), pending: unusable.is_pending }
    }

    /// What was done by hand, and the command that takes it back.
    #[must_use]
    pub const fn words_by_hand(state: DesiredState) -> (&'static str, &'static str) {
        match state {
            DesiredState::Running => ("started", "stop"),
            DesiredState::Stopped => ("stopped", "start"),
        }
    }

    /// What happened before the next try: `crashed once`, `failed to start 3
    /// times in a row`.
    #[must_use]
    pub fn words_of_failures(crashes: u32, was_ready: bool) -> String {
        let what = if was_ready { "crashed" } else { "failed to start" };
        if crashes == 1 { format!("{what} once") } else { format!("{what} {crashes} times in a row") }
    }

    /// What a suspension holds up.
    #[must_use]
    pub const fn words_suspended(removed: bool, missing: bool, edited: bool) -> &'static str {
        match (removed, missing, edited) {
            (true, ..) => "; its definition is gone, and it is deleted after that",
            (false, true, _) => "; it does not run, and is started after that",
            (false, false, true) => "; what is edited is applied after that",
            (false, false, false) => "",
        }
    }

    /// When the plan will be another one even if nothing happens.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Ready { deadline, .. } | Self::Drain { deadline, .. } => Some(*deadline),
            Self::Backoff { until, .. } | Self::Weights { until, .. } => Some(*until),
            Self::Answer { deadline, .. } => *deadline,
            Self::Suspended { until, .. } => *until,
            _ => None,
        }
    }

    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> WaitKind {
        match self {
            Self::Ready { .. }
            | Self::Drain { .. }
            | Self::StartSlot
            | Self::Weights { .. }
            | Self::RestartSlot { .. }
            | Self::PortOf { .. }
            | Self::Binary { pending: true, .. } => WaitKind::Progressing,
            Self::Backoff { .. }
            | Self::Edit { .. }
            | Self::Sibling { .. }
            | Self::Port { .. }
            | Self::FreePort { .. }
            | Self::UnknownProcess { .. }
            | Self::ForeignInstance { .. }
            | Self::OneRow { .. }
            | Self::Answer { .. } => WaitKind::Stuck,
            Self::Definition { .. } | Self::DeletionBlocked { .. } | Self::Policy { .. } | Self::Accepted { .. } => {
                WaitKind::InvalidDefinition
            }
            Self::Guard => WaitKind::Guard,
            Self::Binary { pending: false, .. } => WaitKind::NoBinary,
            Self::BinaryUpgrade => WaitKind::Note,
            Self::Suspended { .. } | Self::StateByHand { .. } => WaitKind::ByHand,
        }
    }
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { pid, .. } => write!(f, "loading (pid {pid})"),
            Self::Drain { busy: Some(busy), .. } => {
                write!(f, "draining, {} in flight", crate::model::text::count(*busy, "request"))
            }
            Self::Drain { busy: None, .. } => f.write_str("draining, it does not tell what is in flight"),
            Self::Answer { pid, deadline: None } => write!(f, "pid {pid} lives and does not answer"),
            Self::Answer { pid, deadline: Some(_) } => {
                write!(f, "pid {pid} lives and does not answer; it is restarted if it stays so (unhealthy_after)")
            }
            Self::StartSlot => f.write_str("waits for the starts before it (--parallel)"),
            Self::Weights { file, .. } => write!(f, "{file} changed just now, waits until it has been still for 10 s"),
            Self::RestartSlot { model } => write!(f, "waits for the restart of {model} (--max-restarting)"),
            Self::PortOf { port, model } => write!(f, "waits until {model} has left port {port}"),
            Self::Backoff { crashes, was_ready, message, .. } => {
                let failed = Self::words_of_failures(*crashes, *was_ready);
                write!(f, "{failed}, waits for its next try: {message}")
            }
            Self::Edit { generation, message, serving } => {
                write!(f, "generation {generation} failed: {message}; ")?;
                if let Some(serving) = serving {
                    write!(f, "generation {serving} serves; ")?;
                }
                f.write_str("waits for an edit (or --retry)")
            }
            Self::Sibling { model, origin } => write!(f, "waits: the same edit failed on {model}   {origin}"),
            Self::Port { port, holder } => {
                write!(f, "port {port} is held by {holder}; stop that, or choose another port")
            }
            Self::FreePort { range: (from, to) } => {
                write!(f, "no free port in {from}-{to}; widen --port-range or stop a model")
            }
            Self::Definition { file, problem } => write!(f, "nothing is changed: {file}: {}", printable(problem)),
            Self::DeletionBlocked { file } => write!(f, "not deleted: {file} cannot be used and may be its definition"),
            Self::Guard => f.write_str("refused by the mass-delete guard (--max-deletes)"),
            Self::Binary { problem, .. } => f.write_str(problem),
            Self::Policy { problem } => write!(f, "not started: {}", printable(problem)),
            Self::Accepted { message, origin } => write!(f, "nothing is changed: {message}   {origin}"),
            Self::UnknownProcess { pid: Some(pid) } => {
                write!(
                    f,
                    "pid {pid} may be its server and cannot be identified (does `binary` change its environment or \
                     user?); stop it with `kill {pid}`"
                )
            }
            Self::UnknownProcess { pid: None } => {
                f.write_str("a process whose environment cannot be read may be its server")
            }
            Self::ForeignInstance { pid } => {
                write!(f, "pid {pid} serves this definition for another state directory; stop it there first")
            }
            Self::OneRow { ids } => write!(f, "rows {ids:?} share this name; rename or delete all but one"),
            Self::BinaryUpgrade => {
                f.write_str("llama-server is another one than it runs on; --upgrade-binary restarts it")
            }
            Self::Suspended { given, until, removed, missing, edited } => {
                write!(f, "suspended ({}): nothing is done to it", given)?;
                f.write_str(if until.is_some() { " until its time is over" } else { "" })?;
                f.write_str(Self::words_suspended(*removed, *missing, *edited))?;
                f.write_str("; `herdsman resume` ends it")
            }
            Self::StateByHand { given, state } => {
                let (word, back) = Self::words_by_hand(*state);
                write!(f, "{word} by hand ({given}); a change of its definition, or `herdsman {back}`, ends it")
            }
        }
    }
}
