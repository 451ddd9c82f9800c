//! Runs llama-server to ask it about itself, and kills it if it does not answer.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::BinaryProblem;
use crate::llama::inherited::environment;
use crate::sys::program::{self, Limits, Output, ProgramError};

/// How long `--help` and `--version` may take: they take 12 ms, or seconds from a
/// cold network file system. The help is 56 KB.
pub const PATIENCE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits { time: PATIENCE, grace: Duration::ZERO, output: 1 << 20 };

/// Ends the programs that run on it, and everything they started, when it is
/// pulled: a program that never ends must not outlive the herdsman that asked it.
#[derive(Clone, Debug)]
pub struct Leash(Arc<OwnedFd>);

impl Leash {
    /// Returns a leash that is not pulled.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends everything that runs on it, now and later.
    pub fn pull(&self) {
        // Nobody reads it, so it stays readable.
        let _pulled = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Runs `command` (the llama-server at `path`, with variables to add) to its end,
/// to ask it `question`.
///
/// # Errors
/// It does not start, or does not end in time.
pub(super) fn run(
    path: &Path,
    command: Command,
    question: &'static str,
    leash: Option<&Leash>,
) -> Result<Output, BinaryProblem> {
    run_within(path, command, question, leash, LIMITS.time)
}

/// [`run`] with another deadline.
pub(super) fn run_within(
    path: &Path,
    mut command: Command,
    question: &'static str,
    leash: Option<&Leash>,
    time: Duration,
) -> Result<Output, BinaryProblem> {
    let added: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(OsString::from))).collect();
    command.env_clear().envs(environment());
    command.envs(added.into_iter().filter_map(|(name, value)| Some((name, value?))));
    // SAFETY: prctl(2) is all the closure calls, and it is async-signal-safe.
    unsafe {
        // It must not outlive a herdsman that is killed, either.
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let leash = leash.map(|leash| leash.0.as_fd());
    program::run_until(&mut command, &[], Limits { time, ..LIMITS }, leash).map_err(|problem| {
        let path = path.to_owned();
        match problem {
            ProgramError::Start(error) if error.kind() == io::ErrorKind::NotFound => BinaryProblem::NotFound { path },
            ProgramError::Start(error) => BinaryProblem::NotExecutable { path, why: error.to_string() },
            ProgramError::TooLong(after) => BinaryProblem::Silent { path, question, after },
            other => BinaryProblem::Failed { path, why: other.to_string() },
        }
    })
}

/// Says how it failed, with its last line of output.
pub(super) fn failed(path: &Path, output: &Output) -> BinaryProblem {
    BinaryProblem::Failed { path: path.to_owned(), why: output.complaint() }
}
