//! Who is on a port, or will be.

use super::super::decide::StopWish;
use super::Scheduler;
use crate::model::{InstanceId, Listener, ModelName};

/// Who is on a port a start needs.
pub(super) enum PortState {
    Free,
    /// One of ours that is stopped first.
    After(InstanceId),
    /// One of ours that is not.
    Ours(ModelName),
    Stranger,
}

impl Scheduler<'_> {
    pub(super) fn is_strangers(&self, port: u16) -> bool {
        !self.holders.contains_key(&port)
            && matches!(self.input.observed.listeners.get(&port), Some(Listener::Stranger(_)))
    }

    pub(super) fn port_state(&self, port: u16, replaces: Option<&StopWish>) -> PortState {
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
