//! The plan: what to do so that definitions, records and instances agree.
//!
//! [`plan`] is a pure function. It settles what became of the recorded instances
//! (`settle`), decides what each model needs (`decide`), then applies limits, ports
//! and the guard across models (`schedule`). If it needs to know more, it returns
//! [`Question`]s; the caller answers them and plans again. A finished [`Plan`] is a
//! list of steps and leaves nothing to decide.

mod action;
mod approved;
mod backoff;
mod by_hand;
mod decide;
mod definition_diff;
mod download;
mod guard;
mod input;
mod launch;
mod port_choice;
mod proof;
mod provenance;
mod reason;
mod request;
mod schedule;
mod settle;
mod waiting;
mod wanted;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub use action::{Action, ActionKind, Finding, Found, GuardRefusal, Plan, Step, Waiting};
pub use approved::{Approved, Task};
pub use backoff::RECOVERED_AFTER;
pub use definition_diff::compare;
pub use input::{Answers, Binary, Input, Limits, MaxDeletes, Objection, Question, Site};
pub use reason::{Impact, Reason};
pub use request::{Command, Known, Refusal, request};
pub use waiting::{WaitFor, WaitKind};
pub use wanted::is_recorded_as;

use crate::model::{
    Change, Definition, Handle, Health, Instance, Leftover, ModelName, ModelRecord, PortRecord, SpecHash, Unresolved,
};
use crate::sys::parallel::shares;
use by_hand::ByHand;
use decide::{Decision, Situation};
use port_choice::PortChoices;
use wanted::Wanted;

/// Makes the plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    Planner::default().plan(input)
}

/// Makes a plan in rounds: it decides again only for the models whose questions have
/// been answered since, or whose port is another one by what was answered.
#[derive(Debug, Default)]
pub struct Planner {
    /// The ports and decisions of the round before.
    before: Option<(PortChoices, Decisions)>,
}

/// What each model needs, by name, and how many need nothing.
#[derive(Clone, Debug, Default)]
struct Decisions {
    needs: Vec<(ModelName, Decision)>,
    matching: usize,
    /// What requests would wait for, also of those that need nothing.
    on_request: Vec<Waiting>,
}

impl Decisions {
    fn add(&mut self, other: Self) {
        let Self { mut needs, matching, mut on_request } = other;
        self.needs.append(&mut needs);
        self.matching += matching;
        self.on_request.append(&mut on_request);
    }
}

impl Planner {
    /// Plans the next round. Its input may differ from the last only in the answers.
    #[must_use]
    pub fn plan(&mut self, input: &Input<'_>) -> Plan {
        let world = World::new(input);
        let decisions = match self.before.take() {
            Some((ports, before)) => world.decide_again(&ports, before),
            None => world.decisions(),
        };
        let mut plan = world.plan(decisions.clone());
        self.before = Some((world.ports, decisions));
        // Commits are only worth a look for actions that will happen.
        if input.acts && plan.questions.is_empty() {
            provenance::add(input, &mut plan);
        }
        plan
    }
}

/// From so many models on, threads cost less than they save.
const MANY: usize = 1000;

/// The input, indexed by model.
struct World<'a> {
    input: &'a Input<'a>,
    ports: PortChoices,
    live: BTreeMap<&'a ModelName, Vec<&'a Instance>>,
    leftovers: BTreeMap<&'a ModelName, Vec<&'a Leftover>>,
    unresolved: BTreeMap<&'a ModelName, &'a Unresolved>,
    deletions_blocked: Option<&'a Unresolved>,
    rows: BTreeMap<&'a str, Vec<i64>>,
}

