//! How many models may have what they need at once: limits, ports and the
//! guard turn decisions about single models into one plan.
//!
//! - A restart needs a restart slot, a start needs a start slot. What is
//!   already under way keeps its slot.
//! - A start waits for the port it needs; two models that exchange their
//!   ports stop together.
//! - Nothing stops for a start that cannot follow in the same pass.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, ActionKind, Plan, Step, Waiting};
use super::decide::{Decision, StartWish, StopWish, Wish};
use super::input::{Input, Question};
use super::reason::Reason;
use super::waiting::WaitFor;
use super::{WaitKind, guard};
use crate::model::{Busy, Change, InstanceId, InstanceRecord, InstanceState, Listener, ModelName, Origin, Timestamp};

/// Turns decisions, in order of name, into a plan.
pub fn schedule(input: &Input<'_>, decisions: Vec<(ModelName, Decision)>) -> Plan {
    let mut plan = Plan { unmanaged: input.records.unmanaged.clone(), ..Plan::default() };
    plan.unmanaged.sort_by_key(|row| row.id);
    plan.guard = guard::check(&decisions, input.desired, input.records, input.limits.max_deletes);
    let mut scheduler = Scheduler::new(input, &decisions, plan.guard.is_some());
    scheduler.permit_restarts(&decisions);
    scheduler.settle_stops(&decisions);
    for (model, mut decision) in decisions {
        plan.findings.append(&mut decision.findings);
        plan.remains.append(&mut decision.remains);
        plan.bookkeeping.append(&mut decision.bookkeeping);
        plan.questions.append(&mut decision.questions);
        let mut waits = std::mem::take(&mut decision.waits);
        let meanwhile = decision.held_back_waits.take();
        let declared = input.desired.is_some_and(|d| d.definitions.contains_key(&model));
        let all = decision.reasons.clone();
        let action = scheduler.action(&model, decision, &mut plan.questions);
        // What only its turn holds back says why it will be done.
        let held_back = scheduler.waits.remove(&model);
        if action.is_none() && held_back.is_some() {
            waits.extend(meanwhile);
        }
        let reasons = if action.is_none() && held_back.is_some() { all.clone() } else { Vec::new() };
        let as_declared = waits.iter().chain(&held_back).all(|w| w.kind() == WaitKind::Note);
        if action.is_none() && declared && as_declared {
            plan.matching += 1;
        }
        let waiting = |(on, reasons)| Waiting { model: model.clone(), on, reasons };
        // And so does what is done once it is resumed.
        let pending = |on: &WaitFor| if matches!(on, WaitFor::Suspended { .. }) { all.clone() } else { Vec::new() };
        plan.waiting.extend(waits.into_iter().map(|on| (pending(&on), on)).map(|(why, on)| waiting((on, why))));
        plan.waiting.extend(held_back.map(|on| waiting((on, reasons))));
        plan.actions.extend(action);
    }
    tell_stuck_ports(&mut plan);
    plan
}

/// A port whose holder does not move itself is not about to be left: nobody
/// should wait for that.
fn tell_stuck_ports(plan: &mut Plan) {
    let mut moving: BTreeSet<ModelName> = plan.actions.iter().map(|action| action.model.clone()).collect();
    loop {
        let moves = |w: &&Waiting| match &w.on {
            WaitFor::PortOf { model, .. } | WaitFor::RestartSlot { model } => moving.contains(model),
            on => on.kind() == WaitKind::Progressing,
        };
        let more: Vec<ModelName> = plan.waiting.iter().filter(moves).map(|w| w.model.clone()).collect();
        let before = moving.len();
        moving.extend(more);
        if moving.len() == before {
            break;
        }
    }
    for waiting in &mut plan.waiting {
        if let WaitFor::PortOf { port, model } = &waiting.on
            && !moving.contains(model)
        {
            waiting.on = WaitFor::Port { port: *port, holder: format!("model {model}") };
        }
    }
}

