//! The members of a group that have an instance, and whether they may give way.

use std::time::Duration;

use super::super::super::by_hand::suspended;
use super::super::super::input::{Input, Question};
use crate::model::{
    Busy, Definition, DesiredState, Evict, Instance, InstanceRecord, InstanceState, ModelName, Timestamp, Traffic,
};

/// A member that has an instance: one that loads, serves or drains.
pub(super) struct Member<'a> {
    pub name: &'a ModelName,
    /// It never gives way.
    pub stays: bool,
    priority: i32,
    /// Its recorded instance, if that lives.
    instance: Option<(&'a Instance, &'a InstanceRecord)>,
    /// Its drain is not for a restart: it was to stop before.
    was_leaving: bool,
    traffic: Traffic,
    busy: Option<Busy>,
    max_wait: Duration,
}

/// Whether somebody uses a member.
pub(super) enum Use {
    No,
    /// Its server must say so.
    Unknown(Question),
    /// It gives way at this time, to those that may wait no longer; `None`: not before
    /// it was ready.
    Until(Option<Timestamp>),
}

/// Whether a model never gives way: it is to run, or must not be evicted, or somebody
/// has suspended it. A pass about another model alone makes room for that, too.
pub(super) fn stays(input: &Input<'_>, definition: &Definition) -> bool {
    input.records.wanted_state(definition) == DesiredState::Running
        || definition.placement.evict == Evict::Never
        || suspended(input, &definition.name).is_some()
}

/// A member of a group, unless it has no instance. Without a definition that can be
/// used, it stays: nobody knows what is wanted of it.
/// `restarts`: its instance drains for another one, if it drains.
pub(super) fn member<'a>(
    input: &Input<'a>,
    name: &'a ModelName,
    definition: Option<&'a Definition>,
    restarts: bool,
) -> Option<Member<'a>> {
    let recorded = input.records.models.get(name).map_or(&[][..], |record| &record.instances);
    let live = input.observed.instances.iter().find(|live| live.model == *name);
    let is_unknown = recorded.iter().any(|recorded| input.observed.unknown.contains(&recorded.id));
    if live.is_none() && !is_unknown {
        return None;
    }
    // One that is yet to be adopted has nowhere to remember that it drains.
    let instance = live.and_then(|live| Some((live, recorded.iter().find(|recorded| recorded.id == live.id)?)));
    let drains = |recorded: &InstanceRecord| matches!(recorded.state, InstanceState::Draining { .. });
    Some(Member {
        name,
        was_leaving: !restarts && instance.is_some_and(|(_, recorded)| drains(recorded)),
        stays: definition.is_none_or(|definition| stays(input, definition)),
        priority: definition.map_or(0, |definition| definition.placement.priority),
        instance: instance.filter(|_| !is_unknown),
        traffic: input.traffic(name).unwrap_or_default(),
        busy: live.and_then(|live| input.answers.busy.get(&live.id).copied()),
        max_wait: super::max_wait(input),
    })
}

impl Member<'_> {
    /// Who gives way first.
    pub fn order(&self) -> (bool, i32, Option<Timestamp>, &ModelName) {
        (!self.was_leaving, self.priority, self.used(), self.name)
    }

    fn used(&self) -> Option<Timestamp> {
        self.traffic.last_used.max(self.ready())
    }

    /// When it was ready first.
    fn ready(&self) -> Option<Timestamp> {
        self.instance?.1.ready.map(|(first, _)| first)
    }

    /// Whether clients use it, through the gateway or through its own port.
    pub fn is_used(&self) -> Use {
        let Some((live, recorded)) = self.instance else { return Use::Until(None) };
        let is_ready = recorded.state == InstanceState::Ready;
        if self.was_leaving {
            return Use::No;
        }
        if !self.traffic.is_asked_for() {
            return match self.busy {
                _ if !is_ready => Use::No,
                None => Use::Unknown(Question::Busy(live.id.clone())),
                Some(Busy::Yes(_)) => Use::Until(self.had_its_time()),
                Some(Busy::No | Busy::Unknown) => Use::No,
            };
        }
        Use::Until(self.had_its_time().filter(|_| is_ready))
    }

    /// When it has had its time to answer what it was started for. A drain alone may be
    /// too short for that: two models would stop each other without an answer, for ever.
    fn had_its_time(&self) -> Option<Timestamp> {
        Some(self.ready()?.plus(self.max_wait))
    }
}
