//! The gateway in memory: which instances it sends requests to, and what its clients
//! ask for.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::model::{Demand, InstanceId, InstanceState, Timestamp, Traffic};
use herdsman::pass::Pass;

use super::{World, name};

/// How long the oldest waiting request of a full group waits at most.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The instances that it sends requests to.
    pub rotation: BTreeSet<InstanceId>,
    /// What its clients ask for.
    pub demand: Demand,
}

impl Gateway {
    /// A gateway that begins to serve.
    pub fn new(now: Timestamp) -> Self {
        let max_wait_ms = u64::try_from(MAX_WAIT.as_millis()).unwrap();
        let demand = Demand { since: now, max_wait_ms, ..Demand::default() };
        Self { rotation: BTreeSet::new(), demand }
    }
}

impl World {
    /// The same world with a gateway in front of it.
    pub fn with_gateway(mut self) -> Self {
        self.site.has_gateway = true;
        self.gateway = Some(Gateway::new(self.now));
        self
    }

    /// What clients ask of one model.
    pub fn traffic(&mut self, model: &str) -> &mut Traffic {
        self.gateway.as_mut().unwrap().demand.models.entry(name(model)).or_default()
    }

    /// So many requests wait for a model, from now on.
    pub fn ask(&mut self, model: &str, waiting: u32) {
        let now = self.now;
        let traffic = self.traffic(model);
        (traffic.waiting, traffic.unload) = (waiting, None);
        traffic.waiting_since = (waiting > 0).then(|| traffic.waiting_since.unwrap_or(now));
    }

    /// Whether the gateway sends requests to a server of this model.
    pub fn is_in_rotation(&self, model: &str) -> bool {
        let rotation = &self.gateway.as_ref().unwrap().rotation;
        self.machine.of(model).iter().any(|server| rotation.contains(&server.id))
    }

    /// Sends requests to what a pass found ready, unless it drains.
    pub(super) fn publish(&mut self, pass: &Pass) {
        let is_ready = |id: &InstanceId| self.store.instance(id).is_some_and(|i| i.state == InstanceState::Ready);
        let proven = pass.observed.instances.iter().filter(|live| pass.has_proven(live));
        let rotation = proven.map(|live| live.id.clone()).filter(is_ready).collect();
        if let Some(gateway) = &mut self.gateway {
            gateway.rotation = rotation;
        }
    }
}
