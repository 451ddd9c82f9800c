//! Processes, by what `/proc` says of their environment.

use std::time::{Duration, Instant};
use std::{fmt, fs};

use rustix::process::{Pid, Signal, kill_process};

/// A live process.
#[derive(Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// When it started, in ticks after boot: tells it from a later one of the
    /// same pid.
    pub start_ticks: u64,
    /// The pid of its session's leader.
    pub session: i32,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Its environment, as it was at exec.
    pub environment: Vec<String>,
}

/// Without the environment: it may hold secrets, and test output ends in logs.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.pid, self.arguments)
    }
}

impl Process {
    /// The value of a variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    fn read(pid: i32, only_leaders: bool) -> Option<Self> {
        let (start_ticks, session) = stat(pid).filter(|(_, session)| !only_leaders || *session == pid)?;
        let strings = |file: &str| -> Option<Vec<String>> {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            Some(text.split_terminator('\0').map(str::to_owned).collect())
        };
        Some(Self { pid, start_ticks, session, arguments: strings("cmdline")?, environment: strings("environ")? })
    }

    /// Whether it still lives: a zombie does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(start_ticks, _)| start_ticks == self.start_ticks)
    }
}

/// Start time and session of a live process; `None` if it is gone or a zombie.
fn stat(pid: i32) -> Option<(u64, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it do not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some((fields.get(19)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Every live process that is `wanted`, by pid; one that cannot be read (another
/// user's, or just gone) is not.
pub fn processes(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    look(false, wanted)
}

/// As [`processes`], of the leaders of their sessions alone: cheaper by far.
pub fn leaders(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    look(true, wanted)
}

fn look(only_leaders: bool, wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|dir| dir.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<_> = pids.filter_map(|pid| Process::read(pid, only_leaders)).filter(wanted).collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// Stops these and waits until they are gone: SIGTERM, after two seconds
/// SIGKILL. Panics nowhere, as it runs while a test unwinds; `false` if one is
/// still there after ten seconds more.
pub fn stop(processes: &[Process]) -> bool {
    for (signal, patience) in [(Signal::TERM, Duration::from_secs(2)), (Signal::KILL, Duration::from_secs(10))] {
        for process in processes.iter().filter(|process| process.is_alive()) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may be gone by now.
                let _ = kill_process(pid, signal);
            }
        }
        let start = Instant::now();
        while start.elapsed() < patience {
            if !processes.iter().any(Process::is_alive) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    false
}
