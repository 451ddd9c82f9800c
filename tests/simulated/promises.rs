//! What herdsman promises, checked at every single effect against what really
//! is. A broken promise panics, whatever the test was about.
//!
//! Nothing here looks at a plan: a promise is about what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use herdsman::model::{
    BinaryIdentity, Busy, Change, Demand, Desired, DesiredState, GenerationOutcome, InstanceId, InstanceRecord,
    InstanceState, Launch, ModelName, OverrideKind, Overrides, Records, SpecHash, Status, StopTarget, Timestamp,
    Unresolved,
};

use super::store::SharedRow;
use super::{Machine, Server, World};

/// The shortest delay after a crash.
const BACKOFF: Duration = Duration::from_secs(1);
/// Requests in flight have at least this long; definitions here say no less.
pub const DRAIN: Duration = Duration::from_secs(5);

/// What a check must remember.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// The files as they were when last read.
    pub(super) read: Arc<Desired>,
    /// How many models were managed when the records were read.
    managed: usize,
    /// How many of them this pass has deleted.
    deleted: usize,
    /// Those that were really ready at some look.
    were_ready: BTreeSet<InstanceId>,
    /// Those really ready at the last look.
    pub(super) ready: BTreeSet<InstanceId>,
    /// Those that could not be read at the last look.
    unreadable: BTreeSet<InstanceId>,
    /// Those that the gateway was asked to take out of rotation, whatever it answered.
    asked_to_withdraw: BTreeSet<InstanceId>,
    /// Those taken out of rotation in this pass, and not before.
    pub(super) withdrawn: BTreeSet<InstanceId>,
    /// When each was taken out of rotation.
    pub(super) withdrawn_at: BTreeMap<InstanceId, Timestamp>,
    /// What clients asked for when this pass planned.
    pub(super) demand: Option<Demand>,
    /// The models with a server when this pass looked.
    pub(super) alive: BTreeSet<ModelName>,
    /// Those really with requests in flight when this pass asked.
    busy: BTreeSet<InstanceId>,
    /// Those that were to be stopped before this pass began.
    pub(super) ending: BTreeSet<InstanceId>,
    /// Since when each of them is.
    draining: BTreeMap<InstanceId, Timestamp>,
    /// The last start of each model.
    starts: BTreeMap<ModelName, Start>,
    /// The models with servers that could not be read then: one may be any of its.
    unread: BTreeSet<ModelName>,
    /// The instances that were to be restarted and were gone at the last look.
    gone: BTreeSet<InstanceId>,
    /// What was asked for by hand when this pass planned, and is in force then.
    pub(super) by_hand: BTreeMap<ModelName, Overrides>,
    /// The llama-servers as last reported.
    binaries: BTreeMap<Option<String>, Option<BinaryIdentity>>,
}

/// A start of a server.
#[derive(Clone, Debug)]
struct Start {
    id: InstanceId,
    generation: u32,
    spec: SpecHash,
    port: Option<u16>,
    at: Timestamp,
    /// That it came about was recorded: what dies before is no crash to anyone.
    recorded: bool,
}

impl Promises {
    /// A pass begins.
    pub fn pass_begins(&mut self, instances: &[InstanceRecord]) {
        let ends = |i: &&InstanceRecord| matches!(i.state, InstanceState::Draining { .. } | InstanceState::Stopping);
        self.ending = instances.iter().filter(ends).map(|i| i.id.clone()).collect();
        (self.deleted, self.busy) = (0, BTreeSet::new());
        self.withdrawn.clear();
    }

    /// The files were read.
    pub fn read(&mut self, files: &Arc<Desired>) {
        self.read = Arc::clone(files);
    }

    /// The records were read: so many models, with instances or not.
    pub fn recorded(&mut self, managed: usize) {
        self.managed = managed;
    }

    /// A server that was asked what it serves is ready by now.
    pub fn said(&mut self, ready: Option<&InstanceId>) {
        self.were_ready.extend(ready.cloned());
    }

    /// The machine was looked at.
    pub fn looked(&mut self, machine: &Machine, now: Timestamp) {
        self.alive = machine.servers.iter().map(|server| server.model.clone()).collect();
        let ready = machine.servers.iter().filter(|s| Machine::is_ready(s, now));
        self.ready = ready.map(|s| s.id.clone()).collect();
        for id in &self.ready {
            if !self.were_ready.contains(id) {
                self.were_ready.insert(id.clone());
            }
        }
        let asked = self.by_hand.values().filter_map(|all| Some(&all.restart.as_ref()?.instance));
        self.gone = asked.filter(|id| machine.servers.iter().all(|s| s.id != **id)).cloned().collect();
        let unread = machine.servers.iter().filter(|s| s.unreadable).map(|s| s.model.clone());
        self.unread = unread.collect();
        self.unreadable = machine.servers.iter().filter(|s| s.unreadable).map(|s| s.id.clone()).collect();
    }

