//! What herdsman promises the clients of its gateway, checked as the rest of
//! `promises`.

use std::collections::BTreeSet;

use herdsman::model::{Definition, DesiredState, InstanceId, InstanceState, ModelName, Traffic};

use super::gateway::MAX_WAIT;
use super::promises::DRAIN;
use super::{Server, World};

impl World {
    /// Checks a start on demand: somebody waits for it, or it replaces another.
    pub(super) fn check_demand_of(&self, model: &ModelName, wanted: Option<DesiredState>) {
        let is_asked_for = self.demanded(model).waiting > 0 || self.promises.alive.contains(model);
        let is_on_demand = wanted == Some(DesiredState::OnDemand);
        assert!(!is_on_demand || is_asked_for, "promise broken: nobody asks for {model} and it is started");
    }

    /// Checks a start: its groups have room. A restart keeps its own.
    pub(super) fn check_room_for(&self, model: &ModelName, wanted: Option<DesiredState>) {
        // A file that cannot be used does not say in which groups its model is.
        if self.promises.alive.contains(model) || wanted.is_none() {
            return;
        }
        let read = &self.promises.read;
        let Some(definition) = read.definitions.get(model) else { return };
        for name in &definition.placement.groups {
            let Some(group) = read.groups.get(name) else { continue };
            let is_member = |definition: &Definition| definition.placement.groups.contains(name);
            let others = self.machine.servers.iter().map(|server| &server.model).filter(|other| *other != model);
            // A second server of one model is on its way out.
            let members: BTreeSet<_> =
                others.filter(|other| read.definitions.get(*other).is_some_and(|d| is_member(d))).collect();
            let running = members.len() + 1;
            let max = group.max_running;
            assert!(running <= max, "promise broken: {model} is started and {running} of {name} run, not {max}");
        }
    }

    /// Checks what is taken out of rotation, and remembers it.
    pub(super) fn check_withdrawal(&mut self, instances: &[InstanceId]) {
        for id in instances {
            if let Some(server) = self.machine.servers.iter().find(|server| server.id == *id) {
                self.check_served(server);
            }
            self.promises.withdrawn.insert(id.clone());
            self.promises.withdrawn_at.insert(id.clone(), self.now);
        }
    }

    /// Checks what returns to the rotation: nothing that drains or stops.
    pub(super) fn check_readmission(&mut self, instances: &[InstanceId]) {
        for id in instances {
            let is_ready = self.store.instance(id).is_some_and(|is| is.state == InstanceState::Ready);
            assert!(is_ready, "promise broken: {id:?} is readmitted and does not stay");
            self.promises.withdrawn_at.remove(id);
        }
    }

    /// Checks a stop: the gateway knows of it, and requests in flight had their time.
    pub(super) fn check_rotation(&self, server: &Server) {
        let (model, id) = (&server.model, &server.id);
        let Some(gateway) = &self.gateway else { return };
        assert!(!gateway.rotation.contains(id), "promise broken: {model} is stopped while it is sent requests");
        // One that does not answer has nothing to say about its requests.
        if server.silent || self.machine.of(model.as_str()).len() > 1 || !self.promises.ready.contains(id) {
            self.check_loading(server);
            return;
        }
        // Nor is there a place to remember that one without a record drains.
        if self.store.instance(id).is_none() {
            return;
        }
        let is_late = self.promises.ending.contains(id) || !self.promises.withdrawn.contains(id);
        assert!(is_late, "promise broken: {model} is stopped by a look that was before its withdrawal");
        let since = self.promises.withdrawn_at.get(id).copied();
        let drained = since.is_none_or(|since| self.now.since(since) >= DRAIN);
        let in_flight = gateway.in_flight(id);
        assert!(in_flight == 0 || drained, "promise broken: {model} is stopped with {in_flight} requests in flight");
    }

    /// Checks the stop of one that was never ready: those who wait for it have not left.
    fn check_loading(&self, server: &Server) {
        if self.store.instance(&server.id).is_some_and(|instance| instance.ready.is_none()) {
            self.check_served(server);
        }
    }

    /// Checks that one that gives way has answered a request, if any waited for it:
    /// there are no two swaps without a request served between them.
    fn check_served(&self, server: &Server) {
        let Some(gateway) = &self.gateway else { return };
        let record = self.store.instance(&server.id);
        let ready = record.and_then(|record| record.ready).map(|(first, _)| first);
        let has_served = gateway.answered.contains(&server.id) || gateway.in_flight(&server.id) > 0;
        let has_had_time = ready.is_some_and(|ready| self.now.since(ready) >= MAX_WAIT);
        let waiting = self.demanded(&server.model).waiting;
        let gives_way = waiting > 0 && self.is_evicted(server);
        assert!(
            !gives_way || has_served || has_had_time,
            "promise broken: {} gives way before it has answered one of {waiting}",
            server.model
        );
    }

    /// Whether nothing but another model's start can be the cause of a stop.
    fn is_evicted(&self, server: &Server) -> bool {
        let (model, read) = (&server.model, &self.promises.read);
        let Some(definition) = read.definitions.get(model).filter(|_| !self.is_down()) else { return false };
        let record = self.store.instance(&server.id);
        let port = self.store.records().models.get(model).and_then(|record| record.port).map(|port| port.port);
        let is_whole = record.is_some_and(|record| !self.promises.ending.contains(&record.id));
        let is_anothers = |d: &Definition| d.name != *model && d.spec.port.is_some() && d.spec.port == server.port;
        let leaves_port = read.definitions.values().any(|d| is_anothers(d));
        let restarts = self.promises.by_hand.get(model).is_some_and(|all| all.restart.is_some());
        self.wanted(model) == Some(DesiredState::OnDemand)
            && is_whole
            && !restarts
            && !leaves_port
            && !self.limits.upgrade_binary
            && server.fate == super::Fate::of("ready")
            && server.port == port
            && server.weights.as_ref().is_none_or(|weights| definition.spec.files.contains_key(weights.as_str()))
            && definition.is_served_as(&server.spec, port)
    }

    fn demanded(&self, model: &ModelName) -> Traffic {
        let demand = self.promises.demand.as_ref();
        demand.and_then(|demand| demand.models.get(model)).copied().unwrap_or_default()
    }
}
