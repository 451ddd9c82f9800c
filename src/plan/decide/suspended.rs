//! A suspended model: records what happens to it and does nothing else.

use super::super::input::Input;
use super::super::reason::{Impact, Reason};
use super::super::waiting::WaitFor;
use super::{Decider, Decision, Situation};
use crate::model::{Change, DesiredState, GenerationOutcome, Override, Suspended};

/// Decides nothing for one model, and says so. Facts are recorded: it became
/// ready, it crashed. A drain is called off, so that the next one has all its
/// time again.
pub fn hold_still(input: &Input<'_>, mut situation: Situation<'_>, suspended: &Suspended) -> Decision {
    let mut decision = Decision::default();
    if let Some(settled) = &mut situation.settled {
        // What a stop has left stays, and so does its record.
        decision.bookkeeping.append(&mut settled.changes);
        decision.findings.append(&mut settled.findings);
        decision.questions.append(&mut settled.questions);
    }
    let anchored = suspended.anchored(input.now).map(Override::Suspended);
    decision.bookkeeping.extend(anchored.map(|what| Change::PutOverride { model: situation.name.clone(), what }));
    let unknown = situation.settled.as_ref().is_some_and(|settled| settled.unknown.is_some());
    let state = situation.wanted.as_ref().map(|wanted| match situation.by_hand.state {
        Some(by_hand) => by_hand.state,
        None => wanted.definition.state,
    });
    let removed = is_removed(input, &situation);
    decision.removed_and_suspended = removed;
    decision.reasons = if unknown { Vec::new() } else { edits(&situation, state) };
    decision.waits.push(WaitFor::Suspended {
        given: suspended.given.clone(),
        until: suspended.until,
        removed,
        missing: state == Some(DesiredState::Running) && situation.live.is_empty() && !unknown,
        edited: !decision.reasons.is_empty(),
    });
    Decider { input, s: &situation, d: &mut decision }.note_facts(unknown);
    decision
}

/// Whether only its suspension keeps it from being deleted.
fn is_removed(input: &Input<'_>, situation: &Situation<'_>) -> bool {
    situation.unresolved.is_none()
        && situation.deletions_blocked.is_none()
        && input.desired.is_some()
        && situation.wanted.is_none()
        && situation.settled.is_some()
}

/// Returns the edits that wait until the model is resumed. They cause no questions:
/// herdsman dry-runs no command line of a suspended model.
fn edits(situation: &Situation<'_>, state: Option<DesiredState>) -> Vec<Reason> {
    let (Some(wanted), Some(settled), None) = (&situation.wanted, &situation.settled, situation.unresolved) else {
        return Vec::new();
    };
    let record = &settled.record;
    let kept = situation.live.first();
    let served = kept.map_or(&record.generation.hash, |live| &live.spec);
    let leased = kept.and_then(|live| record.instances.iter().find(|i| i.id == live.id)).map(|recorded| recorded.port);
    let moves = leased.is_some_and(|port| port != wanted.port);
    let of_record = record.generation.hash == wanted.hash;
    // What stands in for a failed generation stays.
    let failed = of_record && matches!(record.generation.outcome, GenerationOutcome::Failed(_));
    let runs = state == Some(DesiredState::Running) || state == Some(DesiredState::OnDemand) && kept.is_some();
    let mut reasons = if runs && (*served != wanted.hash || moves) && !failed {
        wanted.differences_to(served, leased.unwrap_or(wanted.port), record)
    } else if !of_record {
        wanted.differences(record, Impact::Record)
    } else {
        Vec::new()
    };
    if wanted.definition.state != record.state && situation.by_hand.state.is_none() {
        let (state, origin) = (wanted.definition.state, wanted.definition.origin("state"));
        reasons.push(Reason::StateWanted { state, origin });
    }
    let (_, recorded) = wanted.record_changes(record);
    // Another program's doing is no edit.
    reasons.extend(recorded.into_iter().filter(|reason| matches!(reason, Reason::FieldChanged { .. })));
    reasons
}

impl Decider<'_, '_> {
    fn note_facts(&mut self, unknown: bool) {
        let Some(record) = self.record() else { return };
        let live = &self.s.live;
        let draining = record.instances.iter().filter(|recorded| live.iter().any(|live| live.id == recorded.id));
        draining.for_each(|recorded| self.cancel_drain(recorded));
        if let Some(wanted) = self.s.wanted.as_ref().filter(|_| !unknown) {
            self.note_status(wanted, record);
        }
    }
}
