//! Which port each model serves on.
//!
//! A declared port is used as it is. Any other is assigned once, recorded and kept:
//! the recorded one, else the port of a live instance, else the lowest free one. The
//! record follows a definition to another port, or to a socket, once an instance was
//! ready there. If a new port turns out to be in use before an instance was ready on
//! it, the model gets another, but only a few times: a model that fails on one port
//! after another may itself leave behind what uses them.
//!
//! A record counts as this pass settles it: a model whose instance is seen ready
//! elsewhere has moved there already.

use std::collections::{BTreeMap, BTreeSet};

use super::{Input, Plan, Step};
use crate::model::{
    Change, Definition, DesiredState, FailureCause, Instance, Listener, ModelName, ModelRecord, PortRecord,
};

/// So many failures in a row end the exchange of ports: then its holder is named.
const MOST_FAILURES: u32 = 3;

/// The outcome for one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// This one; `None` for a unix socket, or for a stopped model that never
    /// had one.
    On(Option<u16>),
    /// Declared, and another model of ours serves on it.
    TakenBy(u16, ModelName),
    /// None is free.
    Exhausted,
}

/// The choice for every model that has one.
pub type PortChoices = BTreeMap<ModelName, PortChoice>;

/// Chooses a port for every definition that has one, in order of name. `settled`
/// returns the port of a record once what was observed is recorded.
pub fn assign<'a>(
    input: &Input<'a>,
    settled: impl Fn(&'a ModelName, &'a ModelRecord) -> Option<PortRecord>,
) -> PortChoices {
    let Some(desired) = input.desired else { return BTreeMap::new() };
    let declared: BTreeMap<u16, &ModelName> =
        desired.definitions.values().filter_map(|d| Some((d.spec.port?, &d.name))).collect();
    let mut taken: BTreeMap<u16, &ModelName> = declared.clone();
    let mut kept = BTreeMap::new();
    let mut conflicts = BTreeMap::new();

    for (name, record) in &input.records.models {
        let Some(recorded) = settled(name, record) else { continue };
        let definition = desired.definitions.get(name).map(|definition| &**definition);
        let Some(port) = standing_port(input, name, definition, record, recorded) else { continue };
        match declared.get(&port) {
            Some(declarer) if *declarer != name => {
                if definition.is_none() || recorded.proven {
                    conflicts.insert((*declarer).clone(), (port, name.clone()));
                    kept.insert(name, port);
                }
            }
            _ => {
                taken.insert(port, name);
                kept.insert(name, port);
            }
        }
    }
    let mut instances: Vec<_> = input.observed.instances.iter().collect();
    instances.sort_by_key(|i| (&i.model, i.started_at, &i.handle));
    for instance in instances {
        if let Some(port) = instance.address.port
            && !kept.contains_key(&instance.model)
            && !taken.contains_key(&port)
        {
            taken.insert(port, &instance.model);
            kept.insert(&instance.model, port);
        }
    }

    let mut free = FreePorts::new(input, taken.keys().copied().collect());
    desired
        .definitions
        .values()
        .map(|definition| {
            let name = &definition.name;
            let choice = match (definition.spec.port, conflicts.remove(name)) {
                _ if definition.spec.is_unix_socket() => PortChoice::On(None),
                (Some(_), Some((port, holder))) => PortChoice::TakenBy(port, holder),
                (Some(port), None) => PortChoice::On(Some(port)),
                (None, _) => match kept.get(name) {
                    Some(port) => PortChoice::On(Some(*port)),
                    None if input.records.wanted_state(definition) == DesiredState::Stopped => PortChoice::On(None),
                    None => free.next().map_or(PortChoice::Exhausted, |port| PortChoice::On(Some(port))),
                },
            };
            (name, choice)
        })
        .filter(|(_, choice)| *choice != PortChoice::On(None))
        .map(|(name, choice)| (name.clone(), choice))
        .collect()
}

