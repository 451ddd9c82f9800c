//! Runs llama-server for what it says about itself, and ends it where it says
//! nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::BinaryProblem;
use crate::inherited::is_inherited;
use crate::program::{self, Limits, Output, ProgramError};

/// How long `--help` and `--version` may take: they take 12 ms, from a cold
/// network file system seconds. The help is 56 KB.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), output: 1 << 20 };

/// The environment to run llama-server in, without what a definition adds.
fn environment() -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<_, _> = std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    // Else an abort starts gdb, which takes half a second.
    environment.insert("GGML_NO_BACKTRACE".into(), "1".into());
    environment
}

/// Runs `command` (the llama-server at `path`, with variables to add) to its
/// end.
///
/// # Errors
/// It does not start, or does not end in time.
pub(super) fn run(path: &Path, command: Command) -> Result<Output, BinaryProblem> {
    run_within(path, command, LIMITS.time)
}

/// [`run`] with another deadline.
pub(super) fn run_within(path: &Path, mut command: Command, time: Duration) -> Result<Output, BinaryProblem> {
    let added: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(OsString::from))).collect();
    command.env_clear().envs(environment());
    command.envs(added.into_iter().filter_map(|(name, value)| Some((name, value?))));
    program::run(&mut command, &[], Limits { time, ..LIMITS }).map_err(|problem| {
        let path = path.to_owned();
        match problem {
            ProgramError::Start(error) if error.kind() == io::ErrorKind::NotFound => BinaryProblem::NotFound { path },
            ProgramError::Start(error) => BinaryProblem::NotExecutable { path, why: error.to_string() },
            other => BinaryProblem::Failed { path, why: other.to_string() },
        }
    })
}

/// That it ended as it should not have, with the last thing it said.
pub(super) fn failed(path: &Path, output: &Output) -> BinaryProblem {
    BinaryProblem::Failed { path: path.to_owned(), why: output.complaint() }
}
