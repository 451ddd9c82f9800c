//! The gateway in memory: which instances it sends requests to, and its clients. They
//! ask, wait, are answered, and leave at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herdsman::model::{Demand, InstanceId, InstanceState, ModelName, Timestamp, Traffic};
use herdsman::pass::Pass;
use herdsman::plan::{WaitFor, WaitKind};

use super::{Machine, World, name};

/// How long the oldest waiting request of a full group waits at most.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a request waits at most.
const HOLD: Duration = Duration::from_secs(600);

/// A gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The instances that it sends requests to.
    pub rotation: BTreeSet<InstanceId>,
    /// Those that the running pass has taken out of it.
    pub withdrawn: BTreeSet<InstanceId>,
    /// What its clients ask for, besides [`Gateway::clients`].
    pub demand: Demand,
    /// Who waits or is answered.
    pub clients: Vec<Client>,
    /// When a page that is left open asked last, by model.
    pub polled: BTreeMap<ModelName, Timestamp>,
    /// Models that cannot run, as the last plan says.
    explained: BTreeSet<ModelName>,
    /// Models whose clients have waited for too long, and nothing said why.
    pub refused: BTreeSet<ModelName>,
    /// The instances that have answered a request.
    pub answered: BTreeSet<InstanceId>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Client {
    model: ModelName,
    arrived: Timestamp,
    /// When it leaves, answered or not.
    leaves: Option<Timestamp>,
    /// How long its answer takes.
    takes: Duration,
    /// The instance that answers it, and until when.
    answering: Option<(InstanceId, Timestamp)>,
}

impl Gateway {
    /// A gateway that begins to serve.
    pub fn new(now: Timestamp) -> Self {
        let max_wait_ms = u64::try_from(MAX_WAIT.as_millis()).unwrap();
        Self {
            rotation: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            demand: Demand { since: now, max_wait_ms, ..Demand::default() },
            clients: Vec::new(),
            polled: BTreeMap::new(),
            explained: BTreeSet::new(),
            refused: BTreeSet::new(),
            answered: BTreeSet::new(),
        }
    }

    /// What clients ask for now.
    pub fn demand(&self, now: Timestamp) -> Demand {
        let mut demand = self.demand.clone();
        for client in &self.clients {
            let traffic = demand.models.entry(client.model.clone()).or_default();
            if client.answering.is_some() {
                traffic.in_flight += 1;
                traffic.last_used = Some(now);
            } else {
                traffic.waiting += 1;
                let since = traffic.waiting_since.map_or(client.arrived, |since| since.min(client.arrived));
                traffic.waiting_since = Some(since);
            }
        }
        demand
    }

    /// The requests that an instance answers.
    pub fn in_flight(&self, id: &InstanceId) -> usize {
        self.clients.iter().filter(|client| client.answering.as_ref().is_some_and(|(by, _)| by == id)).count()
    }

    /// When something about a client changes next.
    pub fn next_event(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.clients.iter().flat_map(|client| {
            let ends = client.answering.as_ref().map_or(client.arrived.plus(HOLD), |(_, until)| *until);
            client.leaves.into_iter().chain([ends])
        });
        times.filter(|time| *time > now).min()
    }

    /// Somebody sets the clock.
    pub fn set_clock(&mut self, by: i64) {
        let shift = |time: &mut Timestamp| time.0 += by;
        shift(&mut self.demand.since);
        self.polled.values_mut().for_each(shift);
        for traffic in self.demand.models.values_mut() {
            let Traffic { waiting_since, last_used, unload, .. } = traffic;
            [waiting_since, last_used, unload].into_iter().flatten().for_each(shift);
        }
        for client in &mut self.clients {
            shift(&mut client.arrived);
            client.leaves.iter_mut().for_each(shift);
            client.answering.iter_mut().for_each(|(_, until)| shift(until));
        }
    }
}

impl World {
    /// The same world with a gateway in front of it.
    pub fn with_gateway(mut self) -> Self {
        self.serve();
        self
    }

    /// A gateway begins to serve.
    pub fn serve(&mut self) {
        self.site.has_gateway = true;
        self.gateway = Some(Gateway::new(self.now));
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

    /// A client arrives; it leaves after so long, or never before it is answered.
    pub fn client(&mut self, model: &str, takes: Duration, leaves: Option<Duration>) {
        let (now, model) = (self.now, name(model));
        // Others are answered at once that there is no such model.
        if self.gateway.is_none() || !self.desired.definitions.contains_key(&model) {
            return;
        }
        let leaves = leaves.map(|after| now.plus(after));
        self.traffic(model.as_str()).unload = None;
        let client = Client { model, arrived: now, leaves, takes, answering: None };
        self.gateway.iter_mut().for_each(|gateway| gateway.clients.push(client.clone()));
        self.attend();
    }

    /// Every client of a model leaves.
    pub fn leave(&mut self, model: &str) {
        let leaves = |client: &mut Client| client.leaves = Some(client.arrived);
        let gateway = self.gateway.iter_mut();
        gateway
            .flat_map(|gateway| &mut gateway.clients)
            .filter(|client| client.model.as_str() == model)
            .for_each(leaves);
        self.attend();
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
            let says_why = |on: &WaitFor| !matches!(on.kind(), WaitKind::Progressing | WaitKind::Note);
            let waiting = pass.plan.waiting.iter().filter(|waiting| says_why(&waiting.on));
            gateway.explained = waiting.map(|waiting| waiting.model.clone()).collect();
        }
        self.attend();
    }

    /// Whatever is due: clients are answered, sent on, or leave.
    pub(super) fn attend(&mut self) {
        let (now, Some(mut gateway)) = (self.now, self.gateway.take()) else { return };
        let mut clients = std::mem::take(&mut gateway.clients);
        clients.retain_mut(|client| self.attend_one(&mut gateway, client, now));
        gateway.clients = clients;
        self.gateway = Some(gateway);
    }

    /// Whether the client stays.
    fn attend_one(&mut self, gateway: &mut Gateway, client: &mut Client, now: Timestamp) -> bool {
        let is_alive = |machine: &Machine, id: &InstanceId| machine.servers.iter().any(|server| server.id == *id);
        let mut used = |at| gateway.demand.models.entry(client.model.clone()).or_default().last_used = Some(at);
        if client.leaves.is_some_and(|leaves| leaves <= now) {
            client.answering.iter().for_each(|_| used(now));
            self.tally.add("clients", "left");
            return false;
        }
        if let Some((by, until)) = client.answering.clone() {
            used(now);
            if !is_alive(&self.machine, &by) {
                // Nothing of its answer has arrived: it waits for the next server.
                client.answering = None;
            } else if until <= now {
                gateway.answered.insert(by);
                self.tally.add("clients", "answered");
                return false;
            }
        } else if now.since(client.arrived) >= HOLD {
            if !gateway.explained.contains(&client.model) {
                gateway.refused.insert(client.model.clone());
            }
            self.tally.add("clients", "refused");
            return false;
        }
        if client.answering.is_none() {
            let can = |server: &&super::Server| {
                server.model == client.model
                    && gateway.rotation.contains(&server.id)
                    && !server.silent
                    && Machine::is_ready(server, now)
            };
            if let Some(server) = self.machine.servers.iter().find(can) {
                let state = self.store.instance(&server.id).map(|instance| instance.state);
                let drains = matches!(state, Some(InstanceState::Draining { .. }));
                assert!(!drains, "promise broken: a request is sent to {} while it drains", client.model);
                client.answering = Some((server.id.clone(), now.plus(client.takes)));
                used(now);
            }
        }
        true
    }
}