impl<'a> World<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let mut live: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for instance in &input.observed.instances {
            live.entry(&instance.model).or_default().push(instance);
        }
        let mut leftovers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for leftover in &input.observed.leftovers {
            leftovers.entry(&leftover.model).or_default().push(leftover);
        }
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in &input.records.unmanaged {
            rows.entry(row.name.as_str()).or_default().push(row.id);
        }
        rows.values_mut().for_each(|ids| ids.sort_unstable());
        let mut world = Self {
            ports: PortChoices::new(),
            input,
            live,
            leftovers,
            unresolved: BTreeMap::new(),
            deletions_blocked: None,
            rows,
        };
        world.protect_unresolved();
        world.ports = port_choice::assign(input, |name, record| world.settled_port(name, record));
        world
    }

    fn settled_port(&self, name: &'a ModelName, record: &'a ModelRecord) -> Option<PortRecord> {
        let live = self.live.get(name).map_or(&[][..], Vec::as_slice);
        settle::settled_port(self.input, name, self.definition(name), record, live)
    }

    /// The definition of a model, unless the file that stands for it cannot be used.
    fn definition(&self, name: &ModelName) -> Option<&'a Definition> {
        let desired = self.input.desired.filter(|_| !self.unresolved.contains_key(name))?;
        desired.definitions.get(name).map(|definition| &**definition)
    }

    /// A file that cannot be used stands for the model recorded from its path
    /// and for the one of its name. A file that nothing was recorded from may
    /// be any model's renamed definition: it blocks every deletion.
    fn protect_unresolved(&mut self) {
        let input = self.input;
        let Some(desired) = input.desired.filter(|d| !d.unresolved.is_empty()) else { return };
        let sources = input.records.by_source();
        for unresolved in &desired.unresolved {
            let recorded = sources.get(&*unresolved.path).copied();
            // A file that only waits for its llama-server is known to define its
            // own model.
            if recorded.is_none() && unresolved.llama_server.is_none() {
                self.deletions_blocked.get_or_insert(unresolved);
            }
            for name in desired.stands_for(unresolved, recorded) {
                if Some(name) == recorded {
                    self.unresolved.insert(name, unresolved);
                } else {
                    self.unresolved.entry(name).or_insert(unresolved);
                }
            }
        }
    }

    /// Makes one plan of the decisions.
    fn plan(&self, decisions: Decisions) -> Plan {
        let input = self.input;
        let room = schedule::make_room(input, &self.ports, &decisions.needs);
        let decisions = room.evictions.into_iter().fold(decisions, |all, (name, why)| self.evict(all, &name, why));
        let mut plan = schedule::schedule(input, &self.ports, room.clearances, decisions.needs);
        plan.questions.extend(room.questions);
        plan.matching += decisions.matching;
        plan.on_request = decisions.on_request;
        plan.on_request.sort_by(|a, b| a.model.cmp(&b.model));
        if let Some(approved) = &input.limits.approved {
            plan.actions.retain(|action| approved.permits(action));
        }
        let taken: Vec<i64> = plan.actions.iter().flat_map(|a| &a.reasons).filter_map(Reason::taken_row).collect();
        plan.unmanaged.retain(|row| !taken.contains(&row.id));
        plan.bookkeeping.extend(self.dead_orphans());
        plan.bookkeeping.extend(port_choice::released(input, &plan));
        plan
    }

    /// Decides again for a model that has to stop, whatever was decided before.
    fn evict(&self, mut decisions: Decisions, name: &ModelName, why: Reason) -> Decisions {
        let Some((name, _)) = self.live.get_key_value(name) else { return decisions };
        let situation = Situation { makes_room: Some(why), ..self.situation(name) };
        let decision = decide::decide(self.input, situation);
        match decisions.needs.binary_search_by(|(other, _)| other.cmp(name)) {
            Ok(at) => decisions.needs[at].1 = decision,
            Err(at) => {
                // It was counted as matching.
                decisions.matching = decisions.matching.saturating_sub(1);
                decisions.needs.insert(at, ((*name).clone(), decision));
            }
        }
        decisions
    }

    /// Decides again for the models that asked something, and for those that had
    /// other ports.
    fn decide_again(&self, ports: &PortChoices, before: Decisions) -> Decisions {
        let stays = |name: &ModelName| ports.get(name) == self.ports.get(name);
        let is_final = |(name, decision): &(ModelName, Decision)| decision.questions.is_empty() && stays(name);
        let Decisions { needs, matching, mut on_request } = before;
        let decided: BTreeSet<ModelName> = needs.iter().map(|(name, _)| name.clone()).collect();
        let (needs, again): (Vec<_>, Vec<_>) = needs.into_iter().partition(is_final);
        // A model that matched is among the decided only once its port has changed.
        let matched = self.ports.keys().filter(|name| !stays(name) && !decided.contains(*name));
        let matched: Vec<&ModelName> = matched.filter(|name| self.input.targets(name)).collect();
        let matching = matching.saturating_sub(matched.len());
        let again: BTreeSet<&ModelName> = again.iter().map(|(name, _)| name).chain(matched).collect();
        on_request.retain(|waiting| !again.contains(&waiting.model));
        let mut decisions = Decisions { needs, matching, on_request };
        decisions.add(self.decide(&again.into_iter().collect::<Vec<_>>()));
        decisions.needs.sort_by(|(one, _), (other, _)| one.cmp(other));
        decisions
    }

    /// What every model needs; models that match their definitions are only counted.
    fn decisions(&self) -> Decisions {
        let names: Vec<_> = self.names().into_iter().filter(|name| self.input.targets(name)).collect();
        let shares = shares(&names, MANY, |names| self.decide(names));
        let mut decisions = Decisions::default();
        shares.into_iter().for_each(|share| decisions.add(share));
        decisions
    }

    fn decide(&self, names: &[&ModelName]) -> Decisions {
        let mut decisions = Decisions::default();
        for name in names {
            let mut decision = match by_hand::suspended(self.input, name) {
                Some(suspended) => decide::hold_still(self.input, self.situation(name), suspended),
                None => decide::decide(self.input, self.situation(name)),
            };
            // Not before it is decided for good.
            if decision.questions.is_empty() {
                let waiting = |on| Waiting { model: (*name).clone(), on, reasons: Vec::new() };
                decisions.on_request.extend(decision.on_request.drain(..).map(waiting));
            }
            if !decision.is_empty() {
                decisions.needs.push(((*name).clone(), decision));
            } else if self.input.desired.is_some_and(|d| d.definitions.contains_key(*name)) {
                decisions.matching += 1;
            }
        }
        decisions
    }

    /// Every model that a definition, record, instance or override names, in order.
    fn names(&self) -> Vec<&'a ModelName> {
        let defined = self.input.desired.into_iter().flat_map(|d| d.definitions.keys());
        let recorded = self.input.records.models.keys();
        let others = self.live.keys().chain(self.leftovers.keys()).chain(self.unresolved.keys()).copied();
        let others = others.chain(self.input.records.overrides.keys());
        let mut names: Vec<_> = defined.chain(recorded).chain(others).collect();
        names.sort();
        names.dedup();
        names
    }

    fn situation(&self, name: &'a ModelName) -> Situation<'a> {
        let record = self.input.records.models.get(name);
        let unresolved = self.unresolved.get(name).copied();
        let port = self.ports.get(name);
        let mut live = self.live.get(name).cloned().unwrap_or_default();
        let wanted = self.wanted(name, record, unresolved, &live);
        live.sort_by(|a, b| {
            let of = |instance| preference(instance, wanted.as_ref().map(|w| &w.hash), record);
            of(a).cmp(&of(b))
        });
        // An unreadable file sets no timeouts.
        let definition = self.definition(name);
        let settled = record.map(|record| settle::settle(self.input, name, definition, record, &live));
        let by_hand = ByHand::of(self.input, name, definition, unresolved.is_some());
        Situation {
            name,
            settled,
            wanted,
            unresolved,
            port: port.cloned(),
            by_hand,
            makes_room: None,
            live,
            leftovers: self.leftovers.get(name).cloned().unwrap_or_default(),
            rows: self.rows.get(name.as_str()).cloned().unwrap_or_default(),
            deletions_blocked: self.deletions_blocked,
        }
    }

    fn wanted(
        &self,
        name: &ModelName,
        record: Option<&'a ModelRecord>,
        unresolved: Option<&'a Unresolved>,
        live: &[&Instance],
    ) -> Option<Wanted<'a>> {
        match (unresolved, self.input.desired?.definitions.get(name)) {
            // The model recorded from a broken file keeps that record, even if
            // another file now claims its name.
            (Some(unresolved), _) => Wanted::recorded(record?, unresolved.file.clone()),
            (None, Some(definition)) => Some(Wanted::of(definition, self.ports.get(name), record, live)),
            (None, None) => None,
        }
    }

    /// Removes the records of instances that are gone and whose model has no record.
    fn dead_orphans(&self) -> impl Iterator<Item = Change> {
        let observed = self.input.observed;
        self.input
            .records
            .orphans
            .iter()
            .filter(|orphan| {
                by_hand::suspended(self.input, &orphan.model).is_none()
                    && !observed.unknown.contains(&orphan.id)
                    && observed.instances.iter().all(|i| i.id != orphan.id)
                    && observed.leftovers.iter().all(|leftover| leftover.id != orphan.id)
            })
            .map(|orphan| Change::RemoveInstance(orphan.id.clone()))
    }
}

/// Ranks the instances of one model: keep one that is not stopping, then one with the
/// wanted spec, ready, on the recorded port, and finally the oldest.
fn preference<'i>(
    instance: &'i Instance,
    wanted: Option<&SpecHash>,
    record: Option<&ModelRecord>,
) -> (bool, Reverse<bool>, Reverse<bool>, Reverse<bool>, crate::model::Timestamp, &'i Handle) {
    let recorded = record.and_then(|r| r.instances.iter().find(|i| i.id == instance.id));
    (
        recorded.is_some_and(|r| r.state == crate::model::InstanceState::Stopping),
        Reverse(wanted == Some(&instance.spec)),
        Reverse(instance.health == Health::Ready),
        Reverse(instance.address.port.is_some() && instance.address.port == record.and_then(|r| Some(r.port?.port))),
        instance.started_at,
        &instance.handle,
    )
}
