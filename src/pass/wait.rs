//! `wait`: until the machine is in sync with a commit, and stays so for a while.
//!
//! It records nothing. A commit is deployed when the plan for its definitions has
//! nothing left to do.
//!
//! | what is seen | verdict |
//! |---|---|
//! | the commit is not in what is read (`host::deployed`) | not yet |
//! | the plan does something, or waits for something; a model is suspended | not yet |
//! | … for an edit, a person or a llama-server | never |
//! | nothing is to be done, by the same servers for long enough | reached |

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{InstanceId, Severity};
use crate::pass::Pass;
use crate::plan::{WaitFor, WaitKind};

/// What a look means for `herdsman wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In sync for long enough.
    Reached,
    /// In sync, and must stay so for this much longer.
    Settling(Duration),
    /// Not in sync; waiting may help.
    NotYet,
    /// Not in sync until a person does something.
    Never,
}

/// Watches until everything has been in sync for long enough.
#[derive(Debug)]
pub struct Vigil {
    stable_for: Duration,
    /// Since when, and by which servers.
    well: Option<(Duration, BTreeSet<InstanceId>)>,
}

impl Vigil {
    /// Requires everything to be in sync for `stable_for`.
    #[must_use]
    pub fn new(stable_for: Duration) -> Self {
        Self { stable_for, well: None }
    }

    /// What a look at `now`, a time that only goes forward, means.
    pub fn judge(&mut self, seen: &Pass, now: Duration) -> Verdict {
        if is_as_declared(seen) {
            return self.well(seen.observed.instances.iter().map(|i| i.id.clone()).collect(), now);
        }
        self.interrupted();
        if is_for_a_person(seen) { Verdict::Never } else { Verdict::NotYet }
    }

    /// Everything is in sync, with these servers.
    fn well(&mut self, servers: BTreeSet<InstanceId>, now: Duration) -> Verdict {
        let since = match self.well.take() {
            Some((since, before)) if before == servers => since,
            // One that crashed and is back already was not well all the time.
            _ => now,
        };
        self.well = Some((since, servers));
        match self.stable_for.checked_sub(now.saturating_sub(since)) {
            None | Some(Duration::ZERO) => Verdict::Reached,
            Some(left) => Verdict::Settling(left),
        }
    }

    /// Notes that it was not in sync.
    pub fn interrupted(&mut self) {
        self.well = None;
    }
}

fn is_as_declared(seen: &Pass) -> bool {
    // A change of the definition would have ended what was wanted by hand; a
    // suspension holds back even that.
    let is_fine = |on: &WaitFor| on.kind() == WaitKind::Note || matches!(on, WaitFor::StateByHand { .. });
    let nothing_waits = seen.plan.waiting.iter().all(|waiting| is_fine(&waiting.on));
    seen.plan.actions.is_empty() && seen.plan.guard.is_none() && nothing_waits && !has_invalid(seen)
}

/// Whether only a person can bring the model in sync.
fn is_for_a_person(seen: &Pass) -> bool {
    let needs = |on: &WaitFor| {
        let by_kind = matches!(on.kind(), WaitKind::InvalidDefinition | WaitKind::NoBinary | WaitKind::Guard);
        by_kind || matches!(on, WaitFor::Edit { .. })
    };
    has_invalid(seen) || seen.plan.waiting.iter().any(|waiting| needs(&waiting.on))
}

fn has_invalid(seen: &Pass) -> bool {
    let problems = seen.desired.iter().flat_map(|desired| &desired.diagnostics);
    problems.into_iter().any(|problem| problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_once_the_same_servers_last_long_enough() {
        let servers = |ids: &[&str]| ids.iter().map(|id| InstanceId((*id).to_owned())).collect::<BTreeSet<_>>();
        let at = Duration::from_secs;
        let mut vigil = Vigil::new(at(10));
        assert_eq!(vigil.well(servers(&["a", "b"]), at(5)), Verdict::Settling(at(10)));
        assert_eq!(vigil.well(servers(&["a", "b"]), at(14)), Verdict::Settling(at(1)));
        assert_eq!(vigil.well(servers(&["a", "c"]), at(15)), Verdict::Settling(at(10)), "b is gone, c is new");
        vigil.interrupted();
        assert_eq!(vigil.well(servers(&["a", "c"]), at(24)), Verdict::Settling(at(10)));
        assert_eq!(vigil.well(servers(&["a", "c"]), at(34)), Verdict::Reached);
        assert_eq!(Vigil::new(Duration::ZERO).well(servers(&[]), at(0)), Verdict::Reached);
    }
}