    /// An instance was asked for requests in flight.
    pub fn asked(&mut self, id: &InstanceId, busy: Busy) {
        if matches!(busy, Busy::Yes(_)) {
            self.busy.insert(id.clone());
        }
    }

    /// The gateway is about to be asked to take instances out of rotation.
    pub fn withdraws(&mut self, instances: &[InstanceId]) {
        self.asked_to_withdraw.extend(instances.iter().cloned());
    }

    /// The clients were counted.
    pub fn demanded(&mut self, demand: Option<Demand>) {
        self.demand = demand;
    }

    /// A plan is about to be made.
    pub fn plans(&mut self, records: &Records, now: Timestamp) {
        self.by_hand = records.overrides.iter().map(|(name, all)| (name.clone(), all.in_force(now))).collect();
        // Who stops a model ends its wait after a crash.
        let by_hand = |model: &ModelName| self.by_hand.get(model).and_then(|all| Some(all.state.as_ref()?.state));
        let declared = |model: &ModelName| self.read.definitions.get(model).map(|definition| definition.state);
        self.starts.retain(|model, _| by_hand(model).or_else(|| declared(model)) != Some(DesiredState::Stopped));
    }

    fn is_suspended(&self, model: &ModelName) -> bool {
        self.by_hand.get(model).is_some_and(|all| all.suspended.is_some())
    }

    /// A llama-server was asked for.
    pub fn learns(&mut self, declared: &Option<String>, identity: Option<BinaryIdentity>) {
        self.binaries.insert(declared.clone(), identity);
    }

    /// Something else than herdsman started a server of a model: what replaces
    /// it has no crash to wait for.
    pub fn forget_start(&mut self, model: &ModelName) {
        self.starts.remove(model);
    }

    /// A reboot is no crash, and `down` forgives them.
    pub fn forget_starts(&mut self) {
        self.starts.clear();
    }

    /// What was remembered of time means nothing after the clock was set, and
    /// what was recorded is gone with the database.
    pub fn forget_times(&mut self) {
        self.starts.clear();
        self.draining.clear();
        self.withdrawn_at.clear();
    }
}

/// The model whose record a change writes; not for what was only seen of it.
const fn touched(change: &Change) -> Option<&ModelName> {
    match change {
        Change::CreateModel { config, .. } | Change::UpdateModel { config } => Some(&config.name),
        Change::AddGeneration(new) => Some(&new.model),
        Change::DeleteModel { model } => Some(model),
        _ => None,
    }
}

impl World {
    /// Checks a transaction before it is made, and remembers it.
    pub(super) fn check_changes(&mut self, changes: &[Change]) {
        for change in changes {
            self.check_change(change);
            if let Change::DeleteModel { model } = change {
                // One of that name is another model.
                self.promises.starts.remove(model);
            }
            let Change::PutInstance(record) = change else { continue };
            match record.state {
                InstanceState::Draining { .. } | InstanceState::Stopping => {
                    self.promises.draining.entry(record.id.clone()).or_insert(self.now);
                }
                InstanceState::Loading | InstanceState::Ready => {
                    let start = self.promises.starts.get_mut(&record.model).filter(|start| start.id == record.id);
                    start.into_iter().for_each(|start| start.recorded = true);
                }
                InstanceState::Intent => {}
            }
        }
    }

    fn check_change(&mut self, change: &Change) {
        let really_ready = |model: &ModelName, hash: Option<&SpecHash>| {
            let of = self.machine.servers.iter().filter(|s| s.model == *model && hash.is_none_or(|h| s.spec == *h));
            // It may have died since the look.
            of.count() == 0 || self.machine.of(model.as_str()).iter().any(|s| self.promises.were_ready.contains(&s.id))
        };
        if let Some(model) = touched(change) {
            let suspended = self.promises.is_suspended(model);
            assert!(!suspended, "promise broken: {model} is suspended and its record changed: {change:?}");
        }
        match change {
            Change::RemoveInstance(id) => {
                let lives = self.machine.servers.iter().any(|s| s.id == *id);
                assert!(!lives, "promise broken: instance {id} is forgotten and lives");
                let left = self.machine.leftovers.iter().find(|leftover| leftover.id == *id);
                assert!(left.is_none(), "promise broken: instance {id} is forgotten before what it left: {left:?}");
            }
            Change::DeleteModel { model } => self.check_deletion(model),
            Change::EndOverride { model, kind: OverrideKind::State } => {
                assert!(
                    self.loads > 0,
                    "promise broken: {model} is no longer as somebody wants it, and nobody read why"
                );
            }
            Change::CreateModel { config, adopt_row: Some(row) } => {
                let name = self.store.rows().get(row).map(|row| row.name.as_str());
                assert!(name.is_none_or(|name| name == config.name.as_str()), "promise broken: takes another's row");
            }
            Change::SetGenerationOutcome { model, number, outcome: GenerationOutcome::Ready } => {
                let hash = self.store.generation_hash(model, *number);
                let ready = really_ready(model, hash.as_ref());
                assert!(ready, "promise broken: generation {number} of {model} counts as ready and never was");
            }
            Change::SetGenerationOutcome { model, number, outcome: GenerationOutcome::Pending } => {
                self.check_revival(model, *number);
            }
            Change::SetStatus { model, status: Status::Running, .. } => {
                assert!(really_ready(model, None), "promise broken: {model} is called running and is not ready");
            }
            _ => {}
        }
    }

