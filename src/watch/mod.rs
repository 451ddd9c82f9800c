//! `watch`: triggers, never decisions.
//!
//! ```text
//!   files  exits  answers  database  signals  Inbox    a pass asks for
//!     |      |       |        |         |       |   deadlines, drains, health
//!     +------+-------+--------+---------+-------+         |
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
//! The loop is one thread: it either waits ([`Surroundings::wait`]) or makes the same
//! pass as `reconcile`. An event only says "look again", so a lost, doubled or late
//! event costs time but not correctness: the resync looks at everything.
//!
//! The [`Inbox`] is how other threads ask for something: a command by hand, which the next
//! pass records, or a [`permit`], under whose limits passes are made until everything is
//! at rest.
//!
//! Invariants:
//! - Whatever happens during a pass triggers another one.
//! - A failed pass is reported and retried; it never ends the watcher.
//! - While the definitions cannot be read or are changing, passes use the last good
//!   ones ([`LastGood`]) and delete nothing. An edit over the API that its commit may
//!   still refuse counts as changing.
//! - Servers keep running when the watcher ends.

pub mod agenda;
pub mod cause;
mod inbox;
mod last_good;
pub mod machine;
pub mod permit;
mod report;

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

pub use agenda::Pace;
use agenda::{Agenda, Due};
pub use cause::{Cause, Causes};
pub use inbox::{Envelope, Inbox};
pub use last_good::{CHANGING, LastGood};
use permit::InForce;
pub use report::Reporter;

use crate::model::backoff;
use crate::pass::next::{Awaited, Look, looks};
use crate::pass::{Fallible, Fleet, Ledger, Order, Pass, Source, World, by_hand, pass_if};
use crate::plan::Limits;

/// What the watcher needs besides what a pass needs.
pub trait Surroundings {
    /// The world that passes are made in.
    type World: World + Fallible<Error: Display>;
    /// Held during a pass.
    type Lock;

    /// The world.
    fn world(&mut self) -> &mut Self::World;

    /// The directory of definitions, for messages.
    fn models_dir(&self) -> &Path;

    /// Returns a time that only goes forward, counted from some moment.
    fn uptime(&self) -> Duration;

    /// Returns the queue of commands that the next pass takes in.
    fn inbox(&self) -> Inbox;

    /// Prepares for a pass: from now on, no change of the files may go unnoticed.
    fn prepare(&mut self, causes: &Causes);

    /// Returns whether the files differ from those that were last read.
    fn files_changed(&self) -> bool;

    /// Excludes other passes.
    ///
    /// # Errors
    /// Another pass takes too long.
    fn lock(&mut self) -> Result<Self::Lock, <Self::World as Fallible>::Error>;

    /// Takes the result of a pass, and a one-line summary; `unread`: why it used the last
    /// good definitions.
    fn done(&mut self, pass: Result<&Pass, &<Self::World as Fallible>::Error>, unread: Option<&str>, status: String);

    /// Blocks until something happens, `timeout` at most.
    fn wait(&mut self, awaited: &Awaited, timeout: Duration) -> Woken;
}

/// What ended a wait.
#[derive(Debug, Default)]
pub struct Woken {
    /// What happened.
    pub causes: Vec<Cause>,
    /// Whether the watcher must stop.
    pub stop: bool,
}

/// Runs until a wait ends with [`Woken::stop`].
pub fn run<S: Surroundings>(outside: &mut S, pace: Pace, limits: &Limits) {
    let agenda = Agenda::new(pace, outside.uptime());
    let (reporter, last_good) = (Reporter::default(), LastGood::default());
    let inbox = outside.inbox();
    let (awaited, streak) = (Awaited::default(), Streak::default());
    Watcher { outside, agenda, limits, permit: None, reporter, last_good, awaited, streak }.run();
    inbox.close();
}

struct Watcher<'a, S> {
    outside: &'a mut S,
    agenda: Agenda,
    limits: &'a Limits,
    /// What somebody permits beyond them for now.
    permit: Option<InForce>,
    reporter: Reporter,
    last_good: LastGood,
    awaited: Awaited,
    streak: Streak,
}

/// Counts passes in a row with the same result.
#[derive(Debug, Default)]
struct Streak {
    /// Passes that changed something.
    busy: u32,
    /// Passes that failed.
    failed: u32,
    /// Passes that could not read the definitions.
    unread: u32,
}

