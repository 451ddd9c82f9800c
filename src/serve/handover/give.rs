//! The side that gives: a watcher starts its successor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use super::{BEGUN, FIRST, HandoverError, Note, READY, VARIABLE, VERSION};
use crate::serve::gateway::Unfinished;
use crate::serve::server::SocketFile;
use crate::sys::descriptors;

/// How long a successor may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long it may then take until it serves.
const BEGUN_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to read what this process still answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the successor is given.
#[derive(Debug)]
pub struct Gifts {
    /// The watcher's lock.
    pub watch_lock: File,
    /// The listening sockets, and what each is for.
    pub listeners: Vec<(String, OwnedFd)>,
    /// The files of those that herdsman made itself: the last one removes them.
    pub socket_files: Vec<SocketFile>,
    /// Whether the settings named keys at some time.
    pub has_had_keys: bool,
}

/// The herdsman that takes over, ready to begin.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    program: String,
    line: UnixStream,
    /// What it knows that this process still answers.
    unfinished: Unfinished,
}

impl Successor {
    /// Starts the program that this process was started from, as it is on disk now,
    /// with the same arguments, and waits until it is ready. Blocks for some 100 ms,
    /// a minute at most.
    ///
    /// # Errors
    /// It cannot be started, ends, or takes too long; then it was ended.
    pub fn start(gifts: Gifts) -> Result<Self, HandoverError> {
        let program = program();
        let shown = program.display().to_string();
        let failed = |cause| HandoverError::Start { program: shown.clone(), cause };
        let (line, theirs) = UnixStream::pair().map_err(failed)?;
        let note = Note {
            version: VERSION,
            from: std::process::id(),
            listeners: gifts.listeners.iter().map(|(what, _)| what.clone()).collect(),
            socket_files: gifts.socket_files,
            has_had_keys: gifts.has_had_keys,
        };
        let given = [OwnedFd::from(theirs), OwnedFd::from(gifts.watch_lock)];
        let given = given.into_iter().chain(gifts.listeners.into_iter().map(|(_, fd)| fd));
        let mappings = given.zip(FIRST..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        command.env(VARIABLE, serde_json::to_string(&note).map_err(|error| failed(error.into()))?);
        // They name this process: without them, the successor may speak for itself.
        command.env_remove("WATCHDOG_PID").env_remove("LISTEN_PID").env_remove("LISTEN_FDS");
        command.fd_mappings(mappings).map_err(|collision| failed(io::Error::other(collision.to_string())))?;
        descriptors::restore_in(&mut command);
        let child = command.spawn().map_err(failed)?;
        // The command holds our copies of what was given: closed here, a successor
        // that ends also ends the line.
        drop(command);
        let mut successor = Self { child, program: shown, line, unfinished: Unfinished::new() };
        match successor.says(READY, READY_WITHIN) {
            Ok(()) => Ok(successor),
            Err(error) => Err(successor.fails(error, READY_WITHIN)),
        }
    }

    /// Returns its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin, and waits until it serves. From then on it owns what it was given.
    /// `unfinished`: what this process still answers. Blocks for some milliseconds, 20 s
    /// at most.
    ///
    /// # Errors
    /// It has ended, or takes too long; then it was ended.
    pub fn go(mut self, unfinished: Unfinished) -> Result<Self, HandoverError> {
        self.unfinished = unfinished;
        let begun = self.line.set_write_timeout(Some(PATIENCE)).and_then(|()| self.send());
        match begun.and_then(|()| self.says(BEGUN, BEGUN_WITHIN)) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.fails(error, BEGUN_WITHIN)),
        }
    }

    /// Lets go: it makes its first pass. `unfinished`: what this process still answers
    /// now.
    pub fn lets_go(&mut self, unfinished: Unfinished) {
        self.unfinished = unfinished;
        // It may be gone by now, or busy.
        let _ = self.send();
    }

    /// Says what this process still answers, if that has changed.
    pub fn still_answers(&mut self, unfinished: Unfinished) {
        if self.unfinished != unfinished {
            self.unfinished = unfinished;
            // The end of this process says the rest.
            let _ = self.send();
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let mut line = serde_json::to_vec(&self.unfinished)?;
        line.push(b'\n');
        self.line.write_all(&line)
    }

    fn says(&mut self, word: u8, within: Duration) -> io::Result<()> {
        let mut said = [0];
        self.line.set_read_timeout(Some(within))?;
        self.line.read_exact(&mut said)?;
        if said == [word] { Ok(()) } else { Err(io::Error::other("it said something else")) }
    }

    /// Ends it. One that has closed its end is about to say why.
    fn fails(mut self, error: io::Error, within: Duration) -> HandoverError {
        let pid = self.child.id();
        let until = Instant::now() + PATIENCE;
        while is_end(&error) && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may be gone already.
        let _ = self.child.kill();
        let cause = failure(error, self.child.wait(), within);
        HandoverError::NotReady { program: self.program, pid, cause }
    }
}

/// Whether a successor has closed its end of the line.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Says why a successor did not say what it was to say.
fn failure(error: io::Error, ended: io::Result<ExitStatus>, within: Duration) -> io::Error {
    match (error.kind(), ended) {
        (_, Ok(status)) if is_end(&error) => io::Error::other(format!("it ended ({status})")),
        // A timeout of a socket.
        (io::ErrorKind::WouldBlock, _) => io::Error::other(format!("it was not ready within {} s", within.as_secs())),
        _ => error,
    }
}

/// The program as it is on disk now, by the name that this process was started with:
/// what the kernel says this process runs may be the version before, by its own path.
fn program() -> PathBuf {
    let named = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let found = if named.components().count() > 1 { Some(named).filter(|path| path.exists()) } else { on_path(&named) };
    found.or_else(|| std::env::current_exe().ok()).unwrap_or_else(|| PathBuf::from("herdsman"))
}

fn on_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}
