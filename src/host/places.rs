//! The paths of this machine, and the errors that end a pass.

use std::path::{Path, PathBuf};

use super::gateway::GatewayError;
use super::{RevisionError, working_directory};
use crate::database::{DatabaseError, Location};
use crate::definition::{self, LoadError};
use crate::instance;
use crate::owner::policy::{Policy, PolicyError, PolicySource};
use crate::state::{StateDir, StateError};
use crate::sys::trust::{self, Untrusted};

/// The paths.
#[derive(Clone, Debug)]
pub struct Places {
    /// The definitions, as the user named the directory.
    pub models_dir: PathBuf,
    /// The revision whose files are read instead of those in the directory.
    pub from_git: Option<String>,
    /// The state directory.
    pub state: StateDir,
    /// The database.
    pub database: PathBuf,
    /// The llama-server of definitions that name none; `None`: from `PATH`.
    pub llama_server: Option<String>,
    /// The policy, as the user named it; `None`: at the default place, if there
    /// is one.
    pub policy: Option<PathBuf>,
    /// Ports to assign, both ends included.
    pub port_range: (u16, u16),
}

impl Places {
    /// The directory of definitions, absolute.
    #[must_use]
    pub fn models_dir(&self) -> PathBuf {
        definition::absolute(&working_directory(), &self.models_dir)
    }

    /// Whether the database is the one in the state directory.
    #[must_use]
    pub fn place(&self) -> Location {
        let absolute = |path: &Path| std::path::absolute(path).ok();
        let own = absolute(&self.state.database());
        if own.is_some() && own == absolute(&self.database) { Location::Own } else { Location::Named }
    }

    /// Refuses, as root, a state directory that others can change.
    fn require_trusted_state(&self) -> Result<(), Untrusted> {
        trust::require(&definition::absolute(&working_directory(), self.state.path()), &[])
    }

    /// Refuses, as root, a database that other users can change. The mode of the file
    /// is its owner's business, but a user who can create files beside it can write
    /// to it: SQLite replays a `-wal` or `-journal` that it finds.
    fn require_trusted_database(&self, policy: Option<&Policy>) -> Result<(), Untrusted> {
        let owners = policy.map_or(&[][..], Policy::owners);
        trust::require_directory_of(&definition::absolute(&working_directory(), &self.database), owners)
    }
}

/// An error that ends a pass on this machine.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The definitions cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The policy of the host cannot be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Other users can change a file that herdsman relies on.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The commit they are in cannot be read.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// The database cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The processes cannot be listed.
    #[error(transparent)]
    Processes(#[from] instance::HostError),
    /// The gateway of another process serves, and does not say what is in flight.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A read-only command was about to write: a bug in herdsman.
    #[error("a read-only command was about to write; this is a bug, please report it")]
    ReadOnly,
}

impl HostError {
    /// Whether the pass ended because the database is damaged: another pass
    /// sets it aside.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_damage())
    }
}

/// Where the policy is, once it is known that nobody else can change the
/// records. A policy that cannot be read ends the pass, not this: servers may be
/// stopped all the same, unless it is what says whose database is trusted.
pub(super) fn trusted_policy(places: &Places) -> Result<PolicySource, HostError> {
    places.require_trusted_state()?;
    let mut source = PolicySource::new(places.policy.as_deref(), &working_directory());
    match source.current() {
        Ok(policy) => places.require_trusted_database(policy.as_deref())?,
        Err(unreadable) => places.require_trusted_database(None).map_err(|_| unreadable)?,
    }
    Ok(source)
}
