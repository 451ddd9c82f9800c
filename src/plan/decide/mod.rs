//! Decides what one model needs, regardless of all others. `schedule` then limits
//! how many get it at once.
//!
//! | definition | instance | where |
//! |---|---|---|
//! | none | any | here: delete, or `down` |
//! | wanted running | lives | `keep_or_restart`: keep, restart, wait |
//! | wanted running | none | `start_or_wait`: start, back off, roll back |
//! | on demand | any | `on_demand`: as one of these, or stop until it is asked for |
//! | wanted stopped | any | here |
//! | any, suspended | any | `suspended`: nothing |

mod keep_or_restart;
mod on_demand;
mod start;
mod start_or_wait;
mod status_column;
mod suspended;
mod wish;

use std::time::Duration;

use super::by_hand::ByHand;
use super::input::{Input, Question};
use super::port_choice::PortChoice;
use super::reason::{Impact, Reason};
use super::settle::Settled;
use super::waiting::WaitFor;
use super::wanted::Wanted;
use crate::model::{
    Change, DesiredState, Handle, Health, Instance, InstanceRecord, InstanceState, Leftover, ModelName, ModelRecord,
    Served, StopTarget, Unresolved, UpdatePolicy,
};
pub use suspended::hold_still;
pub use wish::{Decision, Lease, StartWish, StopWish, Wish};
use wish::{is_routed, stop, target};

/// Everything known about one model.
#[derive(Debug)]
pub struct Situation<'a> {
    /// Its name.
    pub name: &'a ModelName,
    /// What is wanted; `None`: nothing any more.
    pub wanted: Option<Wanted<'a>>,
    /// Its definition's problem, if it has one.
    pub unresolved: Option<&'a Unresolved>,
    /// Where it may serve.
    pub port: Option<PortChoice>,
    /// Its record, brought up to what was observed; `None`: there is none.
    pub settled: Option<Settled<'a>>,
    /// What was asked for by hand.
    pub by_hand: ByHand<'a>,
    /// Its live instances, the one to keep first.
    pub live: Vec<&'a Instance>,
    /// What instances left that are gone.
    pub leftovers: Vec<&'a Leftover>,
    /// Rows of other programs with its name.
    pub rows: Vec<i64>,
    /// Why it has to stop although it may run.
    pub makes_room: Option<Reason>,
    /// Why nothing is deleted in this pass.
    pub deletions_blocked: Option<&'a Unresolved>,
}

/// Decides for one model.
pub fn decide(input: &Input<'_>, mut situation: Situation<'_>) -> Decision {
    let mut decision = Decision::default();
    decision.bookkeeping.extend(situation.by_hand.over(input, situation.name, &situation.live));
    if let Some(settled) = &mut situation.settled {
        decision.remains.append(&mut settled.remains);
        decision.bookkeeping.append(&mut settled.changes);
        decision.findings.append(&mut settled.findings);
        decision.questions.append(&mut settled.questions);
        if let Some(id) = &settled.unknown {
            let handle = settled.record.instances.iter().find(|i| i.id == *id).and_then(|i| i.handle.as_ref());
            decision.waits.push(WaitFor::UnknownProcess { pid: handle.map(Handle::pid) });
            return decision;
        }
    }
    if let Some(unresolved) = situation.unresolved {
        decision.waits.push(wait_for_file(unresolved));
    }
    Decider { input, s: &situation, d: &mut decision }.run();
    decision
}

fn wait_for_file(unresolved: &Unresolved) -> WaitFor {
    match &unresolved.llama_server {
        Some(unusable) => WaitFor::binary(unusable),
        None => WaitFor::Definition { file: unresolved.file.to_string(), problem: unresolved.problem.clone() },
    }
}

/// Whether the port to serve on is recorded with the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Recorded,
    Kept,
}

/// The situation outlives the decision (`'s`), so what it holds can be looked
/// at while the decision is written.
struct Decider<'s, 'd> {
    input: &'s Input<'s>,
    s: &'s Situation<'s>,
    d: &'d mut Decision,
}

