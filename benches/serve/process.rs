//! Processes that the benchmark starts, and what they cost.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::process::{getrlimit, kill_process, set_parent_process_death_signal, setrlimit};

use crate::measure::clock::cpu_time;
use crate::support::{Stat, pids};

/// How long a program may take to begin, to answer, or to end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A process; stopped when dropped: SIGTERM, after five seconds SIGKILL.
pub struct Running(Child);

impl Running {
    /// Starts it without output. It gets a SIGTERM if the benchmark is killed.
    ///
    /// # Errors
    /// It cannot be started: says so in words.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: prctl(2) is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?)) };
        let program = command.get_program().display().to_string();
        command.spawn().map(Self).map_err(|error| format!("cannot start {program}: {error}"))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("wait")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(self.pid(), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        // Fails only for a process that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a process, which may be gone.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// `pid` and its children: a program and its workers.
pub fn with_children(pid: u32) -> Vec<u32> {
    let is_child = |child: &i32| Stat::of_living(*child).is_some_and(|stat| u32::try_from(stat.parent) == Ok(pid));
    std::iter::once(pid).chain(pids().filter(is_child).filter_map(|pid| pid.try_into().ok())).collect()
}

/// The CPU time that these have used together.
pub fn cpu(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

/// The resident memory of these, in MB.
///
/// # Errors
/// One is gone.
pub fn memory(pids: &[u32]) -> io::Result<f64> {
    sum(pids, "VmRSS")
}

/// The most memory that these have had since [`forget_peak`], in MB.
///
/// # Errors
/// One is gone.
pub fn peak(pids: &[u32]) -> io::Result<f64> {
    sum(pids, "VmHWM")
}

/// Makes the memory they have now the most they have had.
///
/// # Errors
/// The kernel does not let us.
pub fn forget_peak(pids: &[u32]) -> io::Result<()> {
    pids.iter().try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// The sum of a line of `/proc/PID/status`, in MB.
fn sum(pids: &[u32], name: &str) -> io::Result<f64> {
    let of = |pid: &u32| -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
        let kib: f64 = line.and_then(|kib| kib.trim().parse().ok()).ok_or(io::ErrorKind::NotFound)?;
        Ok(kib * 1024.0 / 1e6)
    };
    pids.iter().map(of).sum()
}

/// Lets this process and those it starts open as many files as the host allows:
/// each stream needs up to three sockets.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("setrlimit");
}
