//! What is wanted of a model, and by whom: decided here once, for everybody who
//! shows it.

use crate::model::{DesiredState, Given, Timestamp};
use crate::plan::{WaitFor, Waiting};

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'p> {
    /// What its definition declares or, if it has no valid one, what its record
    /// says it declared last; `None`: neither.
    pub declared: Option<DesiredState>,
    /// The state that somebody wants instead, by hand.
    pub by_hand: Option<(DesiredState, &'p Given)>,
    /// A suspension: herdsman leaves the model alone.
    pub suspended: Option<Suspension<'p>>,
}

/// A suspension in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension<'p> {
    /// Who, when and why.
    pub given: &'p Given,
    /// When it expires; `None`: never.
    pub until: Option<Timestamp>,
}

/// An override in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByHand<'p> {
    /// `suspended`, `stopped`, `started`, or `restart`: one that is still to come.
    pub what: &'static str,
    /// Who, when and why.
    pub given: &'p Given,
    /// When a suspension expires.
    pub until: Option<Timestamp>,
}

impl<'p> Wanted<'p> {
    /// Returns the state that the model should have: set by hand, else declared.
    #[must_use]
    pub fn state(&self) -> Option<DesiredState> {
        self.by_hand.map(|(state, _)| state).or(self.declared)
    }

    /// Takes in what a wait says of what is wanted.
    pub(super) const fn add(&mut self, waiting: &'p Waiting) {
        match &waiting.on {
            WaitFor::Suspended { given, until, .. } => self.suspended = Some(Suspension { given, until: *until }),
            WaitFor::StateByHand { given, state } => self.by_hand = Some((*state, given)),
            _ => {}
        }
    }

    /// Returns the suspension and the state by hand, as far as there are any.
    pub(super) fn all_by_hand(&self) -> impl Iterator<Item = ByHand<'p>> {
        let suspended = self.suspended.map(|is| ByHand { what: "suspended", given: is.given, until: is.until });
        let state =
            self.by_hand.map(|(state, given)| ByHand { what: WaitFor::words_by_hand(state).0, given, until: None });
        suspended.into_iter().chain(state)
    }
}