impl<'s> Decider<'s, '_> {
    fn run(&mut self) {
        self.stop_leftovers();
        self.stop_duplicates();
        let s = self.s;
        match (&s.wanted, self.record()) {
            (None, _) if self.s.unresolved.is_some() => {}
            (None, record) => self.remove(record),
            (Some(wanted), None) => self.create(wanted),
            (Some(wanted), Some(record)) => {
                self.note_by_hand();
                self.note_progress(wanted, record);
                match self.state(wanted) {
                    DesiredState::Stopped => self.want_stopped(wanted, record),
                    DesiredState::Running => self.want_running(wanted, record),
                    DesiredState::OnDemand => self.want_on_demand(wanted, record),
                }
                self.note_restart(wanted);
                if matches!(self.d.wish, Wish::Nothing) && record.generation.hash == wanted.hash {
                    // Whatever it waits for, its record does not have to: but for
                    // its port, which is whose instance serves there.
                    self.change_record(wanted, record, Impact::Record, Port::Kept);
                }
                if matches!(self.d.wish, Wish::Record) && self.d.reasons.is_empty() {
                    let (state, origin) = (wanted.definition.state, wanted.definition.origin("state"));
                    self.d.reasons.push(Reason::StateWanted { state, origin });
                }
                self.note_status(wanted, record);
            }
        }
    }

    /// The state that is wanted: by hand, or else by the definition.
    fn state(&self, wanted: &Wanted<'_>) -> DesiredState {
        self.s.by_hand.state.map_or(wanted.definition.state, |by_hand| by_hand.state)
    }

    fn note_by_hand(&mut self) {
        let by_hand = self.s.by_hand.state;
        let note = by_hand.map(|by_hand| WaitFor::StateByHand { given: by_hand.given.clone(), state: by_hand.state });
        self.d.waits.extend(note);
    }

    /// Why that state is wanted.
    fn why(&self, wanted: &Wanted<'_>, state: DesiredState) -> Reason {
        match self.s.by_hand.state {
            Some(by_hand) => Reason::ByHand { given: by_hand.given.clone() },
            None => Reason::StateWanted { state, origin: wanted.definition.origin("state") },
        }
    }

    fn record(&self) -> Option<&'s ModelRecord> {
        self.s.settled.as_ref().map(|s| &*s.record)
    }

    /// The record of the instance to keep.
    fn kept(&self) -> Option<(&'s Instance, Option<&'s InstanceRecord>)> {
        let live = *self.s.live.first()?;
        Some((live, self.record().and_then(|r| r.instances.iter().find(|i| i.id == live.id))))
    }

    /// What is left of an instance ends before another starts. It may hold the
    /// port and the memory, and nobody else would ever end it.
    fn stop_leftovers(&mut self) {
        for leftover in &self.s.leftovers {
            let Leftover { id, model, handle } = leftover;
            // A recorded one is recorded as stopping by now, and forgotten once
            // this is done.
            let recorded = self.record().and_then(|record| record.instances.iter().find(|i| i.id == *id));
            let target = StopTarget {
                handle: handle.clone(),
                id: id.clone(),
                model: model.clone(),
                force: false,
                socket: recorded.and_then(InstanceRecord::socket),
            };
            self.d.reasons.push(Reason::Leftover { pid: handle.pid() });
            self.d.duplicates.push(StopWish { target, record: None, drain: None, is_routed: false, failed: false });
        }
    }

    fn stop_duplicates(&mut self) {
        let Some((kept, _)) = self.kept() else { return };
        for extra in self.s.live.iter().skip(1) {
            let record = self.record().and_then(|r| r.instances.iter().find(|i| i.id == extra.id)).cloned();
            self.d.reasons.push(Reason::Duplicate { pid: extra.handle.pid(), kept: kept.handle.pid() });
            // Clients cannot know of it, but a gateway does once it was ready.
            let is_routed = is_routed(self.input, record.as_ref());
            let stop = match &record {
                Some(record) if is_routed => {
                    let drain = self.s.wanted.as_ref().map(|wanted| wanted.definition.update.drain);
                    let drain = drain.unwrap_or_else(|| recorded_drain(self.record()));
                    *stop(self.input, extra, Some(record), Some(drain))
                }
                _ => StopWish { target: target(extra, false), record, drain: None, is_routed, failed: false },
            };
            self.d.duplicates.push(stop);
        }
    }

    fn remove(&mut self, record: Option<&ModelRecord>) {
        let down = self.input.desired.is_none();
        let drain = recorded_drain(record);
        let stop = self.kept().map(|(live, recorded)| stop(self.input, live, recorded, Some(drain)));
        if down {
            match stop {
                Some(stop) => {
                    self.d.reasons.push(Reason::Down);
                    self.d.wish = Wish::Stop(stop);
                }
                None => self.idle_status(record),
            }
            return;
        }
        if record.is_none() && self.s.live.is_empty() {
            // Only what was asked for by hand is left of it.
            return;
        }
        if let Some(blocking) = self.s.deletions_blocked {
            self.d.waits.push(WaitFor::DeletionBlocked { file: blocking.file.to_string() });
            return;
        }
        let file = record.map_or_else(|| format!("definition of {}", self.s.name), |r| self.shown(&r.source));
        self.d.reasons.push(Reason::DefinitionRemoved { file });
        self.d.wish = Wish::Delete(stop);
    }

    fn create(&mut self, wanted: &Wanted<'_>) {
        if self.s.rows.len() > 1 {
            self.d.waits.push(WaitFor::OneRow { ids: self.s.rows.clone() });
            return;
        }
        let adopt_row = self.s.rows.first().copied();
        self.note_by_hand();
        let (origin, state) = (wanted.definition.origin("name"), wanted.definition.state);
        self.d.reasons.push(Reason::DefinitionAdded { origin, state });
        self.d.reasons.extend(adopt_row.map(|id| Reason::TakesOverRow { id }));
        self.d.changes = wanted.creation(adopt_row);
        if let Some((live, _)) = self.kept() {
            let number = if live.spec == wanted.hash { 1 } else { 0 };
            self.adopt(live, number);
            return;
        }
        let start = match self.state(wanted) {
            DesiredState::Stopped | DesiredState::OnDemand => Some(None),
            DesiredState::Running => self.start_wanted(wanted, 1, None).map(Some),
        };
        if let Some(start) = start {
            self.d.wish = Wish::Create(start);
        }
    }

    /// A recorded path as people see those beside it.
    fn shown(&self, source: &str) -> String {
        let beside = || {
            let desired = self.input.desired?;
            let name = std::path::Path::new(source).strip_prefix(&desired.dir).ok()?.to_str()?;
            let neighbour = desired.definitions.values().next()?;
            let directory = neighbour.file.rfind('/').map_or("", |slash| &neighbour.file[..=slash]);
            Some(format!("{directory}{name}"))
        };
        beside().unwrap_or_else(|| source.to_owned())
    }

    /// Records a live instance that the database does not know.
    fn adopt(&mut self, live: &Instance, generation: u32) {
        let now = self.input.now;
        let ready = live.health == Health::Ready
            && match self.input.answers.served.get(&live.id) {
                None => return self.d.questions.push(Question::Served(live.id.clone())),
                Some(Served::Unanswered) => {
                    return self.d.waits.push(WaitFor::Answer { pid: live.handle.pid(), deadline: None });
                }
                // Recorded as one that loads, it fails as one that was started.
                Some(Served::Nothing) => false,
                Some(Served::File(_) | Served::Untold) => true,
            };
        self.d.reasons.push(Reason::Unrecorded { pid: live.handle.pid() });
        self.d.changes.push(Change::PutInstance(InstanceRecord {
            id: live.id.clone(),
            model: live.model.clone(),
            generation,
            spec: live.spec.clone(),
            host: live.address.host.clone(),
            port: live.address.port,
            state: if ready { InstanceState::Ready } else { InstanceState::Loading },
            handle: Some(live.handle.clone()),
            started_at: live.started_at,
            progress: (live.progress, now),
            ready: ready.then_some((now, now)),
            unanswered_since: None,
            log_offset: 0,
            binary: None,
        }));
        self.d.loading = !ready;
        self.d.wish = Wish::Adopt;
    }

    fn want_stopped(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        self.change_record(wanted, record, Impact::Record, Port::Recorded);
        self.end_crashes(record);
        if let Some((live, recorded)) = self.kept() {
            let is_told = self.s.unresolved.is_none() || self.s.by_hand.state.is_some();
            if !is_told && recorded.is_none_or(|r| r.state != InstanceState::Stopping) {
                // Whether it is to stop cannot be told: it stays.
                recorded.into_iter().for_each(|recorded| self.cancel_drain(recorded));
                return;
            }
            self.d.reasons.push(self.why(wanted, DesiredState::Stopped));
            self.d.wish = Wish::Stop(stop(self.input, live, recorded, Some(wanted.definition.update.drain)));
        }
    }

    fn want_running(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        match self.kept() {
            Some((live, None)) => {
                let number = [Some(&record.generation), record.last_ready.as_ref()]
                    .into_iter()
                    .flatten()
                    .find(|g| g.hash == live.spec)
                    .map_or(0, |g| g.number);
                self.adopt(live, number);
            }
            Some((live, Some(recorded))) => self.keep_or_replace(wanted, record, live, recorded),
            None => self.start(wanted, record),
        }
    }

    /// Brings the record to what is wanted, as an action of its own unless a
    /// larger one follows.
    fn change_record(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, impact: Impact, port: Port) {
        let (mut changes, reasons) = wanted.record_changes(record);
        if port == Port::Kept {
            changes.retain(|change| !matches!(change, Change::SetPort { .. }));
        }
        if record.generation.hash != wanted.hash {
            let differences = wanted.differences(record, impact);
            self.d.reasons.extend(differences);
        }
        self.d.reasons.extend(reasons);
        if !changes.is_empty() {
            self.d.wish = Wish::Record;
            self.d.changes.extend(changes);
        }
    }
}

/// The drain time of a model whose definition is out of sight.
fn recorded_drain(record: Option<&ModelRecord>) -> Duration {
    let config = record.and_then(|record| record.config().ok());
    config.map_or(UpdatePolicy::default().drain, |config| Duration::from_millis(config.drain_ms))
}
