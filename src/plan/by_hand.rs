//! The overrides in force.
//!
//! A suspended model gets no decision ([`suspended`]). A state set by hand replaces
//! the declared one until the definition changes; an unreadable definition does not
//! count as a change. A client that unloads a model which is not declared running ends an
//! earlier start. A restart names its instance and is over when that is gone.

use super::Input;
use crate::model::{
    Change, Definition, DesiredState, Instance, ModelName, OverrideKind, Overrides, RestartByHand, StateByHand,
    Suspended,
};

/// The suspension in force of a model.
pub fn suspended<'a>(input: &Input<'a>, name: &ModelName) -> Option<&'a Suspended> {
    input.records.overrides.get(name)?.suspended.as_ref().filter(|suspended| !suspended.is_over(input.now))
}

/// What was asked for of one model besides a suspension.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand<'a> {
    all: Option<&'a Overrides>,
    /// The definition says something else by now, or there is nothing left.
    state_is_over: bool,
    /// The state wanted instead of the declared one.
    pub state: Option<&'a StateByHand>,
    /// The instance to replace.
    pub restart: Option<&'a RestartByHand>,
}

impl<'a> ByHand<'a> {
    /// What is in force; `unresolved`: the definition cannot be read.
    pub fn of(input: &Input<'a>, name: &ModelName, definition: Option<&Definition>, unresolved: bool) -> Self {
        let all = input.records.overrides.get(name);
        let given = all.and_then(|all| all.state.as_ref());
        let unloaded = || {
            let unload = input.traffic(name).and_then(|traffic| traffic.unload);
            // For a file that cannot be used, the record says it.
            let recorded = || input.records.models.get(name).filter(|_| unresolved).map(|record| record.state);
            let declared = definition.map(|definition| definition.state).or_else(recorded);
            unload.filter(|_| matches!(declared, Some(DesiredState::OnDemand | DesiredState::Stopped)))
        };
        let is_unloaded = |by_hand: &&StateByHand| {
            by_hand.state == DesiredState::Running && unloaded().is_some_and(|at| at >= by_hand.given.at)
        };
        let state = if unresolved { given } else { all.zip(definition).and_then(|(all, d)| all.state_instead(d)) };
        let is_ended = state.as_ref().is_some_and(is_unloaded);
        let state = state.filter(|_| !is_ended);
        // A recorded model without a definition keeps it until it is deleted.
        let nothing_left = || {
            let readable = input.desired.is_some_and(|desired| desired.unresolved.is_empty());
            readable && definition.is_none() && !input.records.models.contains_key(name)
        };
        let state_is_over = given.is_some() && state.is_none() && (is_ended || definition.is_some() || nothing_left());
        Self { all, state_is_over, state, restart: all.and_then(|all| all.restart.as_ref()) }
    }

    /// What is over, and to be forgotten.
    pub fn over(&self, input: &Input<'_>, name: &ModelName, live: &[&Instance]) -> Vec<Change> {
        let Some(all) = self.all else { return Vec::new() };
        let lives = |request: &RestartByHand| {
            live.iter().any(|i| i.id == request.instance) || input.observed.unknown.contains(&request.instance)
        };
        let over = [
            (OverrideKind::Suspended, all.suspended.as_ref().is_some_and(|suspended| suspended.is_over(input.now))),
            (OverrideKind::State, self.state_is_over),
            (OverrideKind::Restart, all.restart.as_ref().is_some_and(|request| !lives(request))),
        ];
        let over = over.into_iter().filter(|(_, is_over)| *is_over);
        over.map(|(kind, _)| Change::EndOverride { model: name.clone(), kind }).collect()
    }
}
