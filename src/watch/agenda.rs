//! When to make the next pass: pure, so that a test covers hours in no time.
//!
//! - Bursts (of file events, or of another program's writes) are debounced: the pass
//!   comes once they have been quiet for the debounce time, or
//!   [`Pace::longest_burst`] after the first event.
//! - Everything else is due at once, or when the last pass said.
//! - A pass in the middle of a burst of file events must not read the files:
//!   [`Due::files_restless`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cause::{Cause, Causes};

/// How often the watcher looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest time between two looks at everything.
    pub resync: Duration,
    /// How long files must have been quiet before they are read.
    pub debounce: Duration,
}

impl Pace {
    /// Files that never rest are read this long after their first change.
    pub const fn longest_burst(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(2);
        if self.debounce.as_nanos() > LONGEST.as_nanos() { self.debounce } else { LONGEST }
    }
}

/// The causes of the next passes, and when they are due. Every time is one of a monotonic clock that the
/// caller reads: a system clock that is set changes nothing.
#[derive(Debug)]
pub struct Agenda {
    pace: Pace,
    /// Due at once.
    marked: BTreeSet<Cause>,
    /// Events that come in bursts: which, and when the first and last came.
    bursts: BTreeMap<Cause, (Duration, Duration)>,
    /// The timers that the last pass set.
    timers: BTreeMap<Cause, Duration>,
    resync: Duration,
}

/// A pass that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Why.
    pub causes: Causes,
    /// The files are changing right now and must not be read.
    pub files_restless: bool,
}

impl Agenda {
    /// Returns an agenda with a first pass due now.
    #[must_use]
    pub fn new(pace: Pace, now: Duration) -> Self {
        let (marked, timers) = (BTreeSet::from([Cause::Started]), BTreeMap::new());
        Self { pace, marked, bursts: BTreeMap::new(), timers, resync: now.saturating_add(pace.resync) }
    }

    /// Something happened.
    pub fn mark(&mut self, cause: Cause, now: Duration) {
        if matches!(cause, Cause::Files | Cause::Database | Cause::Blind) {
            let (_, last) = self.bursts.entry(cause).or_insert((now, now));
            *last = now;
        } else {
            self.marked.insert(cause);
        }
    }

    /// When the next pass is due.
    #[must_use]
    pub fn next(&self) -> Duration {
        if !self.marked.is_empty() {
            return Duration::ZERO;
        }
        let bursts = self.bursts.values().map(|burst| self.end_of(*burst));
        bursts.chain(self.timers.values().copied()).chain([self.resync]).min().unwrap_or_default()
    }

    /// Takes the pass that is due, if any, with its causes.
    pub fn take(&mut self, now: Duration) -> Option<Due> {
        let mut causes = std::mem::take(&mut self.marked);
        let over: Vec<Cause> = self
            .bursts
            .iter()
            .filter(|(_, burst)| self.end_of(**burst) <= now)
            .map(|(cause, _)| cause.clone())
            .collect();
        self.bursts.retain(|cause, _| !over.contains(cause));
        causes.extend(over);
        causes.extend(self.timers.iter().filter(|(_, due)| **due <= now).map(|(cause, _)| cause.clone()));
        self.timers.retain(|_, due| *due > now);
        if self.resync <= now {
            causes.insert(Cause::Resync);
        }
        if causes.is_empty() {
            return None;
        }
        self.resync = now.saturating_add(self.pace.resync);
        Some(Due { causes: Causes(causes), files_restless: self.bursts.contains_key(&Cause::Files) })
    }

    /// Replaces the timers of the pass before: when to look again, and why.
    pub fn look_again(&mut self, now: Duration, timers: impl IntoIterator<Item = (Cause, Duration)>) {
        self.timers.clear();
        for (cause, after) in timers {
            let due = self.timers.entry(cause).or_insert(Duration::MAX);
            *due = (*due).min(now.saturating_add(after));
        }
    }

