//! OBSERVED and acted on: llama-server processes.
//!
//! ```text
//!   /proc ── scan ── marker ─┐   group: which of them is the server
//!   /proc/PID ── process ────┤
//!   sock_diag ── socket ─────┼── observe ──> Observed
//!   argv, environ ─ endpoint ┤
//!   HTTP ── http, drain ─────┤
//!   log ── death ────────────┘     log ── last_lines ──> for people
//!
//!   Launch ── environment, secret, spawn ──> a process      StopTarget ── pidfd, stop ──> none
//! ```
//!
//! This module decides nothing: it reports what it sees and carries out what the
//! plan says. Rules throughout:
//! - A process is known by pid, start time, boot and pid namespace, confirmed
//!   by the marker in its environment; never by a bare pid, a name or a port.
//! - Signals go through a pidfd opened *before* the identity was checked.
//! - What cannot be read is unknown, not absent. A zombie is dead.
//! - Calls block. Runtime and HTTP client are built when the first server is
//!   to be asked, so a pass without instances does not pay for them.

mod death;
mod drain;
mod endpoint;
mod environment;
mod group;
#[cfg(test)]
mod hostile;
mod http;
mod last_lines;
mod log;
mod look;
mod marker;
mod observe;
mod pidfd;
mod process;
mod scan;
mod sock_diag;
mod socket;
mod spawn;
mod stop;
mod wait;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};

pub use last_lines::last_lines;
pub use log::{
    LogError, LogLimits, LogReader, Part as LogPart, limit as limit_logs, models as logged, newest as newest_log,
};
pub use look::{Apart, Look, is_same_file, look, seen_from_here};
pub use observe::command_line;
pub use pidfd::Bell;
use rustix::process::{Pid, WaitOptions, waitpid};
pub use spawn::SpawnError;
pub use stop::StopError;
pub use wait::{Watched, Woken};

use crate::model::{InstanceId, ModelName};
use crate::sys::program;
use drain::Drains;
use http::Http;

/// This machine, as far as instances of one state id go.
#[derive(Debug)]
pub struct Host {
    state_id: String,
    boot_id: String,
    pid_namespace: u64,
    http: Option<Http>,
    /// The instances this very process started: when they die, it must reap them.
    children: Vec<(InstanceId, Child)>,
    /// How those that died ended.
    exits: BTreeMap<InstanceId, ExitStatus>,
    /// What busy servers answered, and when.
    drains: Drains,
}

/// The machine cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of `/proc` that every process may read could not be read.
    #[error("cannot read {path}: {source}; herdsman needs a mounted /proc of its own pid namespace")]
    Proc {
        /// The file.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The kernel gave no event loop.
    #[error("cannot start the runtime for requests to servers: {0}; too many open files?")]
    Runtime(io::Error),
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client for requests to servers: {0}")]
    Client(reqwest::Error),
}

impl HostError {
    /// Makes an error of reading `path`.
    fn reading(path: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Proc { path: path.to_owned(), source }
    }
}

/// Who listens on a TCP port, for people, unless that is an instance of a
/// definition in `dir`, absolute, whichever state directory it belongs to.
#[must_use]
pub fn stranger_on(port: u16, dir: &Path) -> Option<String> {
    let holder = socket::holder(port).ok().flatten()?;
    let is_ours = |pid: i32| {
        let environment = marker::Environment::of(pid).ok()?;
        Some(Path::new(environment.get(marker::DEFINITION)?).parent() == Some(dir))
    };
    match holder {
        socket::Holder::Process(pid) if is_ours(pid).unwrap_or(false) => None,
        holder => Some(holder.to_string()),
    }
}

impl Host {
    /// Learns which boot and which pid namespace this is. `state_id` is the
    /// content of `<state-dir>/id`.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn new(state_id: &str) -> Result<Self, HostError> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        const PID_NAMESPACE: &str = "/proc/self/ns/pid";
        let boot_id = std::fs::read_to_string(BOOT_ID).map_err(HostError::reading(BOOT_ID))?;
        let namespace = std::fs::metadata(PID_NAMESPACE).map_err(HostError::reading(PID_NAMESPACE))?;
        Ok(Self {
            state_id: state_id.to_owned(),
            boot_id: boot_id.trim_end().to_owned(),
            pid_namespace: namespace.ino(),
            http: None,
            children: Vec::new(),
            exits: BTreeMap::new(),
            drains: Drains::default(),
        })
    }

    /// The id that marks our instances.
    #[must_use]
    pub fn state_id(&self) -> &str {
        &self.state_id
    }

    /// Who listens on a TCP port, for people: `pid 4711 (nginx)`, or `a process
    /// of another user`. `None`: nobody does, or the kernel would not say.
    #[must_use]
    pub fn port_holder(&self, port: u16) -> Option<String> {
        socket::holder(port).ok().flatten().map(|holder| holder.to_string())
    }

    /// How many layers an instance has put on a GPU, of how many, by its log in
    /// `logs`; `None` while it has not said. In a log that it shares, which an
    /// earlier version began, its lines begin at `offset`, or earlier if the log
    /// was shortened. llama-server says so only from `--log-verbosity 4` on.
    #[must_use]
    pub fn offloaded_layers(&self, logs: &Path, of: (&ModelName, &InstanceId), offset: u64) -> Option<(u32, u32)> {
        death::offloaded_layers(&log::of_instance(logs, of.0, of.1), of.1, offset)
    }

    fn http(&mut self) -> Result<&Http, HostError> {
        let http = match self.http.take() {
            Some(http) => http,
            None => Http::new()?,
        };
        Ok(self.http.insert(http))
    }

    /// Takes the exit statuses of dead children, so that none stays a zombie:
    /// of the instances this process started, and as process 1 of whatever has
    /// lost its own parent.
    pub fn reap(&mut self) {
        let exits = &mut self.exits;
        self.children.retain_mut(|(id, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                exits.insert(id.clone(), status);
                false
            }
            // Somebody else reaped it (ECHILD): it is dead all the same.
            Err(_) => false,
        });
        if std::process::id() == 1 {
            self.reap_orphans();
        }
    }

    /// What threads of this process wait for is left to them; what is behind it
    /// follows with the next child that ends.
    fn reap_orphans(&mut self) {
        while let Some(ended) = ended_child().filter(|pid| !program::is_waited_for(pid.as_raw_pid())) {
            let Ok(Some((pid, status))) = waitpid(Some(ended), WaitOptions::NOHANG) else { return };
            let child = self.children.iter().position(|(_, child)| i32::try_from(child.id()) == Ok(pid.as_raw_pid()));
            if let Some((id, _)) = child.map(|index| self.children.swap_remove(index)) {
                self.exits.insert(id, ExitStatus::from_raw(status.as_raw()));
            }
        }
    }
}

/// A child that has ended, left to be reaped.
fn ended_child() -> Option<Pid> {
    // SAFETY: zeros are a siginfo_t, and waitid(2) fills it.
    let (found, pid) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &raw mut info, options), info.si_pid())
    };
    // 0: there is none.
    Pid::from_raw(pid).filter(|_| found == 0)
}
