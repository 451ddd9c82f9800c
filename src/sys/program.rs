//! Runs another program to its end, or to a deadline, and leaves nothing behind:
//! everything it started ends with it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::descriptors;
use super::text::printable;
use crate::sys::failpoint::{Point, reach};

/// Limits on a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest run, from start to end.
    pub time: Duration,
    /// How long it has after that between SIGTERM and SIGKILL, to remove what it would
    /// leave; zero: SIGKILL at once.
    pub grace: Duration,
    /// Bytes kept of each output; the rest is read and dropped.
    pub output: usize,
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Output {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Whether it wrote more than was kept.
    pub is_cut: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for End {
    /// As the end of a sentence that starts with the program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

impl Output {
    /// How it ended, and its last line of output.
    pub fn complaint(&self) -> String {
        let said = String::from_utf8_lossy(&self.stderr);
        match said.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => format!("{}: {}", self.end, printable(line)),
            None => self.end.to_string(),
        }
    }
}

/// Why there is no [`Output`]: the end of a sentence that starts with the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It is missing, or cannot be executed.
    #[error("failed to start: {0}")]
    Start(io::Error),
    /// It was killed.
    #[error("did not finish within {} s", .0.as_secs_f32())]
    TooLong(Duration),
    /// For example, out of descriptors.
    #[error("cannot be watched ({0})")]
    Watch(#[from] io::Error),
}

/// Runs `command` to its end, with `input` on stdin.
///
/// # Errors
/// It fails to start, or does not finish in time.
pub(crate) fn run(command: &mut Command, input: &[u8], limits: Limits) -> Result<Output, ProgramError> {
    run_until(command, input, limits, None)
}

/// [`run`], which also kills the program once `stop` is readable.
///
/// # Errors
/// Those of [`run`]: a program that was stopped did not finish in time.
pub(crate) fn run_until(
    command: &mut Command,
    input: &[u8],
    limits: Limits,
    stop: Option<BorrowedFd<'_>>,
) -> Result<Output, ProgramError> {
    // Its own group, so that everything it starts ends with it.
    command.stdin(stdin(input)?).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    reach(Point::ProgramStart);
    let running = Running::start(command).map_err(ProgramError::Start)?;
    reach(Point::ProgramStarted);
    let finished = running.finish(limits, stop);
    reach(Point::ProgramEnded);
    finished?.ok_or(ProgramError::TooLong(limits.time))
}

/// A file in memory: unlike a pipe, it needs nobody to keep writing.
fn stdin(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// A child of ours: dropping it kills its group and reaps it.
struct Running {
    child: Child,
    reaped: bool,
}

/// Programs that threads of this process wait for, by pid, and how many are
/// starting right now.
static WAITED_FOR: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
static STARTING: AtomicUsize = AtomicUsize::new(0);

/// Whether a dead child is, or may be, a program that a thread of this process
/// waits for: nobody else may reap it.
pub(crate) fn is_waited_for(pid: i32) -> bool {
    // A start may hang in a file system, so this does not wait for it.
    let is_known = |pids: &BTreeSet<u32>| u32::try_from(pid).is_ok_and(|pid| pids.contains(&pid));
    STARTING.load(Ordering::SeqCst) > 0 || is_known(&waited_for())
}

fn waited_for() -> MutexGuard<'static, BTreeSet<u32>> {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        descriptors::restore_in(command);
        STARTING.fetch_add(1, Ordering::SeqCst);
        let child = command.spawn().inspect(|child| {
            waited_for().insert(child.id());
        });
        STARTING.fetch_sub(1, Ordering::SeqCst);
        Ok(Self { child: child?, reaped: false })
    }

    /// Collects output until the program ends; `None`: it did not end in time, or
    /// before `stop`.
    fn finish(mut self, limits: Limits, stop: Option<BorrowedFd<'_>>) -> io::Result<Option<Output>> {
        let deadline = Instant::now() + limits.time;
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let mut stdout = Capture::new(self.child.stdout.take(), limits.output)?;
        let mut stderr = Capture::new(self.child.stderr.take(), limits.output)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.terminate(pidfd.as_fd(), limits.grace)?;
                return Ok(None);
            }
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            fds.extend(stdout.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            fds.extend(stderr.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            let before_stop = fds.len();
            fds.extend(stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
            if !wait(&mut fds, left)? {
                continue;
            }
            let ended = !fds[0].revents().is_empty();
            let stopped = fds.get(before_stop).is_some_and(|stop| !stop.revents().is_empty());
            drop(fds);
            if stopped {
                return Ok(None);
            }
            // After the end too: its last output is still in the pipe.
            stdout.read()?;
            stderr.read()?;
            if ended {
                let end = end(self.reap()?);
                let is_cut = stdout.is_cut || stderr.is_cut;
                return Ok(Some(Output { end, stdout: stdout.kept, stderr: stderr.kept, is_cut }));
            }
        }
    }

    /// Asks the group to end, and gives the child `grace` for it.
    fn terminate(&self, pidfd: BorrowedFd<'_>, grace: Duration) -> io::Result<()> {
        if grace.is_zero() {
            return Ok(());
        }
        // It fails only if nobody is left.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::TERM);
        let until = Instant::now() + grace;
        let left = || until.saturating_duration_since(Instant::now());
        while !left().is_zero() && !wait(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], left())? {}
        Ok(())
    }

    /// Kills the group, then reaps the child: until it is reaped, no other group
    /// can get its number.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        // It fails only if nobody is left.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait();
        waited_for().remove(&self.child.id());
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _status = self.reap();
        }
    }
}

/// Waits until one of `fds` has something, for `time` at most; `false`: none has yet.
fn wait(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<bool> {
    match poll(fds, Some(&Timespec::try_from(time).map_err(io::Error::other)?)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

/// The beginning of a pipe's output.
struct Capture<P> {
    /// `None` once the other end is closed.
    pipe: Option<P>,
    kept: Vec<u8>,
    /// How much is kept, bytes.
    most: usize,
    is_cut: bool,
}

impl<P: Read + AsFd> Capture<P> {
    fn new(pipe: Option<P>, most: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, kept: Vec::new(), most, is_cut: false })
    }

    /// Reads what is there, at most one buffer, so that a program that never stops
    /// writing still meets its deadline.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        // As large as a pipe, so that one read takes everything a program left in
        // it.
        let mut buffer = [0; 1 << 16];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let room = self.most - self.kept.len();
                self.is_cut |= length > room;
                self.kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_may_clean_up_within_its_grace() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let script = r#"trap 'rm "$0"; exit 1' TERM; : >"$0"; sleep 100 & wait"#;
        let left = |grace: u64| {
            let (time, grace) = (Duration::from_millis(500), Duration::from_secs(grace));
            let ended = run(Command::new("sh").args(["-c", script]).arg(&lock), &[], Limits { time, grace, output: 0 });
            assert!(matches!(ended, Err(ProgramError::TooLong(limit)) if limit == time), "{ended:?}");
            lock.exists()
        };
        assert_eq!([left(60), left(0)], [false, true]);
    }
}
