//! The herdsmen: a watcher, and passes by hand or cron beside it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Background, World};

/// The options of both. The guard against mass deletion would wait for a
/// person, and there is none; logs are kept small for the disk's sake.
const LIMITS: [&str; 6] = ["--max-deletes", "100%", "--log-max-size", "128KiB", "--log-keep", "1"];

/// A pass by hand waits no longer than that, for the lock and for models.
const PATIENCE: [&str; 4] = ["--lock-timeout", "5s", "--timeout", "20s"];

/// A watcher that has been awake for longer has begun to watch.
const STARTED_AFTER: Duration = Duration::from_secs(5);

/// Whatever `reconcile` may say of itself: 101, a panic, is not among them.
const EXITS: [i32; 7] = [0, 1, 2, 65, 66, 69, 75];

/// A herdsman on its way.
struct Running {
    process: Background,
    what: String,
    /// When it began, later by as long as it was frozen.
    since: Instant,
    killed: bool,
    /// Since when.
    frozen: Option<Instant>,
}

impl Running {
    /// For how long it could work.
    fn awake(&self) -> Duration {
        self.frozen.unwrap_or_else(Instant::now) - self.since
    }

    fn signal(&mut self, signal: Signal) {
        // It has not been waited for: the pid is its own.
        kill_process(Pid::from_child(self.process.child()), signal).unwrap();
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.killed = true;
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.child().try_wait().unwrap()
    }
}

/// All of them.
pub struct Herdsmen {
    watcher: Option<Running>,
    by_hand: Vec<Running>,
    log: PathBuf,
    pub kills: u32,
}

impl Herdsmen {
    pub fn new(world: &World) -> Self {
        Self { watcher: None, by_hand: Vec::new(), log: world.path().join("herdsmen.log"), kills: 0 }
    }

    /// Starts a watcher if there is none.
    pub fn watch(&mut self, world: &World) {
        if self.watcher.is_none() {
            // The resync comes too late to help: every change has its own trigger.
            let watcher = self.start(world, &[&["watch", "--resync", "1h"][..], &LIMITS].concat());
            self.watcher = Some(watcher);
        }
    }

    pub fn has_watcher(&self) -> bool {
        self.watcher.is_some()
    }

    /// The watcher's pid.
    pub fn watcher_pid(&mut self) -> Option<i32> {
        self.watcher.as_mut().map(|watcher| Pid::from_child(watcher.process.child()).as_raw_pid())
    }

    /// Starts a pass by hand: how it was called.
    pub fn reconcile(&mut self, world: &World, rng: &mut Rng) -> String {
        let ways: [&[&str]; 4] = [&[], &["--no-wait"], &["--retry"], &["--parallel", "1"]];
        let run = self.start(world, &[&["reconcile"], ways[rng.usize(..ways.len())], &LIMITS, &PATIENCE].concat());
        let what = run.what.clone();
        self.by_hand.push(run);
        what
    }

    /// Starts a pass by hand that tries again what crashed or failed.
    pub fn retry(&mut self, world: &World) {
        let run = self.start(world, &[&["reconcile", "--retry"], &LIMITS[..], &PATIENCE].concat());
        self.by_hand.push(run);
    }

    /// Kills all of them.
    pub fn end(&mut self) {
        self.watcher = None;
        self.by_hand.clear();
    }

    /// How many passes by hand are on their way.
    pub fn by_hand(&self) -> usize {
        self.by_hand.len()
    }

    /// Kills the watcher; whether there was one.
    pub fn kill_watcher(&mut self) -> bool {
        let Some(mut watcher) = self.watcher.take() else { return false };
        watcher.kill();
        self.kills += 1;
        true
    }

    /// Kills the newest pass by hand; whether it was still running.
    pub fn kill_newest(&mut self) -> bool {
        let Some(run) = self.by_hand.last_mut() else { return false };
        if run.ended().is_some() {
            return false;
        }
        run.kill();
        self.kills += 1;
        true
    }

    /// Stops one of them where it is: which.
    pub fn freeze(&mut self, rng: &mut Rng) -> Option<String> {
        let all = self.watcher.iter_mut().chain(&mut self.by_hand);
        let awake: Vec<_> = all.filter(|one| one.frozen.is_none() && !one.killed).collect();
        let one = rng.choice(awake)?;
        if one.ended().is_some() {
            return None;
        }
        one.signal(Signal::STOP);
        one.frozen = Some(Instant::now());
        Some(one.what.clone())
    }

    /// Lets all of them go on.
    pub fn thaw(&mut self) {
        for one in self.watcher.iter_mut().chain(&mut self.by_hand) {
            let Some(frozen) = one.frozen.take() else { continue };
            one.since += frozen.elapsed();
            if !one.killed && one.ended().is_none() {
                one.signal(Signal::CONT);
            }
        }
    }

    pub fn is_frozen(&self) -> bool {
        self.watcher.iter().chain(&self.by_hand).any(|one| one.frozen.is_some())
    }

    /// Takes leave of those that have ended.
    ///
    /// # Errors
    /// One that was not killed ended as none may. A watcher whose database fails
    /// while it starts may say so and end.
    pub fn look_after(&mut self, storage_failed: bool) -> Result<(), String> {
        let mut wrong = None;
        self.by_hand.retain_mut(|run| {
            let Some(status) = run.ended() else { return true };
            if !run.killed && !status.code().is_some_and(|code| EXITS.contains(&code)) {
                wrong = Some(format!("{} ended: {status}", run.what));
            }
            false
        });
        if let Some(status) = self.watcher.as_mut().and_then(Running::ended) {
            let starts = self.watcher.take().is_some_and(|watcher| watcher.awake() < STARTED_AFTER);
            if !(starts && storage_failed && status.code() == Some(1)) {
                wrong = Some(format!("the watcher ended by itself: {status}"));
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// The passes by hand that have taken longer than any may.
    pub fn late(&self) -> Option<&str> {
        const MOST: Duration = Duration::from_secs(60);
        self.by_hand.iter().find(|run| run.awake() > MOST).map(|run| &*run.what)
    }

    /// What they said since [`Herdsmen::forget_log`], as far as it was kept.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn forget_log(&self) {
        // Everyone appends: the next line is at the new beginning.
        File::create(&self.log).unwrap();
    }

    fn start(&self, world: &World, arguments: &[&str]) -> Running {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = world.command();
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let (process, what) = (Background::from(command.spawn().unwrap()), arguments.join(" "));
        Running { process, what, since: Instant::now(), killed: false, frozen: None }
    }
}
