//! What must be free before a model starts, besides its port: room in its groups.
//!
//! Those that start are served in turn: first what is to run, then what was asked for
//! first. Each needs room in every group it is in. In a full one, members stop for it
//! that run on demand and may be evicted; the rest is in this order:
//!
//! 1. one that is stopping already,
//! 2. one that nobody uses: the lowest `priority`, then the one unused for longest,
//! 3. once the oldest request has waited for `[serve] max_wait` (at once for what is to
//!    run), a busy one in the same order, if it has been ready for as long: what was
//!    started for a request has time to answer it.
//!
//! A file that cannot be used does not say which groups its model is in: if that is to
//! run, it starts as if it were in none, and if it runs on demand it needs room in those
//! that it was recorded in.
//!
//! Whoever has to wait keeps its place: what is asked for later does not take the room
//! that it waits for. It keeps none if nobody can ever make room for it.

mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::decide::{Decision, StartWish, Wish};
use super::super::input::{Input, Question};
use super::super::port_choice::PortChoice;
use super::super::reason::Reason;
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::port_holders::{holders, leased};
use crate::model::{Definition, Desired, DesiredState, InstanceId, Listener, ModelName, ModelRecord, Timestamp};
use members::{Member, Use, member};

/// Who stops, and who waits for that.
#[derive(Debug, Default)]
pub struct Room {
    /// Models that stop so that others can start, each with the reason.
    pub evictions: BTreeMap<ModelName, Reason>,
    /// What starts wait for.
    pub clearances: BTreeMap<ModelName, Clearance>,
    /// What must be known to choose.
    pub questions: Vec<Question>,
}

/// What must be free before a start.
#[derive(Clone, Debug)]
pub struct Clearance {
    /// Instances that must be gone. `None`: it is not known yet which.
    pub after: Option<Vec<InstanceId>>,
    /// What the start waits for until then.
    pub wait: WaitFor,
}

/// Makes room for every start among `decisions`.
pub fn make_room(
    input: &Input<'_>,
    ports: &BTreeMap<ModelName, PortChoice>,
    decisions: &[(ModelName, Decision)],
) -> Room {
    let Some(desired) = input.desired.filter(|desired| !desired.groups.is_empty()) else { return Room::default() };
    let restarts = |(_, decision): &&(ModelName, Decision)| matches!(decision.wish, Wish::Restart(..));
    let restarting = decisions.iter().filter(restarts).map(|(name, _)| name).collect();
    let (leaving, claims, room) = (leaving(decisions), BTreeMap::new(), Room::default());
    let mut rooms = Rooms { input, claims, restarting, leaving, room };
    let stand_ins = stand_ins(input, desired, decisions);
    let definition = |name| desired.definitions.get(name).map(|is| &**is).or_else(|| stand_ins.get(name));
    let mut starters: Vec<Starter<'_>> =
        decisions.iter().filter_map(|(name, decision)| Starter::of(input, definition(name)?, decision)).collect();
    for starter in &mut starters {
        starter.has_port = starter.has_port(input, ports, &rooms.leaving);
    }
    // Nobody stops, or waits, for what cannot start.
    starters.sort_by_key(|starter| (!starter.has_port, starter.since, &starter.definition.name));
    starters.iter().for_each(|starter| rooms.clear(starter));
    rooms.room
}

/// What the records say of on-demand models that start although their file cannot be
/// used.
fn stand_ins(
    input: &Input<'_>,
    desired: &Desired,
    decisions: &[(ModelName, Decision)],
) -> BTreeMap<ModelName, Definition> {
    let starts = |(name, decision): &&(ModelName, Decision)| {
        matches!(decision.wish, Wish::Start(_)) && !desired.definitions.contains_key(name)
    };
    let recorded = |(name, _): &(ModelName, Decision)| {
        let record = input.records.models.get(name).filter(|record| record.state == DesiredState::OnDemand)?;
        let wanted = Wanted::recorded(record, record.source.as_str().into())?;
        Some((name.clone(), wanted.definition.into_owned()))
    };
    decisions.iter().filter(starts).filter_map(recorded).collect()
}

/// The models whose instance stops in any case.
fn leaving(decisions: &[(ModelName, Decision)]) -> BTreeSet<ModelName> {
    let leaves = |decision: &Decision| matches!(decision.wish, Wish::Stop(_) | Wish::Delete(Some(_)));
    decisions.iter().filter(|(_, decision)| leaves(decision)).map(|(name, _)| name.clone()).collect()
}

