//! A herdsman that breaks one rule. The rule is broken at the edge of the
//! world, where what herdsman reads and does can be made what it would be
//! without the rule; the code under test stays as it is.

use std::fmt;
use std::sync::Arc;

use herdsman::model::{
    Address, Busy, Change, Crashes, Demand, Desired, GenerationOutcome, Handle, Health, Instance, InstanceId,
    InstanceRecord, InstanceState, ModelName, OverrideKind, ProcessId, Progress, Records, Served, SpecHash, StopTarget,
    meaning,
};
use herdsman::plan::{Limits, MaxDeletes};

use super::{Ended, Gateway, Server, World};

macro_rules! rules {
    ($($rule:ident $word:literal $meaning:literal)*) => {
        /// A rule that can be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sabotage {
            $(#[doc = $meaning] $rule,)*
        }

        impl Sabotage {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $word),* }
            }

            /// What a herdsman that breaks it does.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$rule => $meaning),* }
            }
        }
    };
}

rules! {
    ForgetIntent "forget-intent" "starts servers without recording the intent first"
    ForgetStop "forget-stop" "stops servers without recording the intent first"
    ForgetTooEarly "forget-too-early" "drops an instance from the records before it is gone"
    HalfTransactions "half-transactions" "when killed, leaves half a transaction behind"
    IgnoreFailedWrite "ignore-failed-write" "goes on when nothing could be recorded"
    IgnoreFailedStop "ignore-failed-stop" "takes a server that would not end for gone"
    TrustBarePid "trust-bare-pid" "knows a process by its pid alone"
    AdoptStrangers "adopt-strangers" "takes servers of another state directory for its own"
    UnknownIsAbsent "unknown-is-absent" "takes a process that cannot be read for gone"
    BrokenIsRemoved "broken-is-removed" "takes a file that cannot be read for removed"
    SkipSecondLook "skip-second-look" "deletes without looking at the files again"
    SkipGuard "skip-guard" "deletes however many models are missing"
    SkipDrain "skip-drain" "does not ask for requests in flight"
    SkipBackoff "skip-backoff" "forgets crashes"
    RetryFailed "retry-failed" "tries failed generations again as they are"
    BelieveAnyAnswer "believe-any-answer" "takes every live server for ready"
    SkipProof "skip-proof" "does not ask servers what they serve"
    IgnoreSuspension "ignore-suspension" "acts on models that are suspended"
    IgnoreStateByHand "ignore-state-by-hand" "goes by the declared state of a model that was started or stopped by hand"
    KeepStateByHand "keep-state-by-hand" "keeps a state by hand when the definition changes"
    RestartAnother "restart-another" "restarts the next instance, too, when one was to be restarted"
    IgnoreLeftovers "ignore-leftovers" "does not see what instances left"
    ForgetWithdraw "forget-withdraw" "stops servers that the gateway still sends requests to"
    ForgetDead "forget-dead" "starts servers while the gateway still sends requests to the dead ones before them"
    EvictBusy "evict-busy" "does not see the requests of models that have a server"
    ForgetWaiter "forget-waiter" "does not see a request that waits alone"
    StartTwice "start-twice" "starts another server for the requests that wait while one loads"
    CountPollsAsUse "count-polls-as-use" "takes the polls of an open page for use"
    IgnoreGroups "ignore-groups" "starts models whether their groups have room or not"
    RememberRestart "remember-restart" "does not forget a restart whose instance is gone"
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl World {
    fn breaks(&self, rule: Sabotage) -> bool {
        self.sabotage == Some(rule)
    }

    pub(super) fn sabotaged(&self, limits: Limits) -> Limits {
        let max_deletes =
            if self.breaks(Sabotage::SkipGuard) { Some(MaxDeletes::Percent(100)) } else { limits.max_deletes };
        Limits { max_deletes, ..limits }
    }

    pub(super) fn sabotaged_files(&mut self, files: Arc<Desired>) -> Arc<Desired> {
        self.loads += 1;
        if self.breaks(Sabotage::IgnoreGroups) {
            return Arc::new(Desired { groups: Default::default(), ..Desired::clone(&files) });
        }
        if self.breaks(Sabotage::BrokenIsRemoved) {
            return Arc::new(Desired { unresolved: Vec::new(), ..Desired::clone(&files) });
        }
        if self.breaks(Sabotage::SkipSecondLook) {
            if self.loads == 1 {
                self.first_read = Some(Arc::clone(&files));
            }
            return self.first_read.clone().unwrap_or(files);
        }
        files
    }

    pub(super) fn sabotaged_records(&self, records: Arc<Records>) -> Arc<Records> {
        let of_records = [
            Sabotage::SkipBackoff,
            Sabotage::RetryFailed,
            Sabotage::IgnoreSuspension,
            Sabotage::IgnoreStateByHand,
            Sabotage::KeepStateByHand,
            Sabotage::RestartAnother,
        ];
        if self.sabotage.is_none_or(|rule| !of_records.contains(&rule)) {
            return records;
        }
        let mut records = Records::clone(&records);
        self.sabotage_overrides(&mut records);
        for model in records.models.values_mut() {
            if self.breaks(Sabotage::SkipBackoff) {
                model.crashes = Crashes::default();
            }
            if self.breaks(Sabotage::RetryFailed) && matches!(model.generation.outcome, GenerationOutcome::Failed(_)) {
                model.generation.outcome = GenerationOutcome::Pending;
            }
        }
        Arc::new(records)
    }

    fn sabotage_overrides(&self, records: &mut Records) {
        for (name, overrides) in &mut records.overrides {
            match self.sabotage {
                Some(Sabotage::IgnoreSuspension) => overrides.suspended = None,
                Some(Sabotage::IgnoreStateByHand) => overrides.state = None,
                Some(Sabotage::KeepStateByHand) => {
                    let read = self.last_read.as_ref().and_then(|read| read.definitions.get(name));
                    if let (Some(by_hand), Some(definition)) = (&mut overrides.state, read) {
                        by_hand.definition = meaning(definition);
                    }
                }
                Some(Sabotage::RestartAnother) => {
                    let lives = self.machine.servers.iter().find(|server| server.model == *name);
                    if let (Some(restart), Some(server)) = (&mut overrides.restart, lives) {
                        restart.instance = server.id.clone();
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn sabotaged_look(
        &self,
        mut seen: herdsman::model::Observed,
        recorded: &[&InstanceRecord],
    ) -> herdsman::model::Observed {
        match self.sabotage {
            Some(Sabotage::UnknownIsAbsent) => seen.unknown.clear(),
            Some(Sabotage::StartTwice) => {
                let asked = self.gateway.as_ref().map(|gateway| gateway.demand(self.now));
                let waits = |model: &ModelName| {
                    asked.as_ref().and_then(|asked| asked.models.get(model)).is_some_and(|traffic| traffic.waiting > 0)
                };
                seen.instances.retain(|instance| instance.health != Health::Loading || !waits(&instance.model));
            }
            Some(Sabotage::IgnoreLeftovers) => seen.leftovers.clear(),
            Some(Sabotage::BelieveAnyAnswer) => {
                seen.instances.iter_mut().for_each(|instance| instance.health = Health::Ready);
            }
            Some(Sabotage::TrustBarePid) => {
                let has_pid = |record: &&&InstanceRecord| {
                    let pid = record.handle.as_ref().map(Handle::pid);
                    pid.is_some_and(|pid| self.machine.bystanders.contains_key(&pid))
                };
                seen.instances.extend(recorded.iter().filter(has_pid).filter_map(|record| instance_of(record)));
            }
            Some(Sabotage::AdoptStrangers) => {
                for (path, (model, pid)) in std::mem::take(&mut seen.foreign) {
                    seen.instances.extend(self.instance_of_stranger(&path, &model, pid));
                }
            }
            _ => {}
        }
        seen
    }

    fn instance_of_stranger(&self, path: &str, model: &str, pid: i32) -> Option<Instance> {
        let process = ProcessId { pid, start_ticks: 0, boot_id: self.machine.boot_id(), pid_namespace: 1 };
        Some(Instance {
            id: InstanceId(format!("of {path}")),
            model: ModelName::parse(model).ok()?,
            spec: SpecHash("v1:theirs".to_owned()),
            handle: process.into(),
            started_at: self.now,
            address: Address { host: "127.0.0.1".to_owned(), port: None, ..Address::default() },
            health: Health::Ready,
            progress: Progress(0),
            resident: 0,
        })
    }

    pub(super) fn sabotaged_served(&self, served: Served) -> Served {
        if self.breaks(Sabotage::SkipProof) { Served::Untold } else { served }
    }

    pub(super) fn sabotaged_demand(&self, gateway: &Gateway) -> Demand {
        let mut demand = gateway.demand(self.now);
        for (model, traffic) in &mut demand.models {
            match self.sabotage {
                Some(Sabotage::EvictBusy) if !self.machine.of(model.as_str()).is_empty() => {
                    (traffic.waiting, traffic.in_flight) = (0, 0);
                }
                Some(Sabotage::ForgetWaiter) if traffic.waiting == 1 => traffic.waiting = 0,
                Some(Sabotage::CountPollsAsUse) => {
                    traffic.last_used = traffic.last_used.max(gateway.polled.get(model).copied());
                }
                _ => {}
            }
        }
        demand
    }

    /// Those that the gateway is asked to take out of rotation.
    pub(super) fn sabotaged_leavers(&self, instances: &[InstanceId]) -> Vec<InstanceId> {
        let lives = |id: &&InstanceId| self.machine.servers.iter().any(|server| server.id == **id);
        instances.iter().filter(|id| !self.breaks(Sabotage::ForgetDead) || lives(id)).cloned().collect()
    }

    pub(super) fn sabotaged_withdrawal(&mut self, instances: &[InstanceId]) {
        if !self.breaks(Sabotage::ForgetWithdraw)
            && let Some(gateway) = &mut self.gateway
        {
            gateway.withdrawn = instances.iter().filter(|id| gateway.rotation.remove(id)).cloned().collect();
        }
    }

    pub(super) fn sabotaged_busy(&self, busy: Busy) -> Busy {
        if self.breaks(Sabotage::SkipDrain) { Busy::No } else { busy }
    }

    pub(super) fn sabotaged_commit(&mut self, changes: &[Change]) {
        let is = |change: &Change, state: InstanceState| matches!(change, Change::PutInstance(i) if i.state == state);
        let dropped = |change: &&Change| match self.sabotage {
            Some(Sabotage::ForgetIntent) => is(change, InstanceState::Intent),
            Some(Sabotage::ForgetStop) => is(change, InstanceState::Stopping),
            Some(Sabotage::RememberRestart) => {
                matches!(change, Change::EndOverride { kind: OverrideKind::Restart, .. })
            }
            _ => false,
        };
        let of_commits =
            [Sabotage::ForgetIntent, Sabotage::ForgetStop, Sabotage::ForgetTooEarly, Sabotage::RememberRestart];
        if self.sabotage.is_none_or(|rule| !of_commits.contains(&rule)) {
            self.store.commit(changes);
            return;
        }
        let mut kept: Vec<Change> = changes.iter().filter(|change| !dropped(change)).cloned().collect();
        if self.breaks(Sabotage::ForgetTooEarly) {
            let early = kept.iter().filter_map(|change| match change {
                Change::PutInstance(i) if i.state == InstanceState::Stopping => {
                    Some(Change::RemoveInstance(i.id.clone()))
                }
                _ => None,
            });
            let early: Vec<Change> = early.collect();
            self.check_changes(&early);
            kept.extend(early);
        }
        self.store.commit(&kept);
    }

    pub(super) fn sabotaged_half(&mut self, changes: &[Change]) {
        if self.breaks(Sabotage::HalfTransactions) {
            self.store.commit(&changes[..changes.len() / 2]);
        }
    }

    pub(super) fn sabotaged_result(&self, result: Result<(), Ended>) -> Result<(), Ended> {
        let ignored = self.breaks(Sabotage::IgnoreFailedWrite) && result == Err(Ended::NotRecorded);
        if ignored { Ok(()) } else { result }
    }

    /// Ends the process of a target, if it is what it should be.
    pub(super) fn end(&mut self, target: &StopTarget) -> Result<(), String> {
        let pid = target.handle.pid();
        if self.breaks(Sabotage::TrustBarePid) {
            let harmed = self.machine.bystanders.contains_key(&pid);
            assert!(!harmed, "promise broken: pid {pid} is of somebody else and stopped");
        }
        let harmed = self.machine.foreign.values().any(|(_, theirs)| *theirs == pid);
        assert!(!harmed, "promise broken: pid {pid} is of another state directory and stopped");
        self.machine.clear(&target.id);
        // What a wrapper left meanwhile carries the markers, too.
        let is_its = |s: &&Server| s.id == target.id && (s.handle == target.handle || s.left_at.is_some());
        match self.machine.servers.iter().find(is_its) {
            Some(server) if server.unreadable => Err("its environment cannot be read".to_owned()),
            Some(_) => {
                self.machine.end(&target.id);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// What a stop is taken for.
pub(super) fn result_of_stop(sabotage: Option<Sabotage>, result: Result<(), String>) -> Result<(), String> {
    let ignored = sabotage == Some(Sabotage::IgnoreFailedStop) && result == Err("it does not end".to_owned());
    if ignored { Ok(()) } else { result }
}

/// A recorded instance as if it lived.
fn instance_of(record: &InstanceRecord) -> Option<Instance> {
    Some(Instance {
        id: record.id.clone(),
        model: record.model.clone(),
        spec: record.spec.clone(),
        handle: record.handle.clone()?,
        started_at: record.started_at,
        address: Address { host: record.host.clone(), port: record.port, ..Address::default() },
        health: Health::NotListening,
        progress: Progress(0),
        resident: 0,
    })
}