    fn end_of(&self, (first, last): (Duration, Duration)) -> Duration {
        last.saturating_add(self.pace.debounce).min(first.saturating_add(self.pace.longest_burst()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { resync: Duration::from_secs(30), debounce: Duration::from_millis(200) };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// An agenda whose first pass was made at 0.
    fn agenda() -> Agenda {
        let mut agenda = Agenda::new(PACE, ms(0));
        assert_eq!(agenda.take(ms(0)).map(|due| due.causes.to_string()).as_deref(), Some("watch started"));
        agenda
    }

    /// Runs the clock to `until`; every pass, as `time cause`.
    fn passes(agenda: &mut Agenda, until: Duration) -> Vec<String> {
        let mut passes = Vec::new();
        while agenda.next() <= until {
            let now = agenda.next();
            let due = agenda.take(now).map(|due| due.causes.to_string());
            passes.push(format!("{} {}", now.as_millis(), due.unwrap_or_default()));
        }
        passes
    }

    #[test]
    fn nothing_happens_but_the_resync() {
        assert_eq!(passes(&mut agenda(), ms(100_000)), ["30000 resync", "60000 resync", "90000 resync"]);
    }

    #[test]
    fn a_burst_of_file_events_makes_one_pass_once_it_is_over() {
        let mut agenda = agenda();
        for at in [1000, 1100, 1250] {
            agenda.mark(Cause::Files, ms(at));
            assert_eq!(agenda.take(ms(at)), None, "at {at}");
        }
        assert_eq!(passes(&mut agenda, ms(31_000)), ["1450 files changed"], "the resync counts from that pass");
    }

    #[test]
    fn files_that_never_rest_are_read_two_seconds_after_the_first_event() {
        let mut agenda = agenda();
        let mut seen = Vec::new();
        for at in (0..5000).step_by(100) {
            agenda.mark(Cause::Files, ms(at));
            seen.extend(passes(&mut agenda, ms(at)));
        }
        assert_eq!(seen, ["2000 files changed", "4100 files changed"]);
    }

    #[test]
    fn an_exit_in_the_middle_of_a_burst_is_not_delayed_and_does_not_read_the_files() {
        let mut agenda = agenda();
        agenda.mark(Cause::Files, ms(1000));
        agenda.mark(Cause::Hangup, ms(1050));
        let due = agenda.take(ms(1050));
        assert_eq!(due.map(|due| (due.causes.to_string(), due.files_restless)), Some(("SIGHUP".into(), true)));
        let due = agenda.take(ms(1200));
        assert_eq!(due.map(|due| (due.causes.to_string(), due.files_restless)), Some(("files changed".into(), false)));
    }

    #[test]
    fn writes_of_other_programs_come_in_bursts_too_and_do_not_hold_up_files() {
        let mut agenda = agenda();
        agenda.mark(Cause::Database, ms(1000));
        agenda.mark(Cause::Files, ms(900));
        agenda.mark(Cause::Database, ms(1090));
        assert_eq!(passes(&mut agenda, ms(2000)), ["1100 files changed", "1290 database changed by another process"]);
    }

    #[test]
    fn timers_of_the_last_pass_come_due_and_the_next_pass_replaces_them() {
        let mut agenda = agenda();
        agenda
            .look_again(ms(1000), [(Cause::Deadline, ms(500)), (Cause::Draining, ms(100)), (Cause::Deadline, ms(50))]);
        assert_eq!(passes(&mut agenda, ms(1060)), ["1050 deadline"]);
        agenda.look_again(ms(1060), [(Cause::Health, ms(10))]);
        assert_eq!(passes(&mut agenda, ms(2000)), ["1070 health check"]);
    }

    #[test]
    fn causes_that_come_together_make_one_pass() {
        let mut agenda = agenda();
        agenda.mark(Cause::Hangup, ms(10));
        agenda.mark(Cause::Changed, ms(20));
        assert_eq!(agenda.next(), ms(0), "at once");
        assert_eq!(
            agenda.take(ms(20)).map(|due| due.causes.to_string()).as_deref(),
            Some("SIGHUP, changes made by the last pass")
        );
        assert_eq!(agenda.take(ms(20)), None);
    }

    #[test]
    fn a_long_debounce_is_not_cut_short() {
        let mut agenda = Agenda::new(Pace { debounce: ms(5000), ..PACE }, ms(0));
        agenda.take(ms(0));
        agenda.mark(Cause::Files, ms(0));
        assert_eq!(passes(&mut agenda, ms(10_000)), ["5000 files changed"]);
    }
}
