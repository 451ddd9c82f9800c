//! The steps for one model, once it has nothing left to wait for.

use super::super::action::{Action, ActionKind, Step};
use super::super::backoff;
use super::super::decide::{Decision, StartWish, StopWish, Wish};
use super::super::input::Question;
use super::super::launch::{intent, launch};
use super::super::reason::Reason;
use super::super::waiting::WaitFor;
use super::port_holders::PortState;
use super::turns::StopNow;
use super::{Clearance, Scheduler};
use crate::model::{Change, InstanceId, InstanceRecord, InstanceState, ModelName, PortRecord};

impl Scheduler<'_> {
    /// The action of one model, or `None` with what it waits for noted.
    pub(super) fn action(
        &mut self,
        model: &ModelName,
        decision: Decision,
        questions: &mut Vec<Question>,
    ) -> Option<Action> {
        let Decision { wish, mut reasons, mut changes, accepted, duplicates, .. } = decision;
        changes.extend(accepted);
        let mut steps = self.duplicate_steps(model, &duplicates, questions);
        let own = if self.waits_for(&duplicates) { None } else { self.own_steps(model, wish, changes, questions) };
        let kind = match own {
            Some((kind, own)) => {
                steps.extend(own);
                kind
            }
            None if steps.is_empty() => return None,
            // A second instance goes, whatever the first has to wait for.
            None => {
                reasons.retain(|reason| matches!(reason, Reason::Duplicate { .. } | Reason::Leftover { .. }));
                ActionKind::Stop
            }
        };
        Some(Action { model: model.clone(), kind, reasons, steps, provenance: None })
    }

    fn own_steps(
        &mut self,
        model: &ModelName,
        wish: Wish,
        changes: Vec<Change>,
        questions: &mut Vec<Question>,
    ) -> Option<(ActionKind, Vec<Step>)> {
        let mut steps = Vec::new();
        let record = |changes: Vec<Change>| (!changes.is_empty()).then_some(Step::Record(changes));
        let kind = match wish {
            Wish::Nothing => return None,
            Wish::Create(_) | Wish::Delete(_) if self.guarded => {
                self.waits.insert(model.clone(), WaitFor::Guard);
                return None;
            }
            Wish::Record => {
                steps.extend(record(changes));
                ActionKind::Update
            }
            Wish::Adopt => {
                steps.extend(record(changes));
                ActionKind::Adopt
            }
            Wish::Create(start) => {
                // The record is made even while the start has to wait.
                let start = start.and_then(|start| self.start_steps(model, start, None, questions));
                steps.extend(record(changes));
                steps.extend(start.into_iter().flatten());
                ActionKind::Create
            }
            Wish::Start(start) => {
                let start = self.start_steps(model, start, None, questions)?;
                steps.extend(record(changes));
                steps.extend(start);
                ActionKind::Start
            }
            Wish::Stop(stop) => {
                self.stop_steps(model, &stop, changes, &mut steps, questions)?;
                ActionKind::Stop
            }
            Wish::Delete(stop) => {
                let stopped = match &stop {
                    Some(stop) => self.stop_steps(model, stop, changes, &mut steps, questions)?,
                    None => true,
                };
                if stopped && self.is_recorded(model) {
                    steps.push(Step::Record(vec![Change::DeleteModel { model: model.clone() }]));
                }
                ActionKind::Delete
            }
            Wish::Restart(stop, start) => {
                if !self.permitted.contains(model) {
                    self.wait_for_port(model, &start, questions);
                    return None;
                }
                if matches!(self.stop_now(&stop), StopNow::Yes) && !self.stopping.contains(&stop.target.id) {
                    self.wait_for_port(model, &start, questions);
                    return None;
                }
                if self.withdraws(&stop) && self.start_slots == 0 {
                    // Out of rotation, it would serve nobody while it waits for its turn.
                    self.waits.insert(model.clone(), WaitFor::StartSlot);
                    return None;
                }
                if self.stop_steps(model, &stop, changes, &mut steps, questions)? {
                    steps.extend(self.start_steps(model, start, Some(&stop), questions)?);
                }
                ActionKind::Restart
            }
        };
        Some((kind, steps))
    }

    /// The steps that end second instances, and what others left.
    fn duplicate_steps(
        &mut self,
        model: &ModelName,
        duplicates: &[StopWish],
        questions: &mut Vec<Question>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for stop in duplicates {
            if let StopNow::Yes = self.stop_now(stop) {
                steps.extend(self.withdraws(stop).then(|| Step::Withdraw(stop.target.id.clone())));
                steps.push(stop_step(stop, true));
            } else {
                self.stop_steps(model, stop, Vec::new(), &mut steps, questions);
            }
        }
        steps
    }

    fn is_recorded(&self, model: &ModelName) -> bool {
        self.input.records.models.contains_key(model)
    }

    /// Adds the steps of a stop; whether it is one, and not only the
    /// beginning of a drain. `None`: there is nothing to do but wait.
    fn stop_steps(
        &mut self,
        model: &ModelName,
        stop: &StopWish,
        mut changes: Vec<Change>,
        steps: &mut Vec<Step>,
        questions: &mut Vec<Question>,
    ) -> Option<bool> {
        match self.stop_now(stop) {
            StopNow::Yes => {
                steps.extend(self.withdraws(stop).then(|| Step::Withdraw(stop.target.id.clone())));
                steps.extend((!changes.is_empty()).then_some(Step::Record(changes)));
                steps.push(stop_step(stop, stop.failed || !self.is_recorded(model)));
                Some(true)
            }
            StopNow::DrainUntil(deadline) => {
                let record = stop.record.clone()?;
                steps.extend(self.withdraws(stop).then(|| Step::Withdraw(stop.target.id.clone())));
                changes.push(Change::PutInstance(InstanceRecord {
                    state: InstanceState::Draining { deadline },
                    ..record
                }));
                steps.push(Step::Record(changes));
                Some(false)
            }
            StopNow::Draining(busy, deadline) => {
                self.waits.insert(model.clone(), WaitFor::Drain { busy, deadline });
                None
            }
            StopNow::Ask => {
                questions.push(Question::Busy(stop.target.id.clone()));
                None
            }
        }
    }

    /// The start, after the record of its port if it has none yet: without
    /// `--port`, llama-server would listen where it likes.
    fn start_steps(
        &mut self,
        model: &ModelName,
        start: Box<StartWish>,
        replaces: Option<&StopWish>,
        questions: &mut Vec<Question>,
    ) -> Option<Vec<Step>> {
        let leased = self.leased(model, &start);
        if leased.is_some() || start.spec.is_unix_socket() {
            return Some(vec![self.start_step(model, start, leased, replaces, questions)?]);
        }
        let Some(port) = self.spare_port() else {
            self.waits.insert(model.clone(), WaitFor::FreePort { range: self.input.site.port_range });
            return None;
        };
        let start = self.start_step(model, start, Some(port), replaces, questions)?;
        let port = Some(PortRecord { port, proven: false });
        Some(vec![Step::Record(vec![Change::SetPort { model: model.clone(), port }]), start])
    }

    fn start_step(
        &mut self,
        model: &ModelName,
        start: Box<StartWish>,
        leased: Option<u16>,
        replaces: Option<&StopWish>,
        questions: &mut Vec<Question>,
    ) -> Option<Step> {
        let mut after = Vec::new();
        if let Some(port) = leased {
            match self.port_state(port, replaces) {
                PortState::Free => {}
                PortState::After(id) => after.push(id),
                PortState::Ours(other) => {
                    self.waits.insert(model.clone(), WaitFor::PortOf { port, model: other });
                    return None;
                }
                PortState::Stranger => {
                    self.wait_for_stranger(model, port, questions);
                    return None;
                }
            }
        }
        for id in self.cleared(model)? {
            if !after.contains(&id) {
                after.push(id);
            }
        }
        self.starting.extend(leased.map(|port| (port, model.clone())));
        if replaces.is_none() {
            if self.start_slots == 0 {
                self.waits.insert(model.clone(), WaitFor::StartSlot);
                return None;
            }
            self.start_slots -= 1;
        }
        let launch = launch(self.input, model, &start, leased);
        let record = intent(self.input, &launch, &start, leased);
        // It may not even be executed.
        let if_failed = backoff::after_crash(start.crashes, &record, self.input.now);
        Some(Step::Start { launch: Box::new(launch), record: Box::new(record), after, if_failed })
    }

    /// The instances that must be gone before a start, if they all stop in this pass.
    fn cleared(&mut self, model: &ModelName) -> Option<Vec<InstanceId>> {
        let Some(Clearance { after, wait }) = self.clearances.get(model) else { return Some(Vec::new()) };
        match after {
            Some(after) if after.iter().all(|id| self.stopping.contains(id)) => Some(after.clone()),
            _ => {
                self.waits.insert(model.clone(), wait.clone());
                None
            }
        }
    }

    /// Says who is on the port of a restart that waits for nothing else.
    fn wait_for_port(&mut self, model: &ModelName, start: &StartWish, questions: &mut Vec<Question>) {
        let Some(port) = self.leased(model, start).filter(|_| !self.waits.contains_key(model)) else { return };
        if self.is_strangers(port) {
            self.wait_for_stranger(model, port, questions);
        } else if let Some((_, other)) = self.holders.get(&port).filter(|(_, other)| other != model) {
            self.waits.insert(model.clone(), WaitFor::PortOf { port, model: other.clone() });
        }
    }

    fn wait_for_stranger(&mut self, model: &ModelName, port: u16, questions: &mut Vec<Question>) {
        let holder = self.input.answers.holders.get(&port);
        if holder.is_none() {
            questions.push(Question::PortHolder(port));
        }
        let holder = holder.cloned().flatten().unwrap_or_else(|| "another process".to_owned());
        self.waits.insert(model.clone(), WaitFor::Port { port, holder });
    }
}

fn stop_step(stop: &StopWish, keeps_status: bool) -> Step {
    Step::Stop { target: stop.target.clone(), record: stop.record.clone().map(Box::new), keeps_status }
}
