//! From arguments to a host and a pass, and from errors to exit codes.

use super::output::complain;
use super::{Exit, Places};
use crate::host::{self, Host, HostError};
use crate::model::Diagnostic;
use crate::plan::Limits;
use crate::policy::PolicyError;
use crate::reconcile::{Goal, Pass, look, pass};
use crate::state::{StateDir, StateError};

impl Places {
    pub(super) fn state(&self) -> StateDir {
        StateDir::new(self.state_dir.clone().unwrap_or_else(StateDir::default_path))
    }

    /// Where everything is, every default filled in.
    pub(super) fn resolve(&self) -> host::Places {
        let state = self.state();
        host::Places {
            models_dir: self.models_dir.clone(),
            database: self.database.clone().unwrap_or_else(|| state.database()),
            // An empty variable is one that is not set.
            policy: self.policy.clone().filter(|path| !path.as_os_str().is_empty()),
            llama_server: self.llama_server.clone().filter(|name| !name.is_empty()),
            state,
        }
    }

    pub(super) fn open(&self) -> Result<Host, HostError> {
        Host::open(self.resolve())
    }

    pub(super) fn open_read_only(&self) -> Result<Host, HostError> {
        Host::open_read_only(self.resolve())
    }
}

/// A pass, with what is to be told of the database on standard error. One that
/// ends because the database is damaged is made again, once: by then that is
/// set aside.
pub(super) fn pass_and_tell(host: &mut Host, goal: Goal, limits: &Limits, cause: &str) -> Result<Pass, HostError> {
    let mut made = pass(host, goal, limits, cause);
    if made.as_ref().is_err_and(HostError::is_damage) {
        made = pass(host, goal, limits, cause);
    }
    host.take_notices().iter().for_each(complain);
    made
}

/// A look, with what is to be told of the database on standard error.
pub(super) fn look_and_tell(host: &mut Host, limits: &Limits) -> Result<Pass, HostError> {
    let seen = look(host, Goal::Definitions, limits);
    host.take_notices().iter().for_each(complain);
    seen
}

/// A command that refuses for a reason with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    pub(super) exit: Exit,
    pub(super) message: String,
}

/// What is wrong with the policy, each at its place, if that ended a command.
#[must_use]
pub fn diagnostics_of(error: &anyhow::Error) -> &[Diagnostic] {
    match error.downcast_ref::<HostError>() {
        Some(HostError::Policy(error)) => error.diagnostics(),
        _ => &[],
    }
}

/// The exit code of an error that ended a command.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.exit;
    }
    match error.downcast_ref::<HostError>() {
        Some(error) => exit_of_host(error),
        None => error.downcast_ref().map_or(Exit::Failed, exit_of_state),
    }
}

/// The exit code of an error of this machine.
pub(super) fn exit_of_host(error: &HostError) -> Exit {
    match error {
        HostError::Load(_) | HostError::Untrusted(_) | HostError::Policy(PolicyError::Missing(_)) => Exit::NoModelsDir,
        HostError::Policy(_) => Exit::InvalidDefinition,
        HostError::State(error) => exit_of_state(error),
        HostError::Database(_) | HostError::Processes(_) | HostError::ReadOnly => Exit::Failed,
    }
}

fn exit_of_state(error: &StateError) -> Exit {
    match error {
        StateError::Locked { .. } | StateError::Watched(_) => Exit::Locked,
        _ => Exit::Failed,
    }
}