/// A model that is to start.
struct Starter<'a> {
    definition: &'a Definition,
    start: &'a StartWish,
    /// Since when its oldest request waits; `None`: it is to run, whoever asks.
    since: Option<Timestamp>,
    /// Its record exists: a first one is made whether it can start or not.
    may_evict: bool,
    has_port: bool,
}

impl<'a> Starter<'a> {
    fn of(input: &Input<'_>, definition: &'a Definition, decision: &'a Decision) -> Option<Self> {
        let (start, may_evict) = match &decision.wish {
            Wish::Start(start) => (start, true),
            Wish::Create(Some(start)) => (start, false),
            _ => return None,
        };
        let waits_since = || input.traffic(&definition.name).and_then(|traffic| traffic.waiting_since);
        let since = match input.records.wanted_state(definition) {
            DesiredState::OnDemand => Some(waits_since().unwrap_or(input.now)),
            DesiredState::Running | DesiredState::Stopped => None,
        };
        Some(Self { definition, start, since, may_evict, has_port: true })
    }

    /// Whether its port is free, or about to be.
    fn has_port(
        &self,
        input: &Input<'_>,
        ports: &BTreeMap<ModelName, PortChoice>,
        leaving: &BTreeSet<ModelName>,
    ) -> bool {
        let Some(port) = leased(ports, &self.definition.name, self.start) else { return true };
        match holders(input.observed).get(&port) {
            Some((_, holder)) => leaving.contains(holder),
            None => !matches!(input.observed.listeners.get(&port), Some(Listener::Stranger)),
        }
    }

    /// When busy members give way to it.
    fn deadline(&self, input: &Input<'_>) -> Timestamp {
        self.since.map_or(input.now, |since| since.plus(max_wait(input)))
    }
}

fn max_wait(input: &Input<'_>) -> Duration {
    Duration::from_millis(input.demand.map_or(0, |demand| demand.max_wait_ms))
}

struct Rooms<'a> {
    input: &'a Input<'a>,
    /// Models that start or wait, by the group that they need room in.
    claims: BTreeMap<Arc<str>, Vec<Claim>>,
    /// Models whose drain is for a restart.
    restarting: BTreeSet<&'a ModelName>,
    leaving: BTreeSet<ModelName>,
    room: Room,
}

/// The room of a model that is about to start.
struct Claim {
    model: ModelName,
    /// It will never give way.
    stays: bool,
}

/// What one group has for a starter.
enum Found {
    /// Room, now.
    Free,
    /// Room, once these are gone.
    After(Vec<ModelName>),
    /// None yet.
    Wait { busy: Vec<ModelName>, deadline: Option<Timestamp> },
    /// None, ever.
    Never(Vec<ModelName>),
}

impl<'a> Rooms<'a> {
    /// Finds room for one starter in all of its groups, or none in any.
    fn clear(&mut self, starter: &Starter<'a>) {
        let name = &starter.definition.name;
        let groups: Vec<(Arc<str>, usize)> = self.groups(starter.definition);
        let mut victims: BTreeMap<ModelName, Arc<str>> = BTreeMap::new();
        let (mut after, mut wait) = (BTreeSet::new(), None);
        for (group, max) in &groups {
            match self.find(starter, group, *max, &victims) {
                Found::Free => {}
                Found::After(members) => {
                    let stays = |member: &&ModelName| !self.leaving.contains::<ModelName>(member);
                    victims.extend(members.iter().filter(stays).map(|member| (member.clone(), Arc::clone(group))));
                    let wait_for_them =
                        WaitFor::Room { group: group.to_string(), busy: members.clone(), deadline: None };
                    wait.get_or_insert(wait_for_them);
                    after.extend(members);
                }
                Found::Wait { busy, deadline } => {
                    self.claim(starter, &groups);
                    let wait = WaitFor::Room { group: group.to_string(), busy, deadline };
                    self.room.clearances.insert(name.clone(), Clearance { after: None, wait });
                    return;
                }
                Found::Never(holders) => {
                    let wait = WaitFor::NoRoom { group: group.to_string(), holders };
                    self.room.clearances.insert(name.clone(), Clearance { after: None, wait });
                    return;
                }
            }
        }
        self.claim(starter, &groups);
        for (member, group) in victims {
            let reason = Reason::MakesRoom { model: name.clone(), group: group.to_string() };
            self.leaving.insert(member.clone());
            self.room.evictions.insert(member, reason);
        }
        if let Some(wait) = wait {
            let instances = &self.input.observed.instances;
            let gone = instances.iter().filter(|live| after.contains(&live.model)).map(|live| live.id.clone());
            self.room.clearances.insert(name.clone(), Clearance { after: Some(gone.collect()), wait });
        }
    }

