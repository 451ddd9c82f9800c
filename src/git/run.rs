//! Runs one Git command.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::GitError;
use crate::model::text::printable;
use crate::sys::program::{self, End, Limits, Output, ProgramError};

/// How long a command may take: usually milliseconds, but the status of a large
/// work tree on a cold disk takes seconds.
const TIME: Duration = Duration::from_secs(30);

/// How long a command that writes has to remove its locks once its time is over.
const GRACE: Duration = Duration::from_secs(10);

/// Enough for the names and states of one directory's files, bytes.
pub(super) const OUTPUT: usize = 16 << 20;

/// Limits on a command that only reads.
const READS: Limits = Limits { time: TIME, grace: Duration::ZERO, output: OUTPUT };

/// Runs `git SUBCOMMAND` in `dir`.
pub(super) fn git<'a>(
    dir: &Path,
    subcommand: &'static str,
    args: impl IntoIterator<Item = &'a str>,
) -> Result<Output, GitError> {
    git_reads(dir, subcommand, args, &[], OUTPUT)
}

/// [`git`] with `input` on stdin, keeping at most `most` bytes of output.
pub(super) fn git_reads<'a>(
    dir: &Path,
    subcommand: &'static str,
    args: impl IntoIterator<Item = &'a str>,
    input: &[u8],
    most: usize,
) -> Result<Output, GitError> {
    run(command(dir, subcommand, args), dir, subcommand, input, Limits { output: most, ..READS })
}

/// [`git`] with variables, for a command that writes and may run hooks for so long.
pub(super) fn git_writes<'a>(
    dir: &Path,
    subcommand: &'static str,
    args: impl IntoIterator<Item = &'a str>,
    variables: &[(&str, &str)],
    time: Duration,
) -> Result<Output, GitError> {
    let mut command = command(dir, subcommand, args);
    // Names are not patterns.
    command.env("GIT_LITERAL_PATHSPECS", "1").envs(variables.iter().copied());
    run(command, dir, subcommand, &[], Limits { time, grace: GRACE, output: OUTPUT })
}

fn command<'a>(dir: &Path, subcommand: &'static str, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command.arg("-C").arg(dir).args(["--no-pager", "-c", "core.fsmonitor=false", subcommand]).args(args);
    command
}

fn run(
    mut command: Command,
    dir: &Path,
    subcommand: &'static str,
    input: &[u8],
    limits: Limits,
) -> Result<Output, GitError> {
    let failed = |why: String| GitError::Failed { command: subcommand, dir: dir.to_owned(), why };
    match program::run(&mut command, input, limits) {
        Ok(output) if output.is_cut => Err(failed(format!("wrote more than {} bytes", limits.output))),
        Ok(output) => Ok(output),
        Err(ProgramError::Start(error)) if error.kind() == io::ErrorKind::NotFound => Err(GitError::NotInstalled),
        Err(problem) => Err(failed(problem.to_string())),
    }
}

/// The output of a command that has to succeed.
pub(super) fn stdout(dir: &Path, subcommand: &'static str, output: Output) -> Result<Vec<u8>, GitError> {
    match output.end {
        End::Code(0) => Ok(output.stdout),
        _ => Err(GitError::Failed { command: subcommand, dir: dir.to_owned(), why: output.complaint() }),
    }
}

/// The error for output that herdsman does not understand.
pub(super) fn unexpected(command: &'static str, said: &[u8]) -> GitError {
    let said = printable(&String::from_utf8_lossy(&said[..said.len().min(200)]));
    GitError::Unexpected { command, said }
}
