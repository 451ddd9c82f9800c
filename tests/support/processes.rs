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

    /// The live process of this pid.
    pub fn read(pid: i32) -> Option<Self> {
        let Stat { start_ticks, session, .. } = Stat::of_living(pid)?;
        let strings = |file: &str| -> Option<Vec<String>> {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            Some(text.split_terminator('\0').map(str::to_owned).collect())
        };
        // What of a program is there last while it is executed: then all of it is.
        let environment = strings("environ")?;
        Some(Self { pid, start_ticks, session, arguments: strings("cmdline")?, environment })
    }

    /// Whether it still lives: a zombie does not.
    pub fn is_alive(&self) -> bool {
        Stat::of_living(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks)
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug)]
pub struct Stat {
    /// The program's name, shortened.
    pub name: String,
    /// `R`, `S`, `T`, `Z`, …
    pub state: char,
    /// The pid of its parent.
    pub parent: i32,
    /// The pid of its session's leader.
    pub session: i32,
    /// When it started, in ticks after boot.
    pub start_ticks: u64,
}

impl Stat {
    /// That of `pid`; `None` if there is no such process.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; the fields after it do not.
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// The same; `None` also for a zombie.
    pub fn of_living(pid: i32) -> Option<Self> {
        Self::of(pid).filter(|stat| !stat.is_dead())
    }

    /// Whether it has ended, noticed or not.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The pids there are.
pub fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|dir| dir.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether `pid` leads a session, dead or alive.
pub fn leads_session(pid: i32) -> bool {
    // SAFETY: getsid(2) touches no memory. (rustix's cannot express the session
    // 0 of the kernel's own threads.)
    unsafe { libc::getsid(pid) == pid }
}

/// Every live process that is `wanted`, by pid; one that cannot be read (another
/// user's, or just gone) is not.
pub fn processes(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    look(pids(), wanted)
}

/// As [`processes`], of the leaders of their sessions alone: cheaper by far.
pub fn leaders(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    look(pids().filter(|pid| leads_session(*pid)), wanted)
}

fn look(pids: impl Iterator<Item = i32>, wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut found: Vec<_> = pids.filter_map(Process::read).filter(wanted).collect();
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