    fn check_deletion(&mut self, model: &ModelName) {
        assert!(self.machine.of(model.as_str()).is_empty(), "promise broken: {model} is deleted and lives");
        let read = &self.promises.read;
        assert!(!read.definitions.contains_key(model), "promise broken: {model} is deleted and defined");
        let unresolved = self.unresolved(model).is_some();
        assert!(!unresolved, "promise broken: {model} is deleted and its file cannot be read");
        let recorded = self.store.sources();
        let unknown = read.unresolved.iter().find(|u| !recorded.contains(&*u.path));
        assert!(unknown.is_none(), "promise broken: {model} is deleted although {unknown:?} may be its file");
        self.promises.deleted += 1;
        if self.limits.max_deletes.is_none() {
            let (deleted, managed) = (self.promises.deleted, self.promises.managed);
            let too_many = managed >= 2 && deleted >= managed || managed >= 4 && 2 * deleted > managed;
            assert!(!too_many, "promise broken: {deleted} of {managed} models are deleted in one pass");
        }
    }

    fn check_revival(&self, model: &ModelName, number: u32) {
        let Some((outcome, accepted_by)) = self.store.generation_state(model, number) else { return };
        let declared = self.promises.read.definitions.get(model).map(|d| d.spec.binary.clone()).unwrap_or_default();
        let other = self.promises.binaries.get(&declared).is_none_or(|now| *now != accepted_by);
        let failed = matches!(outcome, GenerationOutcome::Failed(_));
        assert!(!failed || other || self.limits.retry, "promise broken: {model} is tried again as it failed");
    }

    /// The problem of the file a model was recorded from, or of the one that
    /// declares its name, as of the last reading.
    fn unresolved(&self, model: &ModelName) -> Option<&Unresolved> {
        let read = &self.promises.read;
        let source = self.store.source(model);
        let by_name =
            |u: &&Unresolved| u.name.as_ref() == Some(model) && !read.definitions.contains_key::<ModelName>(model);
        read.unresolved.iter().find(|u| source == Some(&*u.path) || by_name(u))
    }

    /// Checks a start before it happens, and remembers it.
    pub(super) fn check_spawn(&mut self, launch: &Launch) {
        let model = &launch.model;
        assert!(!self.promises.is_suspended(model), "promise broken: {model} is suspended and started");
        let wanted = self.wanted(model);
        assert!(wanted != Some(DesiredState::Stopped), "promise broken: {model} is not to run and started");
        self.check_demand_of(model, wanted);
        self.check_room_for(model, wanted);
        let others = self.machine.of(model.as_str());
        assert!(others.is_empty(), "promise broken: a second instance of {model}: {others:?}");
        let left = self.machine.leftovers.iter().find(|leftover| leftover.model == *model);
        assert!(left.is_none(), "promise broken: {model} is started beside what is left of it: {left:?}");
        let Some(intent) = self.store.instance(&launch.id).filter(|i| i.state == InstanceState::Intent) else {
            panic!("promise broken: {model} starts unrecorded");
        };
        // The clock may have been set since the intent was recorded.
        let (generation, port, at) = (intent.generation, intent.port, intent.started_at.min(self.now));
        let failed = matches!(self.store.generation_state(model, generation), Some((GenerationOutcome::Failed(_), _)));
        assert!(!failed, "promise broken: generation {generation} of {model} failed and is started as it is");
        if let Some(last) = self.promises.starts.get(model)
            && (last.generation, &last.spec, last.port) == (generation, &launch.spec, port)
            && last.recorded
            && self.machine.death(&last.id).is_some()
            && !self.promises.draining.contains_key(&last.id)
            && !self.limits.retry
        {
            let after = self.now.since(last.at);
            assert!(after >= BACKOFF, "promise broken: {model} crashed and is started again after {after:?}");
        }
        if let Some((last, gateway)) = self.promises.starts.get(model).zip(self.gateway.as_ref()) {
            let is_routed = last.port == port
                && gateway.rotation.contains(&last.id)
                && !self.promises.asked_to_withdraw.contains(&last.id);
            assert!(!is_routed, "promise broken: {model} loads where requests still go, to its dead {:?}", last.id);
        }
        let (id, spec) = (launch.id.clone(), launch.spec.clone());
        let start = Start { id, generation, spec, port, at, recorded: false };
        self.promises.starts.insert(model.clone(), start);
    }

