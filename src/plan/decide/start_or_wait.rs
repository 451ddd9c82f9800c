//! No instance is alive but one should be: starts it, now or after a delay, or
//! rolls back to the last generation that worked.

use super::super::backoff;
use super::super::reason::{Impact, Reason};
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::wish::{Lease, Wish};
use super::{Decider, Port};
use crate::model::{Change, Crashes, DesiredState, FailureCause, GenerationOutcome, ModelRecord, OnFailure};

impl<'s> Decider<'s, '_> {
    /// No instance, and one is wanted.
    pub(super) fn start(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        // Before any wait of our own: it would be for the wrong thing.
        if self.is_served_elsewhere(wanted) {
            return;
        }
        let edited = wanted.is_edit_of(record);
        if matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            && !edited
            && !self.tries_again(wanted, record)
        {
            self.start_last_ready(wanted, record);
            return;
        }
        if !edited && !self.leaves_port(wanted, record) && self.backs_off(record) {
            return;
        }
        let number = self.next_number(wanted, record);
        let Some(start) = self.start_wanted(wanted, number, Some(record)) else { return };
        self.change_record(wanted, record, Impact::Restart, Port::Recorded);
        self.revive(record);
        self.forget_crashes(wanted, record);
        let is_asked_for = self.state(wanted) == DesiredState::OnDemand;
        if !edited || is_asked_for || record.state != wanted.definition.state || self.s.by_hand.state.is_some() {
            self.d.reasons.push(self.why_not_running(wanted, record));
        }
        self.d.wish = Wish::Start(start);
    }

    /// The newest generation failed: the last ready one takes its place, if
    /// there is one.
    fn start_last_ready(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let rolls_back = wanted.definition.update.on_failure == OnFailure::Rollback;
        let back = record.last_ready.as_ref().filter(|_| rolls_back).and_then(|g| Some((g, g.spec().ok()?)));
        self.wait_for_edit(record, back.as_ref().map(|(g, _)| g.number));
        let Some((generation, spec)) = back else { return };
        if self.backs_off(record) {
            return;
        }
        // One that declared none serves where its model was ready before.
        let own = record.port.map(|port| port.port).or(wanted.port).filter(|_| !spec.is_unix_socket());
        let port = Lease::On(spec.port.or(own));
        if let Some(start) = self.start_spec(wanted, &spec, &generation.hash, port, generation.number, Some(generation))
        {
            if self.state(wanted) == DesiredState::OnDemand {
                self.d.reasons.push(Reason::AskedFor { waiting: self.waiting() });
            }
            if record.crashes.count > 0 {
                // Not the rollback itself, which begins without crashes: what
                // it started has died since.
                let death = self.s.settled.as_ref().and_then(|s| s.death.clone());
                self.d.reasons.push(Reason::ProcessGone { death, crashes: record.crashes.count });
            }
            self.d.reasons.push(Reason::RolledBack { failed: record.generation.number, to: generation.number });
            self.d.wish = Wish::Start(start);
        }
    }

    pub(super) fn wait_for_edit(&mut self, record: &ModelRecord, serving: Option<u32>) {
        if let GenerationOutcome::Failed(death) = &record.generation.outcome {
            let message = death.message.clone();
            self.d.waits.push(WaitFor::Edit { generation: record.generation.number, message, serving });
        }
    }

    /// `--retry`, once for each model.
    fn retries(&self) -> bool {
        self.input.limits.retry && !self.input.tried.contains(self.s.name)
    }

    pub(super) fn tries_again(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) -> bool {
        let binary = self.binary(&wanted.definition.spec);
        let other_binary = match (binary, &record.generation.accepted_by) {
            (Some(Ok(binary)), Some(accepted_by)) => binary.identity != *accepted_by,
            _ => false,
        };
        self.retries() || other_binary
    }

    pub(super) fn next_number(&self, wanted: &Wanted<'_>, record: &ModelRecord) -> u32 {
        record.generation.number + u32::from(record.generation.hash != wanted.hash)
    }

    /// Another generation begins without the crashes of the former one.
    pub(super) fn forget_crashes(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        if record.crashes.count > 0 && wanted.is_edit_of(record) {
            self.d.changes.push(Change::SetCrashes { model: self.s.name.clone(), crashes: Crashes::default() });
        }
    }

    /// `--retry` and a changed llama-server make a failed generation an
    /// untried one.
    pub(super) fn revive(&mut self, record: &ModelRecord) {
        let untouched = !self.d.changes.iter().any(|c| matches!(c, Change::AddGeneration(_)));
        if untouched && matches!(record.generation.outcome, GenerationOutcome::Failed(_)) {
            self.d.reasons.push(Reason::TriedAgain);
            self.d.changes.push(Change::SetGenerationOutcome {
                model: self.s.name.clone(),
                number: record.generation.number,
                outcome: GenerationOutcome::Pending,
            });
        }
    }

    fn why_not_running(&self, wanted: &Wanted<'_>, record: &ModelRecord) -> Reason {
        let settled = self.s.settled.as_ref();
        if self.state(wanted) == DesiredState::OnDemand {
            return Reason::AskedFor { waiting: self.waiting() };
        }
        if record.state != wanted.definition.state && self.s.by_hand.state.is_none() {
            return Reason::StateWanted { state: DesiredState::Running, origin: wanted.definition.origin("state") };
        }
        match settled.and_then(|s| s.death.clone()) {
            _ if settled.is_some_and(|s| s.rebooted) => Reason::Rebooted,
            death if death.is_some() || record.crashes.count > 0 => {
                Reason::ProcessGone { death, crashes: record.crashes.count }
            }
            _ if self.s.by_hand.state.is_some() => self.why(wanted, DesiredState::Running),
            _ => Reason::NotRunning,
        }
    }

    /// Whether it just found its port taken and has another one now: the same
    /// conflict is not to be waited out.
    fn leaves_port(&self, wanted: &Wanted<'_>, record: &ModelRecord) -> bool {
        let death = self.s.settled.as_ref().and_then(|settled| settled.death.as_ref());
        let spec = &wanted.definition.spec;
        let is_allotted = spec.port.is_none() && !spec.is_unix_socket();
        is_allotted
            && record.port.map(|port| port.port) != wanted.port
            && death.is_some_and(|death| death.cause == FailureCause::PortBusy)
    }

    /// Waits out the delay after a crash; whether it does.
    fn backs_off(&mut self, record: &ModelRecord) -> bool {
        let Some(until) = backoff::next_try(record.crashes, self.input.now) else { return false };
        if self.retries() {
            return false;
        }
        let was_ready = record.generation.outcome != GenerationOutcome::Pending;
        let (crashes, message) = (record.crashes.count, self.last_words(record));
        self.d.waits.push(WaitFor::Backoff { until, crashes, was_ready, message });
        true
    }

    /// What is known of the last failure.
    pub(super) fn last_words(&self, record: &ModelRecord) -> String {
        let death = self.s.settled.as_ref().and_then(|s| s.death.as_ref());
        death
            .map(|d| d.message.clone())
            .or_else(|| record.status_message.clone())
            .unwrap_or_else(|| "reason unknown".to_owned())
    }
}
