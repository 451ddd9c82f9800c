//! `watch`: triggers, never decisions.
//!
//! ```text
//!   files  exits  answers  database  signals        a pass asks for
//!     |      |       |        |         |        deadlines, drains, health
//!     +------+-------+--------+---------+                 |
//!                    | Cause                              |
//!                    v                                    v
//!                 Agenda  <---------- look_again ---------+
//!                    | Due: causes                        |
//!                    v                                    |
//!        lock, load, observe, plan, apply, record --------+
//!                                |
//!                             Reporter: a line per decision
//! ```
//!
//! The loop is one thread: it waits ([`Surroundings::wait`]) or it makes a
//! pass, the same as `reconcile` makes. An event only says "look again", so an
//! event that is lost, doubled or late costs time and no correctness: the
//! resync looks at everything.
//!
//! Invariants:
//! - What happens during a pass starts another one.
//! - A failed pass is reported and tried again; it never ends the watcher.
//! - While the definitions cannot be read, or are being changed, passes go on
//!   with the last good ones ([`LastGood`]) and delete nothing.
//! - Ending the watcher touches no server.

pub mod agenda;
pub mod cause;
mod last_good;
pub mod machine;
mod report;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

pub use agenda::Pace;
use agenda::{Agenda, Due};
pub use cause::{Cause, Causes};
pub use last_good::LastGood;
pub use report::Reporter;

use crate::model::{Busy, DesiredState, Health, Instance, ModelName, backoff};
use crate::pass::apply::World;
use crate::pass::{Pass, pass_over};
use crate::plan::{Limits, WaitFor};

/// What the watcher needs besides what a pass needs.
pub trait Surroundings {
    /// The world that passes are made in.
    type World: World<Error: Display>;
    /// Held during a pass.
    type Lock;

    /// The world.
    fn world(&mut self) -> &mut Self::World;

    /// The directory of definitions, for messages.
    fn models_dir(&self) -> &Path;

    /// A time that only goes forward, since some moment.
    fn uptime(&self) -> Duration;

    /// A pass is about to be made: from here on no change of the files may go
    /// unnoticed.
    fn prepare(&mut self, causes: &Causes);

    /// Whether the files are others than those that were last read.
    fn files_changed(&self) -> bool;

    /// Excludes other passes.
    ///
    /// # Errors
    /// Another one goes on for too long.
    fn lock(&mut self) -> Result<Self::Lock, <Self::World as World>::Error>;

    /// A pass was made, or failed; how things stand, in one line.
    fn done(&mut self, pass: Result<&Pass, &<Self::World as World>::Error>, status: String);

    /// Blocks until something happens, `timeout` at most.
    fn wait(&mut self, awaited: &Awaited, timeout: Duration) -> Woken;
}

/// The servers whose changes are worth a look.
#[derive(Clone, Debug, Default)]
pub struct Awaited {
    /// All that live: they may exit.
    pub instances: Vec<Instance>,
    /// Those that are loading: they may also begin to answer.
    pub loading: BTreeSet<ModelName>,
}

/// What ended a wait.
#[derive(Debug, Default)]
pub struct Woken {
    /// What happened.
    pub causes: Vec<Cause>,
    /// The watcher is to end.
    pub stop: bool,
}

/// Runs until it is told to stop.
pub fn run<S: Surroundings>(outside: &mut S, pace: Pace, limits: &Limits) {
    let agenda = Agenda::new(pace, outside.uptime());
    let (reporter, last_good) = (Reporter::default(), LastGood::default());
    Watcher { outside, agenda, limits, reporter, last_good, awaited: Awaited::default(), streak: Streak::default() }
        .run();
}

struct Watcher<'a, S> {
    outside: &'a mut S,
    agenda: Agenda,
    limits: &'a Limits,
    reporter: Reporter,
    last_good: LastGood,
    awaited: Awaited,
    streak: Streak,
}

/// Passes in a row that went alike.
#[derive(Debug, Default)]
struct Streak {
    /// That changed something.
    busy: u32,
    /// That failed.
    failed: u32,
    /// That could not read the definitions.
    unread: u32,
}

/// So many passes in a row may each change something; more of them mean that
/// another program undoes what they do, and they slow down.
const BUSY: u32 = 20;

