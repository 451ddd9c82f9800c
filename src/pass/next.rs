//! Decides when another pass is worthwhile: what a pass still waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Pass;
use crate::model::{Busy, DesiredState, Health, Instance, ModelName};
use crate::plan::{WaitFor, WaitKind};

/// The instances whose changes are worth another look.
#[derive(Clone, Debug, Default)]
pub struct Awaited {
    /// Instances that may exit.
    pub instances: Vec<Instance>,
    /// The models among them that are loading, whose health may change too.
    pub loading: BTreeSet<ModelName>,
}

impl Awaited {
    /// Every instance that a pass saw.
    #[must_use]
    pub fn all(pass: &Pass) -> Self {
        let loading = pass.plan.waiting.iter().filter(|w| matches!(w.on, WaitFor::Ready { .. }));
        Self { instances: pass.observed.instances.clone(), loading: loading.map(|w| w.model.clone()).collect() }
    }

    /// The instances of the models that the plan waits for.
    #[must_use]
    pub fn progressing(pass: &Pass) -> Self {
        let waits = pass.plan.waiting.iter().filter(|w| w.on.kind() == WaitKind::Progressing);
        let models: BTreeSet<&ModelName> = waits.map(|w| &w.model).collect();
        let mut awaited = Self::all(pass);
        awaited.instances.retain(|instance| models.contains(&instance.model));
        awaited
    }
}

/// Why to look again although nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The pass changed something.
    Changed,
    /// Requests in flight may have ended.
    Draining,
    /// A model waits for a point in time.
    Deadline,
    /// A server may have stopped answering.
    Health,
    /// A server answers, and may say what it serves by now.
    Unproven,
    /// A llama-server may have answered a question.
    LlamaServer,
}

/// Returns when to look again at the latest, and why, from the end of the pass.
pub fn looks(pass: &Pass) -> impl Iterator<Item = (Look, Duration)> {
    /// For a deadline that has passed while something still waits for it.
    const SOONEST: Duration = Duration::from_millis(20);
    /// Asking a silent server takes up to a second.
    const UNPROVEN: Duration = Duration::from_millis(500);
    /// A llama-server answers in 12 ms, or hangs.
    const LLAMA_SERVER: Duration = Duration::from_millis(100);
    let waits = || pass.plan.waiting.iter().map(|waiting| &waiting.on);
    let changed = (!pass.outcomes.is_empty()).then_some((Look::Changed, Duration::ZERO));
    let drains = waits().any(|on| matches!(on, WaitFor::Drain { .. })).then_some((Look::Draining, Busy::ASKED_EVERY));
    let on_request = pass.plan.on_request.iter().map(|waiting| &waiting.on);
    let deadline = waits().chain(on_request).filter_map(WaitFor::deadline).min();
    let deadline = deadline.map(|at| (Look::Deadline, pass.now.until(at).max(SOONEST)));
    let idle = idle_at_the_earliest(pass).map(|after| (Look::Deadline, after));
    let health = health_interval(pass).map(|interval| (Look::Health, interval));
    let unproven = has_unproven(pass).then_some((Look::Unproven, UNPROVEN));
    let asked = awaits_llama_server(pass).then_some((Look::LlamaServer, LLAMA_SERVER));
    [changed, drains, deadline, idle, health, unproven, asked].into_iter().flatten()
}

/// Whether anything of this kind is waited for.
#[must_use]
pub fn waits(pass: &Pass, kind: WaitKind) -> bool {
    pass.plan.waiting.iter().any(|waiting| waiting.on.kind() == kind)
}

/// Whether a llama-server was asked that has not answered yet.
#[must_use]
pub fn awaits_llama_server(pass: &Pass) -> bool {
    pass.plan.waiting.iter().any(|waiting| matches!(waiting.on, WaitFor::Binary { pending: true, .. }))
}

/// Whether the plan waits for a server that answers and has not said yet what it
/// serves: nothing will signal that it does.
fn has_unproven(pass: &Pass) -> bool {
    let answers = |model: &ModelName| {
        pass.observed.instances.iter().any(|live| live.model == *model && live.health == Health::Ready)
    };
    let waits = |on: &WaitFor| matches!(on, WaitFor::Ready { .. } | WaitFor::Answer { .. });
    pass.plan.waiting.iter().any(|waiting| waits(&waiting.on) && answers(&waiting.model))
}

/// How soon a model that is asked for could have been idle for long enough: nothing
/// signals the end of its last request.
fn idle_at_the_earliest(pass: &Pass) -> Option<Duration> {
    let asked_for = pass.demand.iter().flat_map(|demand| &demand.models).filter(|(_, traffic)| traffic.is_asked_for());
    let definitions = asked_for.filter_map(|(name, _)| pass.desired.as_ref()?.definitions.get(name));
    let on_demand = definitions.filter(|definition| pass.records.wanted_state(definition) == DesiredState::OnDemand);
    on_demand.filter_map(|definition| definition.idle.stop_after).min()
}

/// How often to ask servers that are restarted when they stop answering: three
/// times within the shortest time that one may be silent.
fn health_interval(pass: &Pass) -> Option<Duration> {
    let definitions = pass.desired.iter().flat_map(|desired| desired.definitions.values());
    let lives = |model: &ModelName| pass.observed.instances.iter().any(|live| live.model == *model);
    let running = definitions.filter(|definition| match pass.records.wanted_state(definition) {
        DesiredState::Running => true,
        DesiredState::OnDemand => lives(&definition.name),
        DesiredState::Stopped => false,
    });
    let shortest = running.filter_map(|definition| definition.ready.unhealthy_after).min()?;
    Some((shortest / 3).max(Duration::from_secs(1)))
}