struct Scheduler<'a> {
    input: &'a Input<'a>,
    guarded: bool,
    /// Who of ours is, or will be, on which port.
    holders: BTreeMap<u16, (InstanceId, ModelName)>,
    /// Lines whose edit failed, and on whom.
    failed: Vec<(Origin, ModelName)>,
    restart_slots: usize,
    restarting: Option<ModelName>,
    start_slots: usize,
    /// Restarts that have their slot.
    permitted: BTreeSet<ModelName>,
    /// Instances that are stopped in this pass.
    stopping: BTreeSet<InstanceId>,
    /// Ports taken by starts of this pass.
    starting: BTreeMap<u16, ModelName>,
    waits: BTreeMap<ModelName, WaitFor>,
}

/// Whether an instance can be stopped now.
enum StopNow {
    Yes,
    /// Requests are in flight: not before this time.
    DrainUntil(Timestamp),
    Draining(Option<usize>, Timestamp),
    Ask,
}

impl<'a> Scheduler<'a> {
    fn new(input: &'a Input<'a>, decisions: &[(ModelName, Decision)], guarded: bool) -> Self {
        let under_way = || decisions.iter().filter(|(_, d)| d.restarting);
        let loading = decisions.iter().filter(|(_, d)| d.loading).count();
        Self {
            input,
            guarded,
            holders: input
                .observed
                .instances
                .iter()
                .filter_map(|i| Some((i.port?, (i.id.clone(), i.model.clone()))))
                .collect(),
            failed: decisions
                .iter()
                .flat_map(|(name, d)| d.failed_origins.iter().map(|origin| (origin.clone(), name.clone())))
                .collect(),
            restart_slots: input.limits.max_restarting.saturating_sub(under_way().count()),
            restarting: under_way().next().map(|(name, _)| name.clone()),
            start_slots: input.limits.parallel.saturating_sub(loading),
            permitted: BTreeSet::new(),
            stopping: BTreeSet::new(),
            starting: BTreeMap::new(),
            waits: BTreeMap::new(),
        }
    }

    /// Gives restart slots away in order of name.
    fn permit_restarts(&mut self, decisions: &[(ModelName, Decision)]) {
        // What is missing comes back before anything else goes; unless it has
        // to wait for its port, for who knows how long.
        for (name, decision) in decisions {
            let Wish::Start(start) = &decision.wish else { continue };
            let free = start.record.port.is_none_or(|port| matches!(self.port_state(port, None), PortState::Free));
            if decision.missing && free {
                self.restart_slots = self.restart_slots.saturating_sub(1);
                self.restarting.get_or_insert_with(|| name.clone());
            }
        }
        // What is under way goes on, with those it exchanges ports with.
        for (name, decision) in decisions {
            if decision.restarting && matches!(decision.wish, Wish::Restart(..)) {
                self.permitted.insert(name.clone());
                self.permit_port_holders(name, decisions);
            }
        }
        for (name, decision) in decisions {
            let Wish::Restart(..) = decision.wish else { continue };
            if self.permitted.contains(name) || !self.can_follow(name, decisions) {
                continue;
            }
            if let Some((origin, model)) = self.failed_sibling(name, &decision.reasons) {
                self.waits.insert(name.clone(), WaitFor::Sibling { model, origin });
            } else if self.restart_slots > 0 {
                self.restart_slots -= 1;
                self.restarting.get_or_insert_with(|| name.clone());
                self.permitted.insert(name.clone());
                self.permit_port_holders(name, decisions);
            } else if let Some(model) = self.restarting.clone() {
                self.waits.insert(name.clone(), WaitFor::RestartSlot { model });
            }
        }
    }

    /// A restart onto a port that another restart leaves takes that one along.
    fn permit_port_holders(&mut self, name: &ModelName, decisions: &[(ModelName, Decision)]) {
        let mut current = name.clone();
        while let Some(next) = self.port_holder_of(&current, decisions) {
            if !self.permitted.insert(next.clone()) {
                return;
            }
            self.waits.remove(&next);
            current = next;
        }
    }