    /// The groups of a model that are declared, and how many run in each.
    fn groups(&self, definition: &Definition) -> Vec<(Arc<str>, usize)> {
        let declared = self.input.desired.map(|desired| &desired.groups);
        let max = |name: &Arc<str>| Some((Arc::clone(name), declared?.get(name)?.max_running));
        definition.placement.groups.iter().filter_map(max).collect()
    }

    fn claim(&mut self, starter: &Starter<'_>, groups: &[(Arc<str>, usize)]) {
        let stays = members::stays(self.input, starter.definition);
        for (group, _) in groups {
            let claim = Claim { model: starter.definition.name.clone(), stays };
            self.claims.entry(Arc::clone(group)).or_default().push(claim);
        }
    }

    /// Looks for room in one group. `victims` stop for this starter in another.
    fn find(
        &mut self,
        starter: &Starter<'_>,
        group: &Arc<str>,
        max: usize,
        victims: &BTreeMap<ModelName, Arc<str>>,
    ) -> Found {
        let members: Vec<Member<'a>> = self.members(group);
        let claims = self.claims.get(group).map_or(&[][..], Vec::as_slice);
        let fixed = members.iter().filter(|member| member.stays).map(|member| member.name.clone());
        let fixed: Vec<ModelName> =
            fixed.chain(claims.iter().filter(|claim| claim.stays).map(|claim| claim.model.clone())).collect();
        if fixed.len() >= max {
            return Found::Never(fixed);
        }
        if members.len() + claims.len() < max {
            return Found::Free;
        }
        let leaves = |member: &&Member<'_>| self.leaving.contains(member.name) || victims.contains_key(member.name);
        let mut after: Vec<ModelName> = members.iter().filter(leaves).map(|member| member.name.clone()).collect();
        let mut missing = (members.len() - after.len() + claims.len() + 1).saturating_sub(max);
        let mut candidates: Vec<&Member<'_>> =
            members.iter().filter(|member| !member.stays && !leaves(member)).collect();
        candidates.sort_by_key(|member| member.order());
        let deadline = starter.deadline(self.input);
        let mut waits = Vec::new();
        for member in &candidates {
            let gives_way = match member.is_used() {
                Use::No => true,
                Use::Unknown(question) => {
                    self.room.questions.push(question);
                    false
                }
                Use::Until(time) => {
                    let until = time.map(|time| time.max(deadline));
                    waits.extend(until.filter(|until| *until > self.input.now));
                    until.is_some_and(|until| until <= self.input.now)
                }
            };
            if missing > 0 && gives_way && starter.may_evict && starter.has_port {
                after.push(member.name.clone());
                missing -= 1;
            }
        }
        if missing == 0 {
            return Found::After(after);
        }
        let busy = members.iter().filter(|member| !member.stays).map(|member| member.name.clone());
        let claimed = claims.iter().map(|claim| claim.model.clone());
        Found::Wait { busy: busy.chain(claimed).collect(), deadline: waits.into_iter().min() }
    }

    /// The members of a group that have an instance.
    fn members(&self, group: &Arc<str>) -> Vec<Member<'a>> {
        let definitions = self.input.desired.into_iter().flat_map(|desired| desired.definitions.values());
        let of_group = definitions.filter(|definition| definition.placement.groups.contains(group));
        let restarts = |name: &ModelName| self.restarting.contains(name);
        let defined = of_group.map(|definition| (&definition.name, Some(&**definition)));
        let all = defined.chain(self.without_definition(group).map(|name| (name, None)));
        all.filter_map(|(name, definition)| member(self.input, name, definition, restarts(name))).collect()
    }

    /// The models that were recorded in a group, and whose file cannot be used now.
    fn without_definition(&self, group: &Arc<str>) -> impl Iterator<Item = &'a ModelName> {
        let desired = self.input.desired.filter(|desired| !desired.unresolved.is_empty());
        let records = desired.into_iter().flat_map(|desired| {
            let models = self.input.records.models.iter();
            models.filter(|(name, _)| !desired.definitions.contains_key(*name))
        });
        let is_in = |record: &ModelRecord| record.config().is_ok_and(|config| config.groups.contains(group));
        records.filter(move |(_, record)| is_in(record)).map(|(name, _)| name)
    }
}
