//! The gateway, as passes speak with it.
//!
//! ```text
//!   the watcher's passes ── Gateway ── serve::gateway, in the same process
//!   every other process ─── Gateway ── Beside ── <state-dir>/herdsman.sock ── serve::socket
//! ```
//!
//! Where nobody listens on the socket, no gateway serves: a watcher that has died
//! sends no request to anybody.

mod beside;
mod protocol;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::beside::Beside;
pub use self::protocol::{Answer, Question, Reply, Request};
use crate::model::text;
use crate::model::{Demand, InstanceId, ModelName, Timestamp, Traffic};
use crate::state::StateDir;

/// How long the watcher may take to answer one who only looks on.
pub(super) const BRIEFLY: Duration = Duration::from_secs(1);

/// Asks the watcher of this state directory what clients ask of its models, those
/// that they asked for since it began to serve; `None`: no gateway serves. It takes no
/// longer than a second.
///
/// # Errors
/// A gateway serves and does not answer.
pub fn traffic(state: &StateDir) -> Result<Option<BTreeMap<ModelName, Traffic>>, GatewayError> {
    Beside::new(state.clone()).with_patience(BRIEFLY).traffic()
}

/// Has the watcher of this state directory look at what this process did, and waits until
/// requests go by it, 3 s at most; returns whether they do. `None`: no gateway serves.
///
/// # Errors
/// A gateway serves and does not answer.
pub fn attend(state: &StateDir) -> Result<Option<bool>, GatewayError> {
    Beside::new(state.clone()).attend()
}

/// Returns where the watcher of this state directory serves its page: URLs, and
/// `unix:/PATH`. `None`: no gateway serves.
///
/// # Errors
/// A gateway serves and does not answer.
pub fn addresses(state: &StateDir) -> Result<Option<Vec<String>>, GatewayError> {
    Beside::new(state.clone()).with_patience(BRIEFLY).addresses()
}

/// Waits until what the watcher of this state directory shows has another number than
/// `since`, at most `within`, and returns its number. `None`: no gateway serves.
///
/// # Errors
/// A gateway serves and does not answer.
pub fn changed(state: &StateDir, since: u64, within: Duration) -> Result<Option<u64>, GatewayError> {
    Beside::new(state.clone()).with_patience(BRIEFLY).changed(since, within)
}

/// The gateway of this state directory.
pub trait Gateway: Send {
    /// Whether it serves.
    fn serves(&self) -> bool;

    /// Returns what clients ask for; `None`: the passes of another process see to it.
    fn demand(&self, now: Timestamp) -> Option<Demand>;

    /// Takes instances out of rotation, as [`crate::pass::Fleet::withdraw`].
    ///
    /// # Errors
    /// It serves and does not confirm.
    fn withdraw(&self, instances: &[InstanceId]) -> Result<(), GatewayError>;

    /// Takes a withdrawal back, as [`crate::pass::Fleet::readmit`].
    ///
    /// # Errors
    /// It serves and does not confirm.
    fn readmit(&self, instances: &[InstanceId]) -> Result<(), GatewayError>;

    /// Counts the requests that it has sent to each of these instances and that are
    /// not over; those without any may be left out.
    ///
    /// # Errors
    /// It serves and does not answer.
    fn in_flight(&self, instances: &[InstanceId]) -> Result<BTreeMap<InstanceId, u32>, GatewayError>;
}

/// A gateway of another process serves, and cannot be spoken with.
#[derive(Debug, thiserror::Error)]
#[error("{0}; no server was stopped; {help}", help = .0.help())]
pub struct GatewayError(pub Problem);

impl From<Problem> for GatewayError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// Why a gateway cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It accepts the question and gives no answer.
    #[error(
        "the watcher{} does not answer on {} within {}",
        pid.map_or_else(String::new, |pid| format!(" (pid {pid})")), socket.display(), text::duration(*waited)
    )]
    Silent {
        /// Its process, where it is known.
        pid: Option<i32>,
        /// Its socket.
        socket: PathBuf,
        /// How long herdsman waited.
        waited: Duration,
    },
    /// The socket cannot be used.
    #[error("cannot ask the watcher on {}: {cause}", socket.display())]
    Unusable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It answers something else: another version of herdsman.
    #[error("the watcher on {} does not understand this herdsman ({why})", socket.display())]
    Foreign {
        /// Its socket.
        socket: PathBuf,
        /// What it answered.
        why: String,
    },
}

impl Problem {
    /// Returns what to do, for one who changes something.
    const fn help(&self) -> &'static str {
        match self {
            Self::Silent { .. } => "continue the watcher or stop it, then try again",
            Self::Unusable { .. } => "restart the watcher, then try again",
            Self::Foreign { .. } => "restart the watcher with this version",
        }
    }
}
