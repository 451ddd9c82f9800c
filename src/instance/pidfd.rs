//! A handle on one process that a later process with its pid can never take
//! over.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::process;

/// Another descriptor to wait for beside the processes.
pub type Bell<'f> = (BorrowedFd<'f>, PollFlags);

/// A process that was alive, with the start time asked for, after the
/// descriptor was opened: so the descriptor is that process's.
#[derive(Debug)]
pub(super) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process; `None` when it is gone, a zombie, or another one
    /// has its pid.
    pub fn open(pid: i32, start_ticks: u64) -> io::Result<Option<Self>> {
        let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
        let descriptor = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            // EINVAL: the pid is now that of a thread, not of a process.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(process::is_alive(pid, start_ticks)?.then_some(Self(descriptor)))
    }

    /// Sends a signal; a process that is gone already needs none.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stands for a process that is gone already.
    pub fn gone() -> io::Result<Self> {
        // Readable at once, as the descriptor of a dead process is.
        Ok(Self(rustix::event::eventfd(1, EventfdFlags::CLOEXEC)?))
    }

    /// Waits until one of the processes is gone (all its threads have exited)
    /// or another descriptor is as it is waited for, `timeout` at most. Says
    /// of each process whether it is gone, of each descriptor whether it is.
    pub fn wait_any<'a>(
        processes: impl IntoIterator<Item = &'a Self>,
        others: &[Bell<'_>],
        timeout: Duration,
    ) -> io::Result<(Vec<bool>, Vec<bool>)> {
        let processes = processes.into_iter().map(|process| PollFd::new(&process.0, PollFlags::IN));
        let mut polled: Vec<PollFd<'_>> = processes.collect();
        let number = polled.len();
        polled.extend(others.iter().map(|(descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags)));
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut happened: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let others = happened.split_off(number);
        Ok((happened, others))
    }
}
