//! Runs a program to its end, or to a deadline, and leaves nothing behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::BinaryProblem;
use crate::failpoint::{Point, reach};
use crate::inherited::is_inherited;
use crate::text::printable;

/// How long `--help` and `--version` may take: they take 12 ms, from a cold
/// network file system seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// How much of each output is kept: the help is 56 KB.
const KEPT_BYTES: usize = 1 << 20;

/// What a program left.
pub(super) struct Output {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
}

impl Output {
    /// That it ended as it should not have, with the last thing it said.
    pub fn failed(&self, path: &Path, end: End) -> BinaryProblem {
        let ended = match end {
            End::Code(code) => format!("ended with exit code {code}"),
            End::Signal(signal) => format!("was killed by signal {signal}"),
        };
        let said = String::from_utf8_lossy(&self.stderr);
        let why = match said.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => format!("{ended}: {}", printable(line)),
            None => ended,
        };
        BinaryProblem::Failed { path: path.to_owned(), why }
    }
}

/// The environment to run llama-server in, without what a definition adds.
fn environment() -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<_, _> = std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    // Else an abort starts gdb, which takes half a second.
    environment.insert("GGML_NO_BACKTRACE".into(), "1".into());
    environment
}

/// Runs `command` (the program at `path`, with variables to add) to its end.
///
/// # Errors
/// It does not start, or does not end in time.
pub(super) fn run(path: &Path, command: Command) -> Result<Output, BinaryProblem> {
    run_within(path, command, DEADLINE)
}

/// [`run`] with another deadline.
pub(super) fn run_within(path: &Path, mut command: Command, limit: Duration) -> Result<Output, BinaryProblem> {
    let added: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(OsString::from))).collect();
    command.env_clear().envs(environment());
    command.envs(added.into_iter().filter_map(|(name, value)| Some((name, value?))));
    // A group of its own: whatever it starts ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    reach(Point::ProgramStart);
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BinaryProblem::NotFound { path: path.to_owned() },
        _ => BinaryProblem::NotExecutable { path: path.to_owned(), why: error.to_string() },
    })?;
    reach(Point::ProgramStarted);
    let finished = Running::new(child).finish(Instant::now() + limit);
    reach(Point::ProgramEnded);
    let why = match finished {
        Ok(Some(output)) => return Ok(output),
        Ok(None) => format!("did not end within {} s", limit.as_secs_f32()),
        Err(error) => format!("cannot be watched ({error})"),
    };
    Err(BinaryProblem::Failed { path: path.to_owned(), why })
}

/// A child of ours: killed with its group, and reaped, when dropped.
struct Running {
    child: Child,
    reaped: bool,
}

impl Running {
    fn new(child: Child) -> Self {
        Self { child, reaped: false }
    }

    /// Collects output until the program ends; `None`: it did not by `deadline`.
    fn finish(mut self, deadline: Instant) -> io::Result<Option<Output>> {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let mut stdout = Capture::new(self.child.stdout.take())?;
        let mut stderr = Capture::new(self.child.stderr.take())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            fds.extend(stdout.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            fds.extend(stderr.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            match poll(&mut fds, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ended = !fds[0].revents().is_empty();
            drop(fds);
            // After the end too: what it wrote last is still in the pipe.
            stdout.read()?;
            stderr.read()?;
            if ended {
                let end = end(self.reap()?);
                return Ok(Some(Output { end, stdout: stdout.kept, stderr: stderr.kept }));
            }
        }
    }

    /// Ends the group and reaps the child, in this order: until it is reaped, no
    /// other group can have its number.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        // It fails only when there is nobody left.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _status = self.reap();
        }
    }
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

/// The beginning of what comes out of a pipe.
struct Capture<P> {
    /// `None` once the other end is closed.
    pipe: Option<P>,
    kept: Vec<u8>,
}

impl<P: Read + AsFd> Capture<P> {
    fn new(pipe: Option<P>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, kept: Vec::new() })
    }

    /// Reads what is there, at most one buffer, so that a program that never
    /// stops writing still meets its deadline.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        // As large as a pipe, so that one read takes all a program left in it.
        let mut buffer = [0; 1 << 16];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let room = KEPT_BYTES - self.kept.len();
                self.kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
