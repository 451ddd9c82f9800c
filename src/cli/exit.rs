//! Exit codes.

use std::process::ExitCode;

use crate::definition::LoadError;
use crate::host::saved_plan::PlanFileError;
use crate::host::{HostError, RevisionError};
use crate::model::Severity;
use crate::owner::policy::PolicyError;
use crate::owner::settings::SettingsError;
use crate::pass::Pass;
use crate::plan::{WaitFor, WaitKind};
use crate::serve::metrics::ListenError;
use crate::serve::server::BindError;
use crate::state::StateError;

/// The meaning of the exit code. If several apply, the first in this list wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Wrong usage.
    Usage,
    /// Another pass holds the lock.
    Locked,
    /// An action needs llama-server and there is no usable one.
    NoLlamaServer,
    /// No models.d, or no source of an import, to read.
    NoModelsDir,
    /// Refused: by the mass-delete guard, or because a saved plan is out of date.
    Refused,
    /// Some definition is invalid, and the others were reconciled; or the
    /// source of an import is not what it should be.
    InvalidDefinition,
    /// An action failed, or a model does not match its definition.
    Failed,
    /// Changes are pending or were made (`--detailed-exitcode`).
    Changes,
    /// Converged.
    Converged,
}

impl Exit {
    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Locked => 75,
            Self::NoLlamaServer => 69,
            Self::NoModelsDir => 66,
            Self::Refused => 3,
            Self::InvalidDefinition => 65,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Converged => 0,
        }
    }

    /// Returns the one that wins when both apply.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }
}

impl Exit {
    /// Returns the code of an error that ended a command.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return refused.exit;
        }
        if error.is::<LoadError>() || error.is::<RevisionError>() {
            return Self::NoModelsDir;
        }
        match error.downcast_ref::<SettingsError>() {
            Some(SettingsError::Unreadable { .. }) => return Self::NoModelsDir,
            Some(SettingsError::Writable(_) | SettingsError::Invalid(_)) => return Self::InvalidDefinition,
            None => {}
        }
        if let Some(ListenError::Bind { .. }) = error.downcast_ref() {
            return Self::Usage;
        }
        if error.is::<BindError>() {
            return Self::Usage;
        }
        if let Some(file) = error.downcast_ref::<PlanFileError>() {
            return Self::of_plan_file(file);
        }
        match error.downcast_ref::<HostError>() {
            Some(error) => Self::of_host(error),
            None => error.downcast_ref().map_or(Self::Failed, Self::of_state),
        }
    }

    /// Returns the code of an error of this machine.
    pub(super) fn of_host(error: &HostError) -> Self {
        match error {
            HostError::Load(_)
            | HostError::Revision(_)
            | HostError::Untrusted(_)
            | HostError::Policy(PolicyError::Missing(_)) => Self::NoModelsDir,
            HostError::Policy(_) => Self::InvalidDefinition,
            HostError::State(error) => Self::of_state(error),
            HostError::Database(_) | HostError::Processes(_) | HostError::Gateway(_) | HostError::ReadOnly => {
                Self::Failed
            }
        }
    }

    fn of_state(error: &StateError) -> Self {
        match error {
            StateError::Locked { .. } | StateError::Watched(_) => Self::Locked,
            StateError::Untrusted(_) => Self::NoModelsDir,
            _ => Self::Failed,
        }
    }

    /// Returns the code of a file that is not a saved plan, or cannot become one.
    fn of_plan_file(error: &PlanFileError) -> Self {
        match error {
            PlanFileError::Unreadable { .. } => Self::NoModelsDir,
            PlanFileError::NotAPlan { .. } | PlanFileError::OtherVersion { .. } => Self::InvalidDefinition,
            PlanFileError::InTheWay(_) => Self::Usage,
            PlanFileError::Unwritable { .. } => Self::Failed,
        }
    }

    /// Returns the code of the state after a pass.
    pub(super) fn of_pass(pass: &Pass) -> Self {
        let mut diagnostics = pass.desired.iter().flat_map(|d| &d.diagnostics);
        let invalid = diagnostics.any(|d| d.severity == Severity::Error);
        let failed = pass.outcomes.iter().any(|o| o.result.is_err());
        let waits = pass.plan.waiting.iter().map(|waiting| Self::of_wait(&waiting.on));
        let also = [(invalid, Self::InvalidDefinition), (failed, Self::Failed)];
        waits.chain(also.into_iter().filter_map(|(so, exit)| so.then_some(exit))).fold(Self::Converged, Self::and)
    }

    /// Returns the code of a waiting model.
    pub(super) const fn of_wait(on: &WaitFor) -> Self {
        match on.kind() {
            WaitKind::Guard => Self::Refused,
            WaitKind::NoBinary => Self::NoLlamaServer,
            WaitKind::InvalidDefinition => Self::InvalidDefinition,
            WaitKind::Stuck => Self::Failed,
            // An override is not a failure to report every minute.
            WaitKind::Progressing | WaitKind::Note | WaitKind::ByHand => Self::Converged,
        }
    }
}

/// The refusal of a command, with its own exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_the_list_wins() {
        use Exit::*;
        let order = [Usage, Locked, NoLlamaServer, NoModelsDir, Refused, InvalidDefinition, Failed, Changes, Converged];
        assert_eq!(order.map(Exit::code), [64, 75, 69, 66, 3, 65, 1, 2, 0]);
        for pair in order.windows(2) {
            assert_eq!(pair[1].and(pair[0]), pair[0]);
        }
    }
}
