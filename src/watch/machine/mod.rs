//! This machine around the watcher: what wakes it, and what it notifies.
//!
//! One wait is one `poll(2)` over everything: a bell that other threads ring
//! (file events, writes to the database, signals), a pidfd of every instance, the
//! kernel's table of mounts. It polls only what sends no events: the sizes of logs
//! and, on file systems without events, the files and the database.

mod bell;
mod files;
mod places;
mod service;
mod signals;
mod surroundings;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use self::bell::{Bell, Ring};
use self::files::Files;
use self::service::Service;
use super::{Cause, Inbox, Woken};
use crate::database::Undelivered;
use crate::definition::Glance;
use crate::host::{Gateway, Host};
use crate::instance::{self, LogLimits, Watched};
use crate::model::Commit;
use crate::notify::courier::Couriers;
use crate::owner::settings::Notify;
use crate::pass::Fleet;
use crate::pass::Pass;
use crate::state::{Lock, Reads, StateDir};

/// How often to check files and database where they send no events.
const POLL: Duration = Duration::from_secs(2);

/// How soon after a write the database is looked at again, and how long the
/// pauses between looks become.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_secs(3);

/// A longer wait is made of several.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest useful interval for polling.
const SHORTEST_POLL: Duration = Duration::from_millis(20);

/// How often the lengths of the logs are looked at.
const LOG_LOOK: Duration = Duration::from_secs(10);

/// The watcher's options from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Look at the files this often instead of waiting for events.
    pub poll: Option<Duration>,
    /// How long a pass waits for another one to end.
    pub lock_timeout: Duration,
    /// How much is kept of servers' logs.
    pub logs: LogLimits,
}

/// Someone who follows the passes of a watcher, without a say in them.
pub trait Observer {
    /// Takes a pass, or why it failed, and how long it took. `looked` is when it had
    /// taken its lock: it has seen everything that others did under theirs before.
    fn passed(&self, pass: Result<&Pass, &str>, looked: Instant, took: Duration);

    /// Takes why the next pass that it is given used the last good definitions.
    fn unread(&self, _why: Option<&str>) {}

    /// Takes how many notifications were not delivered.
    fn undelivered(&self, _undelivered: &Undelivered) {}
}

/// Another herdsman that takes over.
pub trait HandOver {
    /// Starts it without blocking: gives it the watcher's lock, and calls `done` once
    /// it is ready.
    fn start(&self, watch_lock: File, done: Box<dyn FnOnce() + Send>);

    /// Lets it begin, between two passes; returns its process. `None`: it does not, and
    /// this watcher goes on.
    fn go(&self) -> Option<u32>;
}

/// This machine.
pub struct Machine {
    host: Host,
    state: StateDir,
    /// Held for the watcher's life.
    watch_lock: Lock,
    models_dir: PathBuf,
    settings: Settings,
    began: Instant,
    bell: Bell,
    inbox: Inbox,
    /// `None`: polled.
    files: Option<Files>,
    /// The commit that was read last, where definitions are read from Git.
    commit: Option<Commit>,
    /// What the files looked like when last polled since the last pass.
    polled: Option<Glance>,
    /// When to look at the database again after a write to it, and how long to
    /// wait after that.
    database_look: Option<(Instant, Duration)>,
    last_log_look: Instant,
    /// Problems with shortening logs; each is logged once.
    log_problems: BTreeSet<String>,
    /// The table of mounts: its descriptor signals changes.
    mounts: Option<File>,
    watched: Watched,
    service: Service,
    next_tick: Instant,
    /// The notification channels; `None` without notifications.
    couriers: Option<Couriers>,
    observers: Vec<Box<dyn Observer>>,
    /// `None`: SIGUSR2 does nothing.
    hand_over: Option<Box<dyn HandOver>>,
    /// When the running pass began.
    pass_began: Instant,
    /// When it had its lock.
    pass_looked: Instant,
}

