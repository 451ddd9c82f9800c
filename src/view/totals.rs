//! How many models are in sync, and the sentence that says so everywhere: after a
//! plan, in the watcher's log, for `systemctl status`.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::text::count;
use crate::model::{ModelName, UnmanagedRow};
use crate::plan::{GuardRefusal, Plan};

/// Of more models than this, the sentence gives the number only.
const NAMED: usize = 5;

/// A plan in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals<'p> {
    /// How many models match their definitions.
    pub matching: usize,
    /// How many models have an override in force, by what it is: `suspended`, `stopped
    /// by hand`, `started by hand`.
    pub by_hand: [(&'static str, usize); 3],
    /// The models that are neither.
    pub out_of_sync: BTreeSet<&'p ModelName>,
    /// The mass-delete guard's refusal.
    pub guard: Option<&'p GuardRefusal>,
    /// Rows of other programs.
    pub unmanaged: &'p [UnmanagedRow],
}

impl<'p> Totals<'p> {
    /// Returns the totals of a plan.
    #[must_use]
    pub fn of(plan: &'p Plan) -> Self {
        Self {
            matching: plan.matching,
            by_hand: plan.by_hand(),
            out_of_sync: plan.not_as_wanted(),
            guard: plan.guard.as_ref(),
            unmanaged: &plan.unmanaged,
        }
    }

    /// Returns the sentence with the names of the models that are out of sync, if
    /// they are few: `2 models match their definitions, 1 does not (yet): chat`.
    #[must_use]
    pub fn with_names(&self) -> String {
        let names: Vec<&str> = self.out_of_sync.iter().map(|name| name.as_str()).collect();
        if names.is_empty() || names.len() > NAMED { self.to_string() } else { format!("{self}: {}", names.join(", ")) }
    }
}

impl Totals<'_> {
    /// Returns how the only model of a plan is: `matches its definition`, `is
    /// stopped by hand`, `does not match its definition (yet)`, `is gone`.
    #[must_use]
    pub fn of_one(&self) -> String {
        match self.by_hand.into_iter().find(|(_, number)| *number > 0) {
            _ if !self.out_of_sync.is_empty() => "does not match its definition (yet)".to_owned(),
            Some((how, _)) => format!("is {how}"),
            None if self.matching > 0 => "matches its definition".to_owned(),
            None => "is gone".to_owned(),
        }
    }
}

/// `12 models match their definitions, 1 is suspended, 2 do not (yet)`, or `1 model
/// is stopped by hand`.
impl fmt::Display for Totals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_hand = self.by_hand.into_iter().filter(|(_, number)| *number > 0).peekable();
        let be = |number: usize| if number == 1 { "is" } else { "are" };
        // Nobody expects a definition to match a model that they stopped.
        let first = by_hand.next_if(|_| self.matching == 0 && self.out_of_sync.is_empty());
        if let Some((how, number)) = first {
            write!(f, "{} {} {how}", count(number, "model"), be(number))?;
        } else {
            let verb = if self.matching == 1 { "matches its definition" } else { "match their definitions" };
            write!(f, "{} {verb}", count(self.matching, "model"))?;
        }
        for (how, number) in by_hand {
            write!(f, ", {number} {} {how}", be(number))?;
        }
        match self.out_of_sync.len() {
            0 => Ok(()),
            1 => f.write_str(", 1 does not (yet)"),
            number => write!(f, ", {number} do not (yet)"),
        }
    }
}