    /// Whether the port a restart needs is free, or will be: a restart that
    /// cannot come takes no slot from those that can.
    fn can_follow(&self, name: &ModelName, decisions: &[(ModelName, Decision)]) -> bool {
        let wish = |name: &ModelName| decisions.iter().find(|(n, _)| n == name).map(|(_, d)| &d.wish);
        let mut passed = BTreeSet::new();
        let mut current = name;
        while let Some(Wish::Restart(_, start)) = wish(current)
            && passed.insert(current)
        {
            let Some(port) = start.record.port else { return true };
            match self.holders.get(&port) {
                None => return !self.is_strangers(port),
                Some((_, holder)) => current = holder,
            }
        }
        passed.contains(current) || matches!(wish(current), Some(Wish::Stop(_) | Wish::Delete(_)))
    }

    /// Who of ours is on the port that the restart of `name` needs. It may be
    /// itself, or one that does not restart, whom a permission does not concern.
    fn port_holder_of(&self, name: &ModelName, decisions: &[(ModelName, Decision)]) -> Option<ModelName> {
        let (_, decision) = decisions.iter().find(|(n, _)| n == name)?;
        let Wish::Restart(_, start) = &decision.wish else { return None };
        let (_, holder) = self.holders.get(&start.record.port?)?;
        Some(holder.clone())
    }

    fn failed_sibling(&self, name: &ModelName, reasons: &[Reason]) -> Option<(Origin, ModelName)> {
        self.failed
            .iter()
            .find(|(origin, model)| {
                model != name && origin.line > 0 && reasons.iter().any(|r| r.origin() == Some(origin))
            })
            .cloned()
    }

    /// Decides which instances are stopped in this pass: those that can be
    /// now, less those whose successor could not take its place.
    fn settle_stops(&mut self, decisions: &[(ModelName, Decision)]) {
        let mut replaced: Vec<(&ModelName, &StopWish, &StartWish)> = Vec::new();
        for (name, decision) in decisions {
            self.stopping.extend(decision.duplicates.iter().map(|d| d.target.id.clone()));
            match &decision.wish {
                Wish::Stop(stop) => self.stop_if_idle(stop),
                Wish::Delete(Some(stop)) if !self.guarded => self.stop_if_idle(stop),
                Wish::Restart(stop, start) if self.permitted.contains(name) => {
                    if matches!(self.stop_now(stop), StopNow::Yes) {
                        if self.start_slots == 0 {
                            self.waits.insert(name.clone(), WaitFor::StartSlot);
                        } else {
                            self.start_slots -= 1;
                            self.stopping.insert(stop.target.id.clone());
                            replaced.push((name, stop, start));
                        }
                    }
                }
                _ => {}
            }
        }
        // Taking one out may take the port from under another: until stable.
        while let Some(at) = replaced.iter().position(|(_, stop, start)| self.blocked_port(stop, start)) {
            let (_, stop, _) = replaced.remove(at);
            self.stopping.remove(&stop.target.id);
            self.start_slots += 1;
        }
    }

    fn stop_if_idle(&mut self, stop: &StopWish) {
        if matches!(self.stop_now(stop), StopNow::Yes) {
            self.stopping.insert(stop.target.id.clone());
        }
    }

    /// Whether a stranger, or one of ours that stays, is on the port this
    /// start needs.
    fn blocked_port(&self, stop: &StopWish, start: &StartWish) -> bool {
        let Some(port) = start.record.port else { return false };
        match self.holders.get(&port) {
            Some((holder, _)) => *holder != stop.target.id && !self.stopping.contains(holder),
            None => self.is_strangers(port),
        }
    }

    fn stop_now(&self, stop: &StopWish) -> StopNow {
        let Some(drain) = stop.drain.filter(|d| !d.is_zero()) else { return StopNow::Yes };
        let deadline = match stop.record.as_ref().map(|r| r.state) {
            Some(InstanceState::Draining { deadline }) if self.input.now >= deadline => return StopNow::Yes,
            Some(InstanceState::Draining { deadline }) => Some(deadline),
            _ => None,
        };
        let busy = match self.input.answers.busy.get(&stop.target.id) {
            None => return StopNow::Ask,
            Some(Busy::No) => return StopNow::Yes,
            Some(Busy::Yes(slots)) => Some(*slots),
            Some(Busy::Unknown) => None,
        };
        match deadline {
            Some(deadline) => StopNow::Draining(busy, deadline),
            None => StopNow::DrainUntil(self.input.now.plus(drain)),
        }
    }