impl<S: Surroundings> Watcher<'_, S> {
    fn run(&mut self) {
        loop {
            let now = self.outside.uptime();
            if let Some(due) = self.agenda.take(now) {
                self.pass(due);
            }
            let now = self.outside.uptime();
            let woken = self.outside.wait(&self.awaited, self.agenda.next().saturating_sub(now));
            if woken.stop {
                return;
            }
            let now = self.outside.uptime();
            woken.causes.into_iter().for_each(|cause| self.agenda.mark(cause, now));
        }
    }

    fn pass(&mut self, mut due: Due) {
        self.outside.prepare(&due.causes);
        self.notice_files(&mut due);
        let pass = self.make(&due);
        let now = self.outside.uptime();
        self.reporter.definitions(self.last_good.problem(), self.last_good.is_known(), now);
        match &pass {
            Ok(pass) => {
                self.reporter.pass(pass, &due.causes, self.last_good.problem().is_none());
                self.streak.failed = 0;
                self.streak.busy = if pass.outcomes.is_empty() { 0 } else { self.streak.busy + 1 };
                self.awaited = awaited(pass);
                let again = self.reading_again(&due);
                self.agenda.look_again(now, timers(pass, self.streak.busy).chain(again));
            }
            Err(error) => {
                self.reporter.failure(&error.to_string());
                self.streak.failed += 1;
                let after = backoff(self.streak.failed, Duration::from_secs(1), Duration::from_secs(60));
                self.agenda.look_again(now, [(Cause::Failed, after)]);
            }
        }
        let status = match (&pass, self.last_good.problem()) {
            (Err(error), _) => format!("the last pass failed: {error}"),
            (Ok(_), Some(problem)) => problem.to_owned(),
            (Ok(pass), None) => report::summary(pass),
        };
        self.outside.done(pass.as_ref(), status);
    }

    /// A pass for something else may come before the event of a change, in the
    /// middle of it: then that change has its debounce first.
    fn notice_files(&mut self, due: &mut Due) {
        let reads = [Cause::Started, Cause::Hangup, Cause::Files].iter().any(|cause| due.causes.0.contains(cause));
        if !reads && !due.files_restless && self.last_good.is_known() && self.outside.files_changed() {
            due.files_restless = true;
            self.agenda.mark(Cause::Files, self.outside.uptime());
        }
    }

    fn make(&mut self, due: &Due) -> Result<Pass, <S::World as World>::Error> {
        let _lock = self.outside.lock()?;
        let (last_good, dir) = (&mut self.last_good, self.outside.models_dir().to_owned());
        let read = |world: &mut S::World| {
            let reading = (!due.files_restless).then(|| world.load());
            let records = world.records()?;
            Ok((Some(last_good.take_in(reading, &records, &dir)), records))
        };
        pass_over(self.outside.world(), read, self.limits, &due.causes.to_string())
    }

    /// Definitions that could not be read are tried again, soon at first: git
    /// may be at work for some milliseconds.
    fn reading_again(&mut self, due: &Due) -> Option<(Cause, Duration)> {
        if self.last_good.problem().is_none() {
            self.streak.unread = 0;
            return None;
        }
        if !due.files_restless {
            self.streak.unread += 1;
        }
        Some((Cause::Files, backoff(self.streak.unread.max(1), Duration::from_millis(50), Duration::from_secs(1))))
    }
}

fn awaited(pass: &Pass) -> Awaited {
    let loading = pass.plan.waiting.iter().filter(|w| matches!(w.on, WaitFor::Ready { .. }));
    Awaited { instances: pass.observed.instances.clone(), loading: loading.map(|w| w.model.clone()).collect() }
}

/// What the pass asks for: when to look again, and why.
fn timers(pass: &Pass, busy: u32) -> impl Iterator<Item = (Cause, Duration)> {
    /// A deadline that is over already and still waited for.
    const SOONEST: Duration = Duration::from_millis(20);
    /// To be asked takes up to a second where there is no answer.
    const UNPROVEN: Duration = Duration::from_millis(500);
    let waits = || pass.plan.waiting.iter().map(|waiting| &waiting.on);
    let changed = (busy > 0).then(|| {
        let slow_down = backoff(busy.saturating_sub(BUSY), Duration::from_millis(100), Duration::from_secs(30));
        (Cause::Changed, if busy > BUSY { slow_down } else { Duration::ZERO })
    });
    let drains = waits().any(|on| matches!(on, WaitFor::Drain { .. })).then_some((Cause::Draining, Busy::ASKED_EVERY));
    let deadline = waits().filter_map(WaitFor::deadline).min();
    let deadline = deadline.map(|at| (Cause::Deadline, pass.now.until(at).max(SOONEST)));
    let health = health_interval(pass).map(|interval| (Cause::Health, interval));
    let unproven = has_unproven(pass).then_some((Cause::Health, UNPROVEN));
    [changed, drains, deadline, health, unproven].into_iter().flatten()
}

/// Whether a server is waited for that answers and does not say yet what it
/// serves: that it will gives no sign.
fn has_unproven(pass: &Pass) -> bool {
    let answers =
        |pid: i32| pass.observed.instances.iter().any(|live| live.process.pid == pid && live.health == Health::Ready);
    pass.plan.waiting.iter().any(|waiting| match waiting.on {
        WaitFor::Ready { pid, .. } | WaitFor::Answer { pid, .. } => answers(pid),
        _ => false,
    })
}

/// How often to ask servers that are restarted when they fall silent: three
/// times within the shortest time that one may be silent.
fn health_interval(pass: &Pass) -> Option<Duration> {
    let definitions = pass.desired.iter().flat_map(|desired| desired.definitions.values());
    let running = definitions.filter(|definition| pass.records.wanted_state(definition) == DesiredState::Running);
    let shortest = running.filter_map(|definition| definition.ready.unhealthy_after).min()?;
    Some((shortest / 3).max(Duration::from_secs(1)))
}
