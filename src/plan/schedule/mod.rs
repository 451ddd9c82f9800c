//! Turns decisions about single models into one plan, with limits, ports and the
//! mass-delete guard.
//!
//! - A restart needs a restart slot, a start needs a start slot. Whatever is already
//!   in progress keeps its slot.
//! - A start waits for room in its groups and for its port; two models that swap ports stop together.
//! - Nothing stops for a start that cannot follow in the same pass.
//!
//! | whose turn it is | [`turns`] |
//! |---|---|
//! | what is done then, step by step | [`steps`] |
//! | who is on a port | [`port_holders`] |
//! | what else must be free before a start, and who stops for it | [`room`] |

mod port_holders;
mod room;
mod steps;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Plan, Waiting};
use super::decide::Decision;
use super::input::Input;
use super::port_choice::PortChoice;
use super::waiting::WaitFor;
use super::{WaitKind, guard};
use crate::model::{InstanceId, ModelName, Origin};
pub use room::{Clearance, make_room};

/// Turns decisions, in order of name, into a plan.
///
/// `ports` says who serves where, among all models; `clearances`, what starts wait for
/// ([`make_room`]).
pub fn schedule(
    input: &Input<'_>,
    ports: &BTreeMap<ModelName, PortChoice>,
    clearances: BTreeMap<ModelName, Clearance>,
    decisions: Vec<(ModelName, Decision)>,
) -> Plan {
    let mut plan = Plan { unmanaged: input.records.unmanaged.clone(), ..Plan::default() };
    plan.unmanaged.sort_by_key(|row| row.id);
    plan.guard = guard::check(&decisions, input.desired, input.records, input.limits.max_deletes);
    let mut scheduler = Scheduler::new(input, ports, clearances, &decisions, plan.guard.is_some());
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
    /// Which port is whose, or will be.
    ports: &'a BTreeMap<ModelName, PortChoice>,
    /// What else must be free before a start.
    clearances: BTreeMap<ModelName, Clearance>,
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

impl<'a> Scheduler<'a> {
    fn new(
        input: &'a Input<'a>,
        ports: &'a BTreeMap<ModelName, PortChoice>,
        clearances: BTreeMap<ModelName, Clearance>,
        decisions: &[(ModelName, Decision)],
        guarded: bool,
    ) -> Self {
        let under_way = || decisions.iter().filter(|(_, d)| d.restarting);
        let loading = decisions.iter().filter(|(_, d)| d.loading).count();
        Self {
            input,
            ports,
            clearances,
            guarded,
            holders: port_holders::holders(input.observed),
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
}