impl Machine {
    /// Begins to listen to signals and to watch the files. `watch_lock` is that
    /// of `state`.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub fn new(mut host: Host, state: StateDir, watch_lock: Lock, settings: Settings) -> std::io::Result<Self> {
        host.set_gateway(None);
        let bell = Bell::new()?;
        signals::listen(&bell)?;
        let answered = bell.clone();
        host.on_answer(move || answered.ring(Ring::LlamaServer));
        let commanded = bell.clone();
        let inbox = Inbox::new(move || commanded.ring(Ring::Command));
        let models_dir = host.models_dir();
        let now = Instant::now();
        let mut machine = Self {
            host,
            state,
            watch_lock,
            began: now,
            inbox,
            files: None,
            commit: None,
            polled: None,
            database_look: None,
            last_log_look: now,
            log_problems: BTreeSet::new(),
            // Without it a mount is seen at the next resync.
            mounts: File::open("/proc/self/mountinfo").ok(),
            watched: Watched::default(),
            service: Service::new(),
            next_tick: now,
            couriers: None,
            observers: Vec::new(),
            hand_over: None,
            pass_began: now,
            pass_looked: now,
            bell: bell.clone(),
            models_dir: models_dir.clone(),
            settings,
        };
        if machine.settings.poll.is_none() {
            let revision = machine.host.revision().map(str::to_owned);
            match Files::new(models_dir, revision, &machine.host.database_path(), bell) {
                Ok(files) => machine.files = Some(files),
                Err(why) => machine.fall_back(&why),
            }
        }
        Ok(machine)
    }

    /// Sends notifications about what its passes find.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn telling(mut self, notify: Option<&Notify>) -> std::io::Result<Self> {
        let bell = self.bell.clone();
        let couriers = |notify| Couriers::new(notify, move || bell.ring(Ring::Delivered));
        self.couriers = Some(notify.map_or_else(|| Ok(Couriers::nobody()), couriers)?);
        Ok(self)
    }

    /// Returns what a gateway calls when clients ask for something else than before.
    pub fn demand_bell(&self) -> impl Fn() + Send + Sync + 'static {
        let bell = self.bell.clone();
        move || bell.ring(Ring::Demand)
    }

    /// Makes its passes speak with `gateway`, which serves in this process.
    pub fn set_gateway(&mut self, gateway: impl Gateway + 'static) {
        self.host.set_gateway(Some(Box::new(gateway)));
    }

    /// Adds someone who follows the passes.
    #[must_use]
    pub fn observed_by(mut self, observer: Option<impl Observer + 'static>) -> Self {
        self.observers.extend(observer.map(|observer| Box::new(observer) as Box<dyn Observer>));
        self
    }

    /// Has SIGUSR2 start another herdsman that takes over.
    #[must_use]
    pub fn handing_over(self, hand_over: impl HandOver + 'static) -> Self {
        Self { hand_over: Some(Box::new(hand_over)), ..self }
    }

    /// Writes into the watcher's lock what this process reads: it has taken over.
    ///
    /// # Errors
    /// The lock cannot be written.
    pub fn note(&self, reads: &Reads) -> std::io::Result<()> {
        self.watch_lock.note(reads)
    }

    /// Starts the herdsman that takes over. This one goes on until that is ready.
    fn begin_handover(&mut self) {
        let Some(hand_over) = &self.hand_over else { return };
        if std::process::id() == 1 {
            tracing::error!("not handed over: this is process 1, whose end ends the container; replace the container");
            return;
        }
        let bell = self.bell.clone();
        match self.watch_lock.share() {
            Ok(lock) => hand_over.start(lock, Box::new(move || bell.ring(Ring::Successor))),
            Err(error) => tracing::error!("cannot hand over: {error}; too many open files?"),
        }
    }

    /// Hands out pending notifications, and records the delivered ones.
    fn tell(&mut self) {
        let now = self.host.now();
        if let Some(couriers) = &mut self.couriers {
            match self.host.database_mut() {
                Some(database) => couriers.round(database, &self.state, now),
                // There is none until the next pass.
                None => couriers.rest(),
            }
        }
        if let Some(database) = self.host.database().filter(|_| !self.observers.is_empty()) {
            // An error is one of the next pass, too, which reports it.
            let undelivered = database.undelivered(now);
            undelivered.iter().for_each(|undelivered| self.observers.iter().for_each(|o| o.undelivered(undelivered)));
        }
    }

    /// Logs the commit that is read when it changes.
    fn tell_commit(&mut self) {
        let (Some(revision), Some(commit)) = (self.host.revision(), self.host.read_commit()) else { return };
        if self.commit.as_ref() != Some(commit) {
            tracing::info!(commit = commit.as_str(), "{revision} is at commit {}", commit.short());
            self.commit = Some(commit.clone());
        }
    }

    fn fall_back(&mut self, why: &files::NoEvents) {
        let every = crate::model::text::duration(self.poll());
        tracing::error!("{why}; checking the files every {every} until herdsman restarts");
        self.files = None;
    }

    /// Returns the interval for polling files that send no events.
    fn poll(&self) -> Duration {
        self.settings.poll.unwrap_or(POLL)
    }

    /// Shortens the logs that became too long, unless another herdsman runs a pass:
    /// it may shorten them itself.
    fn limit_logs(&mut self) {
        self.last_log_look = Instant::now();
        let Ok(_lock) = self.state.lock(Duration::ZERO) else { return };
        let problems = instance::limit_logs(&self.state.logs(), &self.settings.logs);
        let problems: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
        problems.difference(&self.log_problems).for_each(|problem| tracing::warn!("{problem}"));
        self.log_problems = problems;
    }

    /// Checks everything that sends no events.
    fn tick(&mut self) -> Vec<Cause> {
        self.service.live();
        self.next_tick = Instant::now() + self.tick_interval();
        let mut causes = Vec::new();
        if self.files.is_none() {
            causes.extend(self.files_changed().then_some(Cause::Files));
            causes.extend(self.others_have_written());
        }
        if self.last_log_look.elapsed() >= LOG_LOOK {
            self.limit_logs();
        }
        causes
    }

    /// Whether the files changed since they were polled last, so that a burst
    /// of changes ends when they rest; or, the first time, since they were read.
    fn files_changed(&mut self) -> bool {
        let now = self.host.glance();
        let changed = match &self.polled {
            Some(before) => *before != now,
            None => !self.host.definitions_are_as_read(),
        };
        self.polled = Some(now);
        changed
    }

    /// Looks whether what was written to the database is a commit of another
    /// program. It is to be seen only some time *after* the write, when SQLite
    /// has synced it; so the look is repeated, ever later.
    fn look_at_database(&mut self) -> Option<Cause> {
        let (_, pause) = self.database_look.take_if(|(at, _)| *at <= Instant::now())?;
        let cause = self.others_have_written();
        if cause.is_none() && pause < LAST_LOOK {
            self.database_look = Some((Instant::now() + pause, pause * 4));
        }
        cause
    }

    fn others_have_written(&self) -> Option<Cause> {
        // An error is one of the next pass, too, which reports it.
        self.host.others_have_written().unwrap_or(true).then_some(Cause::Database)
    }

    /// Returns the time between two checks of what sends no events.
    fn tick_interval(&self) -> Duration {
        let unseen = self.files.is_none().then(|| self.poll().max(SHORTEST_POLL));
        [unseen, self.service.patience()].into_iter().flatten().fold(LOG_LOOK, Duration::min)
    }

    /// What the bell was rung for.
    fn answer(&mut self, woken: &mut Woken) {
        let rings = self.bell.answer();
        for ring in &rings {
            match ring {
                Ring::Files => woken.causes.push(Cause::Files),
                Ring::Database => self.database_look = Some((Instant::now(), FIRST_LOOK)),
                Ring::LlamaServer => woken.causes.push(Cause::LlamaServer),
                Ring::Command => woken.causes.push(Cause::Command),
                Ring::Demand => woken.causes.push(Cause::Demand),
                Ring::Hangup => woken.causes.push(Cause::Hangup),
                Ring::Child => self.host.reap(),
                Ring::Delivered => self.tell(),
                Ring::HandOver => self.begin_handover(),
                // One that may not begin ends when this process does.
                Ring::Successor if rings.contains(&Ring::Stop) => {}
                Ring::Successor => {
                    if let Some(pid) = self.hand_over.as_ref().and_then(|other| other.go()) {
                        // Before that one says anything: the manager would not listen.
                        self.service.succeeded_by(pid);
                        woken.stop = true;
                    }
                }
                Ring::Stop => {
                    woken.stop = true;
                    self.service.stopping();
                }
            }
        }
    }

    fn mounts_changed(&self) -> bool {
        self.files.as_ref().is_some_and(Files::is_elsewhere)
    }

    /// One poll: whatever happened within `timeout`.
    fn wait_once(&mut self, timeout: Duration) -> Woken {
        let mut bells: Vec<instance::Bell<'_>> = vec![(self.bell.as_fd(), PollFlags::IN)];
        bells.extend(self.mounts.as_ref().map(|mounts| (mounts.as_fd(), PollFlags::PRI)));
        let happened = self.host.wait_for(&mut self.watched, &bells, timeout);
        let rung = |index: usize| happened.rung.get(index) == Some(&true);
        let mut woken = Woken::default();
        woken.causes.extend(happened.exited.iter().cloned().map(Cause::Exited));
        woken.causes.extend(happened.answered.iter().cloned().map(Cause::Answered));
        woken.causes.extend(happened.drained.then_some(Cause::Draining));
        woken.causes.extend(happened.blind.then_some(Cause::Blind));
        woken.causes.extend((rung(1) && self.mounts_changed()).then_some(Cause::Files));
        if rung(0) {
            self.answer(&mut woken);
        }
        woken
    }
}