/// After so many passes in a row that each change something, another program is
/// probably undoing them, and passes slow down.
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
        self.take_permits();
        self.outside.prepare(&due.causes);
        self.notice_files(&mut due);
        let pass = self.make(&mut due);
        let now = self.outside.uptime();
        self.follow_permit(&pass, due.files_restless, now);
        self.reporter.definitions(self.last_good.problem(), self.last_good.is_known(), now);
        match &pass {
            Ok(pass) => {
                self.reporter.pass(pass, &due.causes, self.last_good.problem().is_none());
                self.streak.failed = 0;
                self.streak.busy = if pass.outcomes.is_empty() { 0 } else { self.streak.busy + 1 };
                self.awaited = Awaited::all(pass);
                let again = self.reading_again(&due);
                self.agenda.look_again(now, timers(pass, self.streak.busy).chain(again));
            }
            Err(error) => {
                self.reporter.failure(&error.to_string());
                // Who gave a command hears so now, and not once all is well again.
                self.outside.inbox().refuse();
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
        self.outside.done(pass.as_ref(), self.last_good.problem(), status);
    }

    /// Lets a change of the files settle first, if this pass has another cause and
    /// the file event is still to come.
    fn notice_files(&mut self, due: &mut Due) {
        let reads = [Cause::Started, Cause::Hangup, Cause::Files].iter().any(|cause| due.causes.0.contains(cause));
        if !reads && !due.files_restless && self.last_good.is_known() && self.outside.files_changed() {
            due.files_restless = true;
            self.agenda.mark(Cause::Files, self.outside.uptime());
        }
    }

    /// Makes a pass. If an edit may yet be taken back, the files count as changing.
    fn make(&mut self, due: &mut Due) -> Result<Pass, <S::World as Fallible>::Error> {
        let _lock = self.outside.lock()?;
        let (last_good, dir, inbox) = (&mut self.last_good, self.outside.models_dir().to_owned(), self.outside.inbox());
        let causes = due.causes.to_string();
        let read = |world: &mut S::World| {
            let settled = inbox.reads();
            due.files_restless |= settled.is_none();
            let reading = (!due.files_restless).then(|| world.definitions());
            drop(settled);
            let records = world.records()?;
            let mut read = (Some(last_good.take_in(reading, &records, &dir)), records);
            let mut observed = None;
            while let Some(envelope) = inbox.take() {
                let observed = match &observed {
                    Some(observed) => observed,
                    None => observed.insert(world.observe(&read.1)?),
                };
                // Answered as soon as it is recorded, whatever comes then.
                let answer = by_hand::record(world, &envelope.asked, &read, observed)?;
                envelope.answer(answer);
                read.1 = world.records()?;
            }
            Ok(read)
        };
        let Some(permit) = &self.permit else {
            return pass_if(self.outside.world(), read, Order::new(self.limits, &causes), |_, _| Ok(()));
        };
        let cause = permit.cause(&causes);
        let order = Order { limits: &permit.limits, tried: permit.run.tried(), cause: &cause };
        pass_if(self.outside.world(), read, order, |_, _| Ok(()))
    }

    fn take_permits(&mut self) {
        let now = self.outside.uptime();
        for (permit, follower) in self.outside.inbox().take_permits() {
            InForce::take_in(&mut self.permit, permit, follower, self.limits, now);
        }
    }

    fn follow_permit(
        &mut self,
        pass: &Result<Pass, <S::World as Fallible>::Error>,
        files_restless: bool,
        now: Duration,
    ) {
        let Some(mut permit) = self.permit.take() else { return };
        match pass {
            Ok(pass) => {
                if !permit.passed(pass, !files_restless, now) {
                    self.permit = Some(permit);
                }
            }
            Err(error) => permit.failed(&error.to_string()),
        }
    }

    /// Schedules another attempt to read the definitions, soon at first: git may
    /// hold its lock for some milliseconds only.
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

/// Returns when the pass wants another look, and why. Passes that go on changing
/// something slow down.
fn timers(pass: &Pass, busy: u32) -> impl Iterator<Item = (Cause, Duration)> {
    let slow_down = backoff(busy.saturating_sub(BUSY), Duration::from_millis(100), Duration::from_secs(30));
    looks(pass).filter_map(move |(look, after)| match look {
        Look::Changed => Some((Cause::Changed, if busy > BUSY { slow_down } else { after })),
        Look::Draining => Some((Cause::Draining, after)),
        Look::Deadline => Some((Cause::Deadline, after)),
        Look::Health | Look::Unproven => Some((Cause::Health, after)),
        // Its answer wakes the watcher.
        Look::LlamaServer => None,
    })
}