/// The recorded port a model keeps; `None` when it has none or must move.
///
/// A definition out of sight (removed, unresolved, not loaded) keeps its port,
/// and so does one declared stopped: who listens there counts when it starts.
fn standing_port(
    input: &Input<'_>,
    name: &ModelName,
    definition: Option<&Definition>,
    record: &ModelRecord,
    recorded: PortRecord,
) -> Option<u16> {
    if definition.is_some_and(|d| d.spec.is_unix_socket() || d.spec.port.is_some_and(|p| p != recorded.port)) {
        return None;
    }
    let is_to_run = |d: &Definition| d.spec.port.is_none() && input.records.wanted_state(d) != DesiredState::Stopped;
    // While an instance lives that was told this port, it is the one to say
    // that it cannot have it.
    let is_told = |instance: &Instance| instance.model == *name && instance.address.port == Some(recorded.port);
    let movable = !recorded.proven
        && record.crashes.count < MOST_FAILURES
        && definition.is_some_and(is_to_run)
        && !input.observed.instances.iter().any(is_told);
    if movable && (held_by_stranger(input, recorded.port) || bind_failed(input, record, recorded.port)) {
        return None;
    }
    Some(recorded.port)
}

/// Whether a process that is not ours listens there.
fn held_by_stranger(input: &Input<'_>, port: u16) -> bool {
    matches!(input.observed.listeners.get(&port), Some(Listener::Stranger))
}

/// Whether an instance just died because it could not bind that port.
fn bind_failed(input: &Input<'_>, record: &ModelRecord, port: u16) -> bool {
    record.instances.iter().any(|i| {
        i.port == Some(port)
            && input.observed.deaths.get(&i.id).is_some_and(|death| death.cause == FailureCause::PortBusy)
    })
}

/// Takes the ports that `plan` records for one model out of the records of
/// those that leave them: no port is ever recorded for two models, whichever
/// action is recorded first.
pub fn released(input: &Input<'_>, plan: &Plan) -> Vec<Change> {
    let steps = plan.actions.iter().flat_map(|action| &action.steps);
    let records =
        steps.filter_map(|step| if let Step::Record(changes) = step { Some(changes) } else { None }).flatten();
    let moved: BTreeMap<&ModelName, Option<PortRecord>> = plan.bookkeeping.iter().filter_map(set_port).collect();
    let set = moved.iter().map(|(model, port)| (*model, *port)).chain(records.filter_map(set_port));
    let given: BTreeMap<u16, &ModelName> = set.filter_map(|(model, port)| Some((port?.port, model))).collect();
    let leaves = |(name, record): (&ModelName, &ModelRecord)| {
        let has = moved.get(name).copied().unwrap_or(record.port)?;
        let to = given.get(&has.port)?;
        (*to != name).then(|| Change::SetPort { model: name.clone(), port: None })
    };
    input.records.models.iter().filter_map(leaves).collect()
}

fn set_port(change: &Change) -> Option<(&ModelName, Option<PortRecord>)> {
    if let Change::SetPort { model, port } = change { Some((model, *port)) } else { None }
}

/// A port for a start that has none although no definition in sight needs one:
/// of a rollback from a socket, or while the definition cannot be read. `taken`:
/// who gets a port in this pass.
pub fn spare(input: &Input<'_>, taken: impl Iterator<Item = u16>) -> Option<u16> {
    let declared = input.desired.into_iter().flat_map(|desired| desired.definitions.values());
    let live = input.observed.instances.iter().filter_map(|instance| instance.address.port);
    FreePorts::new(input, declared.filter_map(|definition| definition.spec.port).chain(live).chain(taken).collect())
        .next()
}

/// Hands out the range's free ports, lowest first.
struct FreePorts {
    range: std::ops::RangeInclusive<u16>,
    used: BTreeSet<u16>,
}

impl FreePorts {
    fn new(input: &Input<'_>, mut used: BTreeSet<u16>) -> Self {
        used.extend(input.observed.listeners.keys());
        for record in input.records.models.values() {
            used.extend(record.port.map(|p| p.port));
            used.extend(record.instances.iter().filter_map(|i| i.port));
        }
        let (from, to) = input.site.port_range;
        Self { range: from..=to, used }
    }

    fn next(&mut self) -> Option<u16> {
        self.range.by_ref().find(|port| !self.used.contains(port))
    }
}
