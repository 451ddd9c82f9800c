//! Why an action is in a plan: an enum with the old value, the new value and the
//! place that caused it. Programs get it as JSON; people get the prose of its
//! `Display` implementation, and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::text::printable;
use crate::model::{ColumnDrift, Death, DesiredState, FieldChange, Given, Origin};

/// What a changed field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// Nothing but reading it.
    None,
    /// Only SQLite.
    Record,
    /// A new process.
    Restart,
}

/// Why an action is in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// A definition without a record.
    DefinitionAdded {
        /// The file.
        origin: Origin,
        /// What it wants: only a record, or an instance too.
        state: DesiredState,
    },
    /// A row of another program has the definition's name and becomes its record.
    TakesOverRow {
        /// The row's id.
        id: i64,
    },
    /// A field of the definition changed.
    FieldChanged {
        /// Which, from what, to what.
        #[serde(flatten)]
        change: FieldChange,
        /// What it needs.
        impact: Impact,
        /// Where it is stated now.
        origin: Origin,
    },
    /// The instance serves another spec than the one wanted, and no record
    /// tells what differs.
    OtherSpec {
        /// The hash in the instance's environment.
        found: String,
        /// The hash wanted.
        wanted: String,
    },
    /// The definition wants the other state.
    StateWanted {
        /// What it wants.
        state: DesiredState,
        /// Where it says so.
        origin: Origin,
    },
    /// The definition is gone.
    DefinitionRemoved {
        /// The file it was.
        file: String,
    },
    /// A running model is wanted and no instance is recorded.
    NotRunning,
    /// The instance died.
    ProcessGone {
        /// How, as far as its log tells.
        death: Option<Death>,
        /// How many crashes in a row.
        crashes: u32,
    },
    /// The machine was started again.
    Rebooted,
    /// The newest generation did not become ready; the last one that was
    /// takes its place.
    RolledBack {
        /// The failed generation.
        failed: u32,
        /// The one that serves instead.
        to: u32,
    },
    /// `--retry`, or another llama-server than the one that failed.
    TriedAgain,
    /// Another client changed a column.
    RowDrift {
        /// Which, from what, to what.
        #[serde(flatten)]
        drift: ColumnDrift,
    },
    /// Another client deleted the row.
    RowDeleted {
        /// Its id.
        id: i64,
    },
    /// A live instance carries our mark and the database does not know it.
    Unrecorded {
        /// Its process.
        pid: i32,
    },
    /// There are two instances of one model.
    Duplicate {
        /// The process that is stopped.
        pid: i32,
        /// The one that is kept.
        kept: i32,
    },
    /// What an instance left that is gone: it cannot serve.
    Leftover {
        /// The process that is stopped, with all others of that instance.
        pid: i32,
    },
    /// It has not become ready in time.
    NotReadyInTime,
    /// It is a wrapper that did not `exec` llama-server.
    Wrapped {
        /// The wrapper.
        pid: i32,
        /// The child that answers in its place.
        child: i32,
    },
    /// It answers and is not what was asked for.
    FailedToStart {
        /// In what.
        message: String,
    },
    /// It lives and its `/health` does not answer.
    Unhealthy {
        /// For how long, milliseconds.
        for_ms: u64,
    },
    /// Its llama-server changed on disk, and `--upgrade-binary` was given.
    BinaryChanged,
    /// A stop that was begun is finished.
    StopUnfinished,
    /// `herdsman down`.
    Down,
    /// `herdsman start`, `stop` or `restart` of this model.
    ByHand {
        /// By whom.
        #[serde(flatten)]
        given: Given,
    },
}

impl Reason {
    /// The row of another program that becomes the model's.
    #[must_use]
    pub const fn taken_row(&self) -> Option<i64> {
        match self {
            Self::TakesOverRow { id } => Some(*id),
            _ => None,
        }
    }

    /// The place that caused it, if one did.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match self {
            Self::DefinitionAdded { origin, .. }
            | Self::FieldChanged { origin, .. }
            | Self::StateWanted { origin, .. } => Some(origin),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefinitionAdded { origin, state: DesiredState::Running } => write!(f, "{origin}"),
            Self::DefinitionAdded { origin, state: DesiredState::Stopped } => write!(f, "{origin} (declared stopped)"),
            Self::TakesOverRow { id } => write!(f, "takes over row {id}, which was not managed"),
            Self::FieldChanged { change, impact, origin } => {
                write!(f, "{}", shown(change))?;
                if *impact == Impact::Record {
                    f.write_str(" (no restart)")?;
                }
                write!(f, "   {origin}")
            }
            Self::OtherSpec { found, wanted } => write!(f, "serves spec {found}, wanted is {wanted}"),
            Self::StateWanted { state, origin } => write!(f, "state = \"{}\"   {origin}", state.as_str()),
            Self::DefinitionRemoved { file } => write!(f, "{file} removed"),
            Self::NotRunning => f.write_str("declared running, no instance"),
            Self::ProcessGone { death: Some(death), .. } => write!(f, "process gone: {}", death.message),
            Self::ProcessGone { death: None, .. } => f.write_str("process gone"),
            Self::Rebooted => f.write_str("the machine was started again"),
            Self::RolledBack { failed, to } => write!(f, "generation {failed} failed, back to generation {to}"),
            Self::TriedAgain => f.write_str("tried again"),
            Self::RowDrift { drift } => {
                write!(f, "database drift: {} was {}, found {}", drift.column, drift.recorded, drift.found)
            }
            Self::RowDeleted { id } => write!(f, "database drift: row {id} was deleted"),
            Self::Unrecorded { pid } => write!(f, "pid {pid} carries our mark and was not recorded"),
            Self::Duplicate { pid, kept } => write!(f, "pid {pid} is a second instance, pid {kept} is kept"),
            Self::Leftover { pid } => write!(f, "pid {pid} is left over from an instance that has ended"),
            Self::Wrapped { pid, child } => {
                write!(f, "pid {child}, a child of the wrapper (pid {pid}), answers in its place")
            }
            Self::NotReadyInTime => f.write_str("not ready in time"),
            Self::FailedToStart { message } => write!(f, "failed to start: {}", printable(message)),
            Self::Unhealthy { for_ms } => write!(f, "/health has not answered for {} s", for_ms / 1000),
            Self::BinaryChanged => f.write_str("llama-server is another one now"),
            Self::StopUnfinished => f.write_str("a stop that was begun"),
            Self::Down => f.write_str("herdsman down"),
            Self::ByHand { given } => write!(f, "by hand ({})", given),
        }
    }
}

/// `ctx_size 8192 -> 16384`, `mmap set to false`, `description`.
fn shown(change: &FieldChange) -> String {
    let FieldChange { field, old, new } = change;
    // As definitions spell them.
    let field = match field.as_str() {
        "secrets.LLAMA_API_KEY" => "secrets.api_key",
        "secrets.HF_TOKEN" => "secrets.hf_token",
        field => field,
    };
    // Free text is not worth repeating in a line; the file shows it.
    if matches!(field, "description" | "labels") {
        return field.to_owned();
    }
    // A template or a grammar is a value too, and a definition is what
    // somebody proposed: what it says reaches a terminal.
    let value = |value: &Option<String>| value.as_deref().map(printable);
    match (value(old), value(new)) {
        (Some(old), Some(new)) => format!("{field} {old} -> {new}"),
        (None, Some(new)) => format!("{field} set to {new}"),
        (Some(old), None) => format!("{field} no longer {old}"),
        (None, None) => field.to_owned(),
    }
}
