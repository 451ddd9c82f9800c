//! Counts, and what is said at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use herdsman::sys::failpoint::Point;

use crate::play::{Death, Played};

/// What all plays together showed.
#[derive(Default)]
pub struct Tally {
    /// Where herdsman died.
    covered: BTreeSet<&'static str>,
    /// Deaths of each story.
    kills: BTreeMap<&'static str, usize>,
    /// Plays that were over before the point was reached.
    lived: usize,
    failures: Vec<String>,
    orphans: usize,
    doubles: usize,
    lost: usize,
}

impl Tally {
    /// One play.
    pub fn add(&mut self, death: &Death<'_>, end: Result<Played, String>) {
        let played = match end {
            Ok(played) => played,
            Err(why) => return self.failed(format!("{death}: {why}")),
        };
        if played.died {
            self.covered.insert(death.point.name());
            *self.kills.entry(death.story.name).or_default() += 1;
        } else {
            self.lived += 1;
        }
        self.orphans += played.findings.orphans.len();
        self.doubles += played.findings.doubles.len();
        self.lost += played.findings.lost.len();
        for what in played.findings.all() {
            self.failures.push(format!("{death}: {what}"));
        }
    }

    /// A play that could not be played to its end.
    pub fn failed(&mut self, why: String) {
        self.failures.push(why);
    }

    /// A double that was seen in between.
    pub fn doubled(&mut self, double: String) {
        self.doubles += 1;
        self.failures.push(format!("two instances of a model at once: {double}"));
    }

    /// Panics unless everything is as it has to be; if `whole`, every point was
    /// died at.
    pub fn assert_clean(&self, whole: bool) {
        // Where only the end of a log is kept, it is this that is read.
        assert!(self.failures.is_empty(), "{} failures:\n{}", self.failures.len(), self.failures.join("\n"));
        let missing: Vec<_> = Point::ALL.iter().filter(|point| !self.covered.contains(point.name())).collect();
        assert!(!whole || missing.is_empty(), "no story dies at {missing:?}: add one, or remove the point");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (story, kills) in &self.kills {
            writeln!(f, "{kills:5} kills  {story}")?;
        }
        let (covered, existing) = (self.covered.len(), Point::ALL.len());
        let kills: usize = self.kills.values().sum();
        write!(
            f,
            "points covered {covered} of {existing} ({} %), stories {}, kills {kills} ({} over before), \
             orphans {}, doubles {}, lost rows {}",
            100 * covered / existing,
            self.kills.len(),
            self.lived,
            self.orphans,
            self.doubles,
            self.lost
        )
    }
}
