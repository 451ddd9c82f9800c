//! Which models use a port, now or soon.

use std::collections::BTreeMap;

use super::super::decide::{Lease, StartWish, StopWish};
use super::super::port_choice::{PortChoice, spare};
use super::Scheduler;
use crate::model::{InstanceId, Listener, ModelName, Observed};

/// Who is on a port a start needs.
pub(super) enum PortState {
    Free,
    /// One of ours that is stopped first.
    After(InstanceId),
    /// One of ours that is not.
    Ours(ModelName),
    Stranger,
}

/// Who of ours is on which port: instances, and what listens on of those that
/// are gone.
pub(super) fn holders(observed: &Observed) -> BTreeMap<u16, (InstanceId, ModelName)> {
    let left = observed.listeners.iter().filter_map(|(port, listener)| {
        let Listener::Ours(id) = listener else { return None };
        let leftover = observed.leftovers.iter().find(|leftover| leftover.id == *id)?;
        Some((*port, (id.clone(), leftover.model.clone())))
    });
    let live = observed.instances.iter().filter_map(|i| Some((i.address.port?, (i.id.clone(), i.model.clone()))));
    left.chain(live).collect()
}

/// The port that a start has, if it has one.
pub(super) fn leased(ports: &BTreeMap<ModelName, PortChoice>, model: &ModelName, start: &StartWish) -> Option<u16> {
    match (start.port, ports.get(model)) {
        (Lease::On(port), _) => port,
        (Lease::Own, Some(PortChoice::On(port))) => *port,
        // Without a port there is no wish.
        (Lease::Own, Some(PortChoice::TakenBy(..) | PortChoice::Exhausted) | None) => None,
    }
}

impl Scheduler<'_> {
    /// The port that a start has; `None`: it listens on a unix socket, or has
    /// yet to be given one ([`Scheduler::spare_port`]).
    pub(super) fn leased(&self, model: &ModelName, start: &StartWish) -> Option<u16> {
        leased(self.ports, model, start)
    }

    /// A free port that nobody in this pass is about to use.
    pub(super) fn spare_port(&self) -> Option<u16> {
        let chosen = self.ports.values().filter_map(|c| if let PortChoice::On(port) = c { *port } else { None });
        spare(self.input, chosen.chain(self.starting.keys().copied()))
    }

    pub(super) fn is_strangers(&self, port: u16) -> bool {
        !self.holders.contains_key(&port)
            && matches!(self.input.observed.listeners.get(&port), Some(Listener::Stranger))
    }

    pub(super) fn port_state(&self, port: u16, replaces: Option<&StopWish>) -> PortState {
        if let Some(model) = self.starting.get(&port) {
            return PortState::Ours(model.clone());
        }
        match (self.holders.get(&port), self.input.observed.listeners.get(&port)) {
            (Some((id, _)), _) if replaces.is_some_and(|stop| stop.target.id == *id) => PortState::Free,
            (Some((id, _)), _) if self.stopping.contains(id) => PortState::After(id.clone()),
            (Some((_, model)), _) => PortState::Ours(model.clone()),
            (None, Some(Listener::Stranger)) => PortState::Stranger,
            (None, _) => PortState::Free,
        }
    }
}
