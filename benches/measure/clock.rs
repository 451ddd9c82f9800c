//! Clocks that processes share.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Nanoseconds since some moment, the same for every process
/// (`CLOCK_MONOTONIC`).
pub fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// The CPU time process `pid` has used, all its threads together, also those
/// that have ended; to the nanosecond, unlike `/proc/PID/stat`.
///
/// # Panics
/// There is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    let mut clock = 0;
    // SAFETY: writes one clockid_t.
    let problem = unsafe { libc::clock_getcpuclockid(libc::pid_t::try_from(pid).expect("a pid"), &raw mut clock) };
    assert_eq!(problem, 0, "the CPU clock of process {pid}: {}", std::io::Error::from_raw_os_error(problem));
    read(clock)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "clock_gettime: {}", std::io::Error::last_os_error());
    Duration::new(time.tv_sec.try_into().expect("seconds"), time.tv_nsec.try_into().expect("nanoseconds"))
}

/// A process to wait for.
pub struct Ending(Option<std::os::fd::OwnedFd>);

impl Ending {
    /// Of a process that may have ended a moment ago.
    pub fn of(pid: i32) -> Self {
        Self(pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty()).ok())
    }

    /// When it ended.
    ///
    /// # Panics
    /// It does not end within a minute.
    pub fn wait(self) -> Duration {
        if let Some(pidfd) = self.0 {
            let minute = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&minute)).expect("poll");
            assert_eq!(ended, 1, "a process did not end");
        }
        monotonic()
    }
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
