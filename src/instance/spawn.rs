//! Starts an instance: in its own session, with its own log, and with only a choice
//! of herdsman's variables.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::FdFlags;

use super::marker::Environment;
use super::{Host, HostError, death, environment, log, process};
use crate::definition::SecretError;
use crate::model::{Launch, ProcessId};
use crate::sys::descriptors;
use crate::sys::failpoint::{Point, ahead, reach};

/// An instance was not started: no process of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its log cannot be written.
    #[error("cannot write the log {}: {source}{}", path.display(), if is_full(source) { "; free some space" } else { "" })]
    Log {
        /// The log.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The directory for its download cannot be created.
    #[error("cannot create the directory for {}: {source}{}", path.display(), if is_full(source) { "; free some space" } else { "" })]
    Download {
        /// The weights.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A secret cannot be read.
    #[error("cannot set {variable}: {source}")]
    Secret {
        /// The variable that would carry it.
        variable: String,
        /// What is wrong with it.
        source: SecretError,
    },
    /// The file of the unix socket is in the way.
    #[error("cannot remove the stale unix socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("cannot execute {}: {source}{}", path.display(), hint(path, source))]
    Execute {
        /// The program.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The process could not be identified, and was killed again.
    #[error("started {}, but cannot read its /proc/{pid}: {source}; is the program readable, and not only executable?", path.display())]
    Unidentified {
        /// The program.
        path: PathBuf,
        /// The pid it had.
        pid: u32,
        /// What went wrong.
        source: io::Error,
    },
    /// Nothing can be asked on this machine.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Host {
    /// Starts an instance and returns its identity. It is not ready yet, and may be
    /// dead already: the next look shows.
    ///
    /// # Errors
    /// [`SpawnError`]; then no process is left.
    pub fn spawn(&mut self, launch: &Launch) -> Result<ProcessId, SpawnError> {
        let environment = environment::build(launch, &self.state_id, std::env::vars_os())
            .map_err(|(variable, source)| SpawnError::Secret { variable, source })?;
        if let Some(path) = &launch.socket {
            self.remove_stale_socket(path)?;
        }
        let log_error = |source| SpawnError::Log { path: launch.log.clone(), source };
        let log = open_log(launch).map_err(log_error)?;
        let errors = log.try_clone().map_err(log_error)?;
        if let Some(path) = &launch.download {
            make_parent(path).map_err(|source| SpawnError::Download { path: path.clone(), source })?;
        }

        let execute_error = |source| SpawnError::Execute { path: launch.binary.clone(), source };
        close_on_exec().map_err(execute_error)?;
        let mut command = Command::new(&launch.binary);
        command.args(&launch.args).env_clear().envs(environment).current_dir("/");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        reach(Point::Fork);
        let forked = ahead(Point::Forked);
        let in_child = move || {
            rustix::process::setsid()?;
            forked.reached_in_child();
            Ok(())
        };
        // SAFETY: setsid(2) and kill(2) are async-signal-safe, and nothing is
        // allocated.
        unsafe { command.pre_exec(in_child) };
        descriptors::restore_in(&mut command);
        let child = command.spawn().map_err(execute_error)?;
        reach(Point::Execed);
        let process = self.take_in(launch, child)?;
        reach(Point::Identified);
        Ok(process)
    }

    /// Keeps the child to reap it, once it can be identified.
    fn take_in(&mut self, launch: &Launch, mut child: Child) -> Result<ProcessId, SpawnError> {
        match identify(&child) {
            Ok((pid, start_ticks)) => {
                self.children.push((launch.id.clone(), child));
                Ok(self.identity(pid, start_ticks))
            }
            Err(source) => {
                let pid = child.id();
                // Ours and not reaped yet, so the pid is still its own.
                let ended = child.kill().and_then(|()| child.wait());
                let source = ended.err().unwrap_or(source);
                Err(SpawnError::Unidentified { path: launch.binary.clone(), pid, source })
            }
        }
    }

    /// Removes the file of a unix socket that nobody listens on: llama-server
    /// leaves it behind and cannot start while it is there. Whatever else is at
    /// that path stays.
    pub(super) fn remove_stale_socket(&mut self, path: &Path) -> Result<(), SpawnError> {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if !is_socket || self.http()?.listens(path) {
            return Ok(());
        }
        reach(Point::SocketRemove);
        let removed = std::fs::remove_file(path);
        reach(Point::SocketRemoved);
        match removed {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(SpawnError::Socket { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

/// Pid and start time. The environment is read too, so that the exec is over
/// and the next look sees the instance; one that hides it could never be found
/// again. (A dead one has none, and is ours to reap.)
fn identify(child: &Child) -> io::Result<(i32, u64)> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let stat = process::Stat::of(pid)?.ok_or(ErrorKind::NotFound)?;
    match Environment::of(pid) {
        Err(error) if !process::is_gone(&error) => Err(error),
        _ => Ok((pid, stat.start_ticks)),
    }
}

/// Makes the directory that is to hold `file`, for this user alone.
fn make_parent(file: &Path) -> io::Result<()> {
    let Some(directory) = file.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes the log, which no other instance writes, and heads what follows with a
/// line of our own, which also shows that the disk has room.
fn open_log(launch: &Launch) -> io::Result<File> {
    reach(Point::LogOpen);
    launch.log.parent().map_or(Ok(()), log::make_directory)?;
    let mut log = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&launch.log)?;
    reach(Point::LogOpened);
    let Launch { id, spec, binary, .. } = launch;
    writeln!(log, "{}of spec {spec} starts {}", death::start_of(id), binary.display())?;
    reach(Point::LogHeaded);
    Ok(log)
}

/// Marks every descriptor but the first three close-on-exec: what herdsman
/// inherited itself (the lock of a surrounding `flock`, say) must not live on
/// in a server.
fn close_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if number > 2 {
            // SAFETY: used for this one call. If the descriptor is closed
            // meanwhile the call fails; if it is another one by then, that one
            // is not to be inherited either.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            match rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC) {
                Ok(()) | Err(rustix::io::Errno::BADF) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The next step after a failed exec.
fn hint(path: &Path, error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound if path.exists() => "; the file exists, but the loader or interpreter it needs does not",
        ErrorKind::NotFound => "; set `binary`, --llama-server or HERDSMAN_LLAMA_SERVER",
        ErrorKind::PermissionDenied => "; is it an executable file?",
        ErrorKind::WouldBlock => "; too many processes: see `ulimit -u` and pids.max",
        ErrorKind::ArgumentListTooLong => "; shorten its arguments and environment",
        ErrorKind::ExecutableFileBusy => "; it is still open for writing",
        _ => "",
    }
}
