//! What an instance runs as.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies what an instance runs as, so that it can be found again. The part that
/// starts instances creates and consumes handles; all others compare and print them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handle {
    /// A process of this machine.
    Process(ProcessId),
}

impl Handle {
    /// The pid, to print.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.process().pid
    }

    /// The process, for the code that signals and reads processes.
    #[must_use]
    pub const fn process(&self) -> &ProcessId {
        let Self::Process(process) = self;
        process
    }

    /// Whether it ended when its host went down: `boot_id` names the present boot.
    #[must_use]
    pub fn is_of_an_earlier_boot(&self, boot_id: &str) -> bool {
        self.process().boot_id != boot_id
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(process) => process.fmt(f),
        }
    }
}

impl From<ProcessId> for Handle {
    fn from(process: ProcessId) -> Self {
        Self::Process(process)
    }
}

/// What identifies a process beyond the reuse of its pid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid, in the namespace below.
    pub pid: i32,
    /// Start time in clock ticks after boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Inode of `/proc/PID/ns/pid`.
    pub pid_namespace: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)
    }
}
