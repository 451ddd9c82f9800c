//! One run of herdsman to its end, and what a test says about it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use herdsman::instance::newest_log;
use herdsman::model::ModelName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::{World, ask, eventually};

/// How long herdsman may take, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_secs(120);

/// How herdsman ended, and what it said.
pub struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs `command` to its end; one that finds none is killed, so that the
    /// test fails and shows what was said.
    pub fn of(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (ended, end) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // It has not been waited for: the pid is its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        drop(ended);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code, with {self}");
        self
    }

    /// Asserts that the exit code is one of these.
    #[track_caller]
    pub fn exits_with(self, codes: &[i32]) -> Self {
        assert!(codes.contains(&self.code), "exit code, not one of {codes:?}, with {self}");
        self
    }

    /// Asserts that all of `parts` are in what it said.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part) || self.stderr.contains(part), "{part:?} is not in {self}");
        }
        self
    }

    /// Asserts that it said why a server with `World::weights_that_die` died:
    /// what the server said, unless it died before it had.
    #[track_caller]
    pub fn says_why_it_died(self) -> Self {
        let said =
            |text: &str| text.contains("unknown model architecture") || text.contains("a retry may show the cause");
        assert!(said(&self.stdout) || said(&self.stderr), "no cause of death in {self}");
        self
    }

    /// Asserts that `part` is in nothing it said.
    #[track_caller]
    pub fn does_not_say(self, part: &str) -> Self {
        assert!(!self.stdout.contains(part) && !self.stderr.contains(part), "{part:?} is in {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}, in {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}, stdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr)
    }
}

impl World {
    /// Runs herdsman to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command().args(arguments))
    }

    /// `reconcile`, which must converge.
    #[track_caller]
    pub fn converges(&self) -> Ran {
        self.run(&["reconcile"]).exits(0)
    }

    /// Asserts that another pass finds nothing to do.
    #[track_caller]
    pub fn is_settled(&self) {
        self.run(&["reconcile", "--detailed-exitcode"]).exits(0).says(&["No changes."]);
    }

    /// The entry of `model` in `status --format json`.
    #[track_caller]
    pub fn status(&self, model: &str) -> Value {
        let ran = self.run(&["status", "--format", "json"]);
        let report = ran.json();
        let found = report["models"].as_array().unwrap().iter().find(|m| m["name"] == model).cloned();
        found.unwrap_or_else(|| panic!("no {model} in {ran}"))
    }

    /// The port `model` serves on.
    #[track_caller]
    pub fn port(&self, model: &str) -> u16 {
        let status = self.status(model);
        status["port"].as_u64().and_then(|p| p.try_into().ok()).unwrap_or_else(|| panic!("no port in {status}"))
    }

    /// What `model` answers.
    #[track_caller]
    pub fn answer(&self, model: &str) -> String {
        ask(self.port(model))
    }

    /// Sends a signal to the instance of `model`: its pid.
    #[track_caller]
    pub fn signal(&self, model: &str, signal: Signal) -> i32 {
        let pid = self.pid(model);
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        pid
    }

    /// Kills the instance of `model` and waits until nothing of it is left: its
    /// pid.
    #[track_caller]
    pub fn kill(&self, model: &str) -> i32 {
        let pid = self.pid(model);
        // Readable once the last thread has ended; a zombie may still have some.
        let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&process, Signal::KILL).unwrap();
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(ended, 1, "the killed server of {model} is still there");
        pid
    }

    /// The log of the instance of `model` that was started last.
    #[track_caller]
    pub fn log(&self, model: &str) -> PathBuf {
        newest_log(&self.state_dir().join("logs"), &ModelName::parse(model).unwrap()).unwrap()
    }

    /// Waits until the last line of `model`'s log says that it listens: the
    /// server is ready before it has written that, and says no more until asked.
    #[track_caller]
    pub fn logs_that_it_listens(&self, model: &str) {
        let log = self.log(model);
        eventually(&format!("{model} logs that it listens"), Duration::from_secs(30), || {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
            text.ends_with('\n') && text.lines().last().is_some_and(|line| line.contains("listening on"))
        });
    }

    /// The pid of the one instance of `model`.
    #[track_caller]
    pub fn pid(&self, model: &str) -> i32 {
        let instances = self.instances();
        let pids: Vec<i32> = instances.iter().filter(|(_, name)| name == model).map(|(pid, _)| *pid).collect();
        assert_eq!(pids.len(), 1, "instances of {model} in {instances:?}");
        pids[0]
    }

    /// Whether one instance of the model runs and it is another one than `former`:
    /// one look, because between two looks an instance may come or go.
    pub fn is_replaced(&self, model: &str, former: i32) -> bool {
        let instances = self.instances();
        let mut pids = instances.iter().filter(|(_, name)| name == model).map(|(pid, _)| *pid);
        pids.next().is_some_and(|pid| pid != former) && pids.next().is_none()
    }
}
