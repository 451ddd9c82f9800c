//! A `herdsman watch` beside the test.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::{Background, World, free_port};

/// How long a watcher may take for anything, on a machine that does much else
/// besides.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running watcher and its log. Dropping it kills it, as `kill -9` would:
/// its servers run on until their [`World`] ends.
pub struct Watcher {
    process: Background,
    log: PathBuf,
}

/// How a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// How long after it was asked to.
    pub after: Duration,
}

impl World {
    /// Starts `herdsman watch`.
    pub fn watch(&self, arguments: &[&str]) -> Watcher {
        self.watch_by(self.command(), arguments)
    }

    /// Starts `watch` with `herdsman`, which [`World::command`] made, or another
    /// command that becomes it.
    pub fn watch_by(&self, mut herdsman: Command, arguments: &[&str]) -> Watcher {
        let paths = (1..).map(|number| self.path().join(format!("watch-{number}.log")));
        let log = paths.into_iter().find(|path| !path.exists()).unwrap();
        let file = fs::File::create(&log).unwrap();
        herdsman.arg("watch").args(arguments).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Watcher { process: Background::from(herdsman.spawn().unwrap()), log }
    }

    /// Starts `herdsman watch --listen` at a port of its own, waits until it
    /// serves, and returns it with its URL.
    pub fn serve(&self, arguments: &[&str]) -> (Watcher, String) {
        self.serve_by(self.command(), arguments)
    }

    /// As [`World::serve`], with `herdsman` as [`World::watch_by`] takes it.
    pub fn serve_by(&self, herdsman: Command, arguments: &[&str]) -> (Watcher, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let watcher = self.watch_by(herdsman, &[&["--listen", &address], arguments].concat());
        watcher.eventually_says(&format!("serving at http://{address}"));
        (watcher, format!("http://{address}"))
    }
}

impl Watcher {
    /// Its pid.
    pub fn pid(&mut self) -> Pid {
        Pid::from_child(self.process.child())
    }

    /// Everything it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8(fs::read(&self.log).unwrap()).unwrap()
    }

    /// Waits until it has said `text`.
    #[track_caller]
    pub fn eventually_says(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "not said: {text:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that it has not said `text`.
    #[track_caller]
    pub fn has_not_said(&self, text: &str) {
        assert!(!self.log().contains(text), "said: {text:?}");
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        // It has not been waited for: the pid is its own.
        kill_process(self.pid(), signal).unwrap();
    }

    /// Tells it to end (SIGTERM), and waits.
    pub fn stop(self) -> Ended {
        self.end_by(Signal::TERM)
    }

    /// Sends `signal` and waits until it has ended.
    #[track_caller]
    pub fn end_by(mut self, signal: Signal) -> Ended {
        let begun = Instant::now();
        self.signal(signal);
        self.ended(begun)
    }

    /// Waits until it has ended, by itself or by what it was asked at `begun`.
    #[track_caller]
    pub fn ended(&mut self, begun: Instant) -> Ended {
        loop {
            if let Some(status) = self.process.child().try_wait().unwrap() {
                return Ended { code: status.code(), after: begun.elapsed() };
            }
            assert!(begun.elapsed() < PATIENCE, "the watcher goes on");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if thread::panicking() {
            // Panics nowhere: a second one would hide the first.
            let log = fs::read(&self.log).unwrap_or_default();
            eprintln!("the watcher said:\n{}", String::from_utf8_lossy(&log));
        }
    }
}