    /// The action of one model, or `None` with what it waits for noted.
    fn action(&mut self, model: &ModelName, decision: Decision, questions: &mut Vec<Question>) -> Option<Action> {
        let Decision { wish, mut reasons, mut changes, accepted, duplicates, .. } = decision;
        changes.extend(accepted);
        let mut steps: Vec<Step> = duplicates.iter().map(|stop| stop_step(stop, true)).collect();
        let kind = match self.own_steps(model, wish, changes, questions) {
            Some((kind, own)) => {
                steps.extend(own);
                kind
            }
            None if steps.is_empty() => return None,
            // A second instance goes, whatever the first has to wait for.
            None => {
                reasons.retain(|reason| matches!(reason, Reason::Duplicate { .. }));
                ActionKind::Stop
            }
        };
        Some(Action { model: model.clone(), kind, reasons, steps })
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
                let start = start.and_then(|start| self.start_step(model, start, None, questions));
                steps.extend(record(changes));
                steps.extend(start);
                ActionKind::Create
            }
            Wish::Start(start) => {
                let start = self.start_step(model, start, None, questions)?;
                steps.extend(record(changes));
                steps.push(start);
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
                if self.stop_steps(model, &stop, changes, &mut steps, questions)? {
                    steps.push(self.start_step(model, start, Some(&stop), questions)?);
                }
                ActionKind::Restart
            }
        };
        Some((kind, steps))
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
                steps.extend((!changes.is_empty()).then_some(Step::Record(changes)));
                steps.push(stop_step(stop, !self.is_recorded(model)));
                Some(true)
            }
            StopNow::DrainUntil(deadline) => {
                let record = stop.record.clone()?;
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

    fn start_step(
        &mut self,
        model: &ModelName,
        start: Box<StartWish>,
        replaces: Option<&StopWish>,
        questions: &mut Vec<Question>,
    ) -> Option<Step> {
        let mut after = Vec::new();
        if let Some(port) = start.record.port {
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
            self.starting.insert(port, model.clone());
        }
        if replaces.is_none() {
            if self.start_slots == 0 {
                self.waits.insert(model.clone(), WaitFor::StartSlot);
                return None;
            }
            self.start_slots -= 1;
        }
        Some(Step::Start {
            launch: Box::new(start.launch),
            record: Box::new(start.record),
            after,
            if_failed: start.if_failed,
        })
    }

    /// Says who is on the port of a restart that waits for nothing else.
    fn wait_for_port(&mut self, model: &ModelName, start: &StartWish, questions: &mut Vec<Question>) {
        let Some(port) = start.record.port.filter(|_| !self.waits.contains_key(model)) else { return };
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

    fn is_strangers(&self, port: u16) -> bool {
        !self.holders.contains_key(&port)
            && matches!(self.input.observed.listeners.get(&port), Some(Listener::Stranger(_)))
    }

    fn port_state(&self, port: u16, replaces: Option<&StopWish>) -> PortState {
        if let Some(model) = self.starting.get(&port) {
            return PortState::Ours(model.clone());
        }
        match (self.holders.get(&port), self.input.observed.listeners.get(&port)) {
            (Some((id, _)), _) if replaces.is_some_and(|stop| stop.target.id == *id) => PortState::Free,
            (Some((id, _)), _) if self.stopping.contains(id) => PortState::After(id.clone()),
            (Some((_, model)), _) => PortState::Ours(model.clone()),
            (None, Some(Listener::Stranger(_))) => PortState::Stranger,
            (None, _) => PortState::Free,
        }
    }
}

/// Who is on a port a start needs.
enum PortState {
    Free,
    /// One of ours that is stopped first.
    After(InstanceId),
    /// One of ours that is not.
    Ours(ModelName),
    Stranger,
}

fn stop_step(stop: &StopWish, duplicate: bool) -> Step {
    Step::Stop { target: stop.target.clone(), record: stop.record.clone().map(Box::new), duplicate }
}