    /// Checks a stop before it happens.
    pub(super) fn check_stop(&self, target: &StopTarget) {
        let model = &target.model;
        let state = self.store.instance(&target.id).map(|i| i.state);
        let recorded = matches!(state, None | Some(InstanceState::Stopping));
        assert!(recorded, "promise broken: {model} is stopped while recorded as {state:?}");
        assert!(!self.promises.is_suspended(model), "promise broken: {model} is suspended and stopped");
        let Some(server) = self.machine.servers.iter().find(|s| s.id == target.id) else { return };
        self.check_rotation(server);
        let unknown = self.promises.unreadable.contains(&target.id);
        assert!(!unknown, "promise broken: {model} is unknown and stopped");
        let only = self.machine.of(model.as_str()).len() == 1;
        let serves = only && !server.silent && self.promises.ready.contains(&target.id);
        let begun = self.promises.ending.contains(&target.id);
        let removed = self.is_down();
        let by_hand = self.promises.by_hand.get(model).and_then(|all| all.state.as_ref());
        let is_excused = removed || by_hand.is_some_and(|by_hand| by_hand.state == DesiredState::Stopped);
        let broken = self.unresolved(model).filter(|_| serves && !begun && !is_excused);
        assert!(broken.is_none(), "promise broken: {model} is stopped and its file cannot be read: {broken:?}");
        if serves && !begun && !removed && self.is_wanted(server) {
            let asked = self.promises.by_hand.get(model).and_then(|all| all.restart.as_ref());
            let is_it = asked.is_some_and(|asked| asked.instance == server.id);
            assert!(is_it, "promise broken: {model} is as it should be and stopped: {asked:?}");
        }
        if serves && self.promises.busy.contains(&target.id) {
            let since = self.promises.draining.get(&target.id).copied();
            let drained = since.is_some_and(|since| self.now.since(since) >= DRAIN);
            assert!(drained, "promise broken: {model} is stopped in the midst of requests, draining since {since:?}");
        }
    }

    /// The state a model is to have, by its definition as last read and what
    /// was asked for by hand; `None`: nobody can tell.
    pub(super) fn wanted(&self, model: &ModelName) -> Option<DesiredState> {
        // A pass that reads no files goes by what was read before, or by the records.
        let readable = self.loads > 0 && self.unresolved(model).is_none();
        let definition = self.promises.read.definitions.get(model).filter(|_| readable)?;
        let by_hand = self.promises.by_hand.get(model).and_then(|all| all.state_instead(definition));
        Some(by_hand.map_or(definition.state, |by_hand| by_hand.state))
    }

    /// Whether a ready server is what is wanted, and nothing about it has changed.
    fn is_wanted(&self, server: &Server) -> bool {
        let model = &server.model;
        let Some(definition) = self.promises.read.definitions.get(model) else { return false };
        let port = self.store.records().models.get(model).and_then(|record| record.port).map(|port| port.port);
        self.wanted(model) == Some(DesiredState::Running)
            && server.port == port
            && definition.is_served_as(&server.spec, port)
            && server.weights.as_ref().is_none_or(|weights| definition.spec.files.contains_key(weights.as_str()))
            && !self.limits.upgrade_binary
            && !definition.ready.require_gpu
    }

    /// A pass came to its end: a restart whose server was gone before is over.
    pub(super) fn check_forgotten(&self, planned_for: &BTreeSet<ModelName>) {
        for (model, all) in &self.promises.by_hand {
            let Some(asked) = &all.restart else { continue };
            let gone = self.promises.gone.contains(&asked.instance);
            let looked_at = planned_for.is_empty() || planned_for.contains(model);
            let forgotten = self.store.overrides(model).restart.as_ref() != Some(asked);
            let free = all.suspended.is_none() && looked_at && !self.promises.unread.contains(model);
            assert!(!gone || forgotten || !free, "promise broken: the restart of {asked:?} is not forgotten");
        }
    }

    /// Checks that rows of other programs are as they were.
    pub(super) fn check_rows(&self, before: &BTreeMap<i64, SharedRow>) {
        for (id, row) in before {
            let kept = self.store.rows().get(id) == Some(row) || self.store.is_managed(*id);
            assert!(kept, "promise broken: row {id} ({}) of another program is changed", row.name);
        }
    }
}
