//! Why an action is in a plan: an enum with the old value, the new value and the
//! line that caused it. Programs read it as JSON, people read its `Display`;
//! `tests/pure/words` pins every wording.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::text::{duration, printable};
use crate::model::{ColumnDrift, Death, DesiredState, FieldChange, Given, ModelName, Origin};

/// What a change of a field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// Nothing.
    None,
    /// A write to SQLite, and no restart.
    Record,
    /// A new process.
    Restart,
}

/// Why an action is in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// A definition has no record yet.
    DefinitionAdded {
        /// The file.
        origin: Origin,
        /// What it wants: only a record, or an instance too.
        state: DesiredState,
    },
    /// The definition adopts a row of another program that has its name.
    TakesOverRow {
        /// The row's id.
        id: i64,
    },
    /// A field of the definition changed.
    FieldChanged {
        /// The field, its old and its new value.
        #[serde(flatten)]
        change: FieldChange,
        /// What it needs.
        impact: Impact,
        /// Its line in the definition.
        origin: Origin,
    },
    /// The instance serves a different spec, and no record says where they differ.
    OtherSpec {
        /// The hash in the instance's environment.
        found: String,
        /// The hash wanted.
        wanted: String,
    },
    /// The definition changed its `state`.
    StateWanted {
        /// That state.
        state: DesiredState,
        /// Where it says so.
        origin: Origin,
    },
    /// The definition is gone.
    DefinitionRemoved {
        /// Its former file.
        file: String,
    },
    /// The model should run, and no instance is recorded.
    NotRunning,
    /// Requests wait for the model, which runs on demand.
    AskedFor {
        /// How many.
        waiting: u32,
    },
    /// Nobody has used the model, which runs on demand, for `[idle] stop_after`.
    Idle {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A client unloaded the model, which runs on demand.
    Unloaded,
    /// Another model starts in its place.
    MakesRoom {
        /// That model.
        #[serde(rename = "other")]
        model: ModelName,
        /// The full group that both belong to.
        group: String,
    },
    /// The instance died.
    ProcessGone {
        /// Its cause of death, if its log names one.
        death: Option<Death>,
        /// How many crashes in a row.
        crashes: u32,
    },
    /// The machine rebooted.
    Rebooted,
    /// The newest generation did not become ready, so the last ready one
    /// replaces it.
    RolledBack {
        /// The failed generation.
        failed: u32,
        /// The one that serves instead.
        to: u32,
    },
    /// `--retry`, or a llama-server that differs from the one that failed.
    TriedAgain,
    /// Another client changed a column.
    RowDrift {
        /// The column, what herdsman wrote and what it holds now.
        #[serde(flatten)]
        drift: ColumnDrift,
    },
    /// Another client deleted the row.
    RowDeleted {
        /// Its id.
        id: i64,
    },
    /// A live instance belongs to herdsman but is missing from the database.
    Unrecorded {
        /// Its process.
        pid: i32,
    },
    /// A model has two instances.
    Duplicate {
        /// The process to stop.
        pid: i32,
        /// The one to keep.
        kept: i32,
    },
    /// Processes outlived their instance and cannot serve.
    Leftover {
        /// The oldest of them; all of them are stopped.
        pid: i32,
    },
    /// The instance did not become ready in time.
    NotReadyInTime,
    /// The instance is a wrapper that did not `exec` llama-server.
    Wrapped {
        /// The wrapper.
        pid: i32,
        /// The child that answers in its place.
        child: i32,
    },
    /// The instance answers, but does not serve what its definition asks for.
    FailedToStart {
        /// The difference.
        message: String,
    },
    /// The instance is alive but its `/health` does not answer.
    Unhealthy {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Its llama-server changed on disk, and `--upgrade-binary` allows a restart.
    BinaryChanged,
    /// An earlier pass started to stop it and did not finish.
    StopUnfinished,
    /// `herdsman down`.
    Down,
    /// `herdsman start`, `stop` or `restart` of this model.
    ByHand {
        /// Who, when and why.
        #[serde(flatten)]
        given: Given,
    },
}

impl Reason {
    /// Returns the row that the definition adopts.
    #[must_use]
    pub const fn taken_row(&self) -> Option<i64> {
        match self {
            Self::TakesOverRow { id } => Some(*id),
            _ => None,
        }
    }

    /// Returns the line of a definition that caused it, if one did.
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
            Self::DefinitionAdded { origin, state: DesiredState::OnDemand } => write!(f, "{origin} (runs on demand)"),
            Self::TakesOverRow { id } => write!(f, "adopting unmanaged row {id}"),
            Self::FieldChanged { change, impact, origin } => {
                write!(f, "{}", shown(change))?;
                if *impact != Impact::Restart {
                    f.write_str(" (no restart)")?;
                }
                write!(f, "   {origin}")
            }
            Self::OtherSpec { found, wanted } => write!(f, "serves spec {found} instead of {wanted}"),
            Self::StateWanted { state, origin } => write!(f, "state = \"{}\"   {origin}", state.as_str()),
            Self::DefinitionRemoved { file } => write!(f, "{file} removed"),
            Self::NotRunning => f.write_str("not running"),
            Self::AskedFor { waiting } => write!(f, "asked for ({waiting} waiting)"),
            Self::Idle { for_ms } => write!(f, "idle for {}", duration(Duration::from_millis(*for_ms))),
            Self::Unloaded => f.write_str("unloaded by a client"),
            Self::MakesRoom { model, group } => write!(f, "makes room for {model} in group {}", printable(group)),
            Self::ProcessGone { death: Some(death), .. } => write!(f, "process gone: {}", death.message),
            Self::ProcessGone { death: None, .. } => f.write_str("process gone"),
            Self::Rebooted => f.write_str("the machine rebooted"),
            Self::RolledBack { failed, to } => write!(f, "generation {failed} failed; rolling back to generation {to}"),
            Self::TriedAgain => f.write_str("retrying after an earlier failure"),
            Self::RowDrift { drift } => {
                write!(f, "database drift: {} changed from {} to {}", drift.column, drift.recorded, drift.found)
            }
            Self::RowDeleted { id } => write!(f, "database drift: another program deleted row {id}"),
            Self::Unrecorded { pid } => write!(f, "pid {pid} belongs to herdsman but is missing from the database"),
            Self::Duplicate { pid, kept } => write!(f, "pid {pid} is a second server; keeping pid {kept}"),
            Self::Leftover { pid } => write!(f, "pid {pid} is left over from a server that has exited"),
            Self::Wrapped { pid, child } => {
                write!(f, "pid {child} answers instead of its parent, the wrapper (pid {pid})")
            }
            Self::NotReadyInTime => f.write_str("not ready in time"),
            Self::FailedToStart { message } => write!(f, "failed to start: {}", printable(message)),
            Self::Unhealthy { for_ms } => write!(f, "/health has not answered for {} s", for_ms / 1000),
            Self::BinaryChanged => f.write_str("the llama-server binary changed on disk"),
            Self::StopUnfinished => f.write_str("finishing an interrupted stop"),
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
