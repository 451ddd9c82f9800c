//! Whose turn it is: which restarts get a slot, and which instances stop in this
//! pass.

use std::collections::BTreeSet;

use super::super::decide::{Decision, StartWish, StopWish, Wish};
use super::super::reason::Reason;
use super::super::waiting::WaitFor;
use super::Scheduler;
use super::port_holders::PortState;
use crate::model::{Busy, InstanceRecord, InstanceState, ModelName, Origin, Timestamp};

/// Whether an instance can be stopped now.
pub(super) enum StopNow {
    Yes,
    /// Requests are in flight: not before this time.
    DrainUntil(Timestamp),
    Draining(Option<usize>, Timestamp),
    Ask,
}

impl Scheduler<'_> {
    /// Gives restart slots away in order of name.
    pub(super) fn permit_restarts(&mut self, decisions: &[(ModelName, Decision)]) {
        // What is missing comes back before anything else goes; unless it has
        // to wait for its port, for who knows how long.
        for (name, decision) in decisions {
            let Wish::Start(start) = &decision.wish else { continue };
            let free =
                self.leased(name, start).is_none_or(|port| matches!(self.port_state(port, None), PortState::Free));
            if decision.missing && free && !self.clearances.contains_key(name) {
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
            let Some(port) = self.leased(current, start) else { return true };
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
        let (_, holder) = self.holders.get(&self.leased(name, start)?)?;
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
    pub(super) fn settle_stops(&mut self, decisions: &[(ModelName, Decision)]) {
        let mut replaced: Vec<(&ModelName, &StopWish, &StartWish)> = Vec::new();
        for (name, decision) in decisions {
            decision.duplicates.iter().for_each(|stop| self.stop_if_idle(stop));
            if self.waits_for(&decision.duplicates) {
                continue;
            }
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
        while let Some(at) = replaced.iter().position(|(name, stop, start)| self.blocked_port(name, stop, start)) {
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
    fn blocked_port(&self, model: &ModelName, stop: &StopWish, start: &StartWish) -> bool {
        let Some(port) = self.leased(model, start) else { return false };
        match self.holders.get(&port) {
            Some((holder, _)) => *holder != stop.target.id && !self.stopping.contains(holder),
            None => self.is_strangers(port),
        }
    }

    /// Whether it must be taken out of rotation before it stops: one that drains was.
    pub(super) fn withdraws(&self, stop: &StopWish) -> bool {
        let drains = |r: &InstanceRecord| matches!(r.state, InstanceState::Draining { .. });
        stop.is_routed && !stop.record.as_ref().is_some_and(drains)
    }

    /// Whether a second instance still drains: nothing else is done to its model.
    pub(super) fn waits_for(&self, duplicates: &[StopWish]) -> bool {
        duplicates.iter().any(|stop| !matches!(self.stop_now(stop), StopNow::Yes))
    }

    /// The requests of the gateway that an instance has not answered yet, also those
    /// that it has not begun to.
    fn in_flight(&self, stop: &StopWish) -> usize {
        let traffic = self.input.traffic(&stop.target.model);
        traffic.map_or(0, |traffic| usize::try_from(traffic.in_flight).unwrap_or(usize::MAX))
    }

    pub(super) fn stop_now(&self, stop: &StopWish) -> StopNow {
        let Some(drain) = stop.drain.filter(|d| !d.is_zero() || self.withdraws(stop)) else { return StopNow::Yes };
        let deadline = match stop.record.as_ref().map(|r| r.state) {
            Some(InstanceState::Draining { deadline }) if self.input.now >= deadline => return StopNow::Yes,
            Some(InstanceState::Draining { deadline }) => Some(deadline),
            // What it answers now says nothing of the requests that are still sent to it.
            _ if self.withdraws(stop) => return StopNow::DrainUntil(self.input.now.plus(drain)),
            _ => None,
        };
        let busy = match self.input.answers.busy.get(&stop.target.id) {
            None => return StopNow::Ask,
            Some(Busy::No) if self.in_flight(stop) > 0 => Some(self.in_flight(stop)),
            Some(Busy::No) => return StopNow::Yes,
            Some(Busy::Yes(slots)) => Some(*slots),
            Some(Busy::Unknown) => None,
        };
        match deadline {
            Some(deadline) => StopNow::Draining(busy, deadline),
            None => StopNow::DrainUntil(self.input.now.plus(drain)),
        }
    }
}
