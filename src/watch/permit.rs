//! What somebody permits the watcher's passes to do, as `reconcile` with limits does:
//! until everything is at rest again.

use std::time::Duration;

use crate::pass::Pass;
use crate::pass::converge::{Patience, Run};
use crate::plan::{Limits, MaxDeletes};

/// The longest time that a permit holds: models may load for ever.
pub const LONGEST: Duration = Duration::from_secs(10 * 60);

/// A permit. What it does not state stays as the watcher was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Who gives it, for the history.
    pub by: String,
    /// Try failed generations and crashed models again, each once.
    pub retry: bool,
    /// How many deletions are allowed.
    pub max_deletes: Option<MaxDeletes>,
    /// Starts at once.
    pub parallel: Option<usize>,
    /// Restarts at once.
    pub max_restarting: Option<usize>,
    /// Restart instances whose llama-server changed on disk.
    pub upgrade_binary: bool,
}

impl Permit {
    fn limits(&self, usual: &Limits) -> Limits {
        Limits {
            retry: self.retry || usual.retry,
            max_deletes: self.max_deletes.or(usual.max_deletes),
            parallel: self.parallel.unwrap_or(usual.parallel),
            max_restarting: self.max_restarting.unwrap_or(usual.max_restarting),
            upgrade_binary: self.upgrade_binary || usual.upgrade_binary,
            ..usual.clone()
        }
    }

    fn permits_the_same(&self, other: &Self) -> bool {
        Self { by: String::new(), ..self.clone() } == Self { by: String::new(), ..other.clone() }
    }
}

/// What became of a permit.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'p> {
    /// A pass was made under it.
    Passed {
        /// The pass.
        pass: &'p Pass,
        /// Whether it was the last one: everything is at rest.
        is_over: bool,
    },
    /// The last pass under it was made after [`LONGEST`], and not everything is at rest.
    OutOfTime(&'p Pass),
    /// A pass failed: the permit is over.
    Failed(&'p str),
    /// Another one with other limits is in force, given by this name.
    Refused(&'p str),
}

/// Hears what becomes of a permit, and returns whether it wants to hear more.
pub type Follower = Box<dyn FnMut(Progress<'_>) -> bool + Send>;

/// The permit in force.
pub(super) struct InForce {
    permit: Permit,
    pub limits: Limits,
    pub run: Run,
    since: Duration,
    followers: Vec<Follower>,
}

impl InForce {
    /// Takes in a permit: it begins to hold, joins the one that permits the same, or is
    /// refused.
    pub fn take_in(now: &mut Option<Self>, permit: Permit, mut follower: Follower, usual: &Limits, since: Duration) {
        match now {
            None => {
                let limits = permit.limits(usual);
                *now = Some(Self { permit, limits, run: Run::default(), since, followers: vec![follower] });
            }
            Some(held) if held.permit.permits_the_same(&permit) => held.followers.push(follower),
            Some(held) => {
                follower(Progress::Refused(&held.permit.by));
            }
        }
    }

    /// Returns what its passes say of their cause.
    pub fn cause(&self, causes: &str) -> String {
        format!("{causes}, reconcile by {}", self.permit.by)
    }

    /// Notes a pass; returns whether the permit is over. A pass that did not read the
    /// files, because they are changing, does not bring everything to rest: the permit
    /// may be for what they say.
    pub fn passed(&mut self, pass: &Pass, has_read: bool, now: Duration) -> bool {
        let is_out_of_time = now.saturating_sub(self.since) >= LONGEST;
        if !has_read && !is_out_of_time {
            return false;
        }
        self.run.note(pass);
        let is_over = has_read && self.run.ends_with(pass, Patience::default(), false);
        self.followers.retain_mut(|follower| match () {
            () if is_out_of_time && !is_over => follower(Progress::OutOfTime(pass)),
            () => follower(Progress::Passed { pass, is_over }),
        });
        is_over || is_out_of_time
    }

    /// Says that a pass failed.
    pub fn failed(mut self, why: &str) {
        self.followers.iter_mut().for_each(|follower| {
            follower(Progress::Failed(why));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_same_permit_joins_and_another_one_is_refused_by_the_name_of_its_giver() {
        let usual = Limits { upgrade_binary: true, ..Limits::default() };
        let (send, refusals) = channel();
        let mut held = None;
        let mut give = |permit: Permit| {
            let send = send.clone();
            let follower: Follower = Box::new(move |progress| {
                assert!(matches!(progress, Progress::Refused(_)));
                send.send(format!("{progress:?}")).is_ok()
            });
            InForce::take_in(&mut held, permit, follower, &usual, Duration::ZERO);
        };
        let permit = |by: &str, max_deletes| Permit { by: by.to_owned(), max_deletes, ..Permit::default() };
        let three = Some(MaxDeletes::Count(3));
        give(permit("ann", three));
        give(permit("ben", three));
        give(permit("eve", None));
        assert_eq!(refusals.try_iter().collect::<Vec<_>>(), ["Refused(\"ann\")"]);
        let held = held.map(|held| (held.followers.len(), held.limits));
        assert_eq!(held, Some((2, Limits { max_deletes: three, ..usual })));
    }
}
