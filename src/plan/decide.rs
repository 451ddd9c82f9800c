//! What one model needs, looked at by itself. How many may have it at once is
//! `schedule`'s business.

use std::path::PathBuf;

use super::input::{Binary, Input, Question};
use super::launch::{Identity, launch};
use super::ports::PortChoice;
use super::reason::{Impact, Reason, WaitFor};
use super::settle::{GivenUp, Settled, deadline};
use super::wanted::{Wanted, port_of};
use super::{Found, backoff};
use crate::model::{
    Change, Crashes, DesiredState, Generation, GenerationOutcome, Health, Instance, InstanceRecord, InstanceState,
    Launch, ModelName, ModelRecord, Origin, Spec, SpecHash, Status, StopTarget, Unresolved,
};

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
    /// Its live instances, the one to keep first.
    pub live: Vec<&'a Instance>,
    /// Rows of other programs with its name.
    pub rows: Vec<i64>,
    /// Why nothing is deleted in this pass.
    pub deletions_blocked: Option<&'a Unresolved>,
}

/// What one model needs.
#[derive(Debug, Default)]
pub struct Decision {
    /// The action, before any limit.
    pub wish: Wish,
    /// Its reasons.
    pub reasons: Vec<Reason>,
    /// Record changes that go with it.
    pub changes: Vec<Change>,
    /// That a dry run took the command line: recorded after the generation.
    pub accepted: Option<Change>,
    /// Second instances to stop.
    pub duplicates: Vec<StopWish>,
    /// What it waits for.
    pub waits: Vec<WaitFor>,
    /// Observed facts to write whatever happens.
    pub bookkeeping: Vec<Change>,
    /// What happened.
    pub findings: Vec<Found>,
    /// What must be answered first.
    pub questions: Vec<Question>,
    /// It was ready once, so while it starts it is missing: its start takes a
    /// restart's slot.
    pub missing: bool,
    /// One of its instances is leaving, or coming to replace one, now.
    pub restarting: bool,
    /// It has an instance that loads now.
    pub loading: bool,
    /// The lines whose edit failed on it.
    pub failed_origins: Vec<Origin>,
}

impl Decision {
    /// Nothing to do, to record, to say or to ask: the model is as declared.
    pub fn is_empty(&self) -> bool {
        let Self {
            wish,
            reasons: _,
            changes: _,
            accepted: _,
            duplicates,
            waits,
            bookkeeping,
            findings,
            questions,
            missing: _,
            restarting,
            loading,
            failed_origins,
        } = self;
        matches!(wish, Wish::Nothing)
            && duplicates.is_empty()
            && waits.is_empty()
            && bookkeeping.is_empty()
            && findings.is_empty()
            && questions.is_empty()
            && !restarting
            && !loading
            && failed_origins.is_empty()
    }
}

/// The action one model needs.
#[derive(Debug, Default)]
pub enum Wish {
    /// None.
    #[default]
    Nothing,
    /// Its record alone.
    Record,
    /// A first record, and perhaps a first instance.
    Create(Option<Box<StartWish>>),
    /// A record for its live instance.
    Adopt,
    /// An instance.
    Start(Box<StartWish>),
    /// Another instance instead of this one.
    Restart(Box<StopWish>, Box<StartWish>),
    /// No instance.
    Stop(Box<StopWish>),
    /// Neither instance nor record.
    Delete(Option<Box<StopWish>>),
}

/// An instance to stop.
#[derive(Clone, Debug)]
pub struct StopWish {
    /// Whom.
    pub target: StopTarget,
    /// Its record.
    pub record: Option<InstanceRecord>,
    /// How long requests in flight may take; `None`: it is not asked.
    pub drain: Option<std::time::Duration>,
}

/// An instance to start.
#[derive(Clone, Debug)]
pub struct StartWish {
    /// What.
    pub launch: Launch,
    /// Its record.
    pub record: InstanceRecord,
    /// The crash history if it cannot even be executed.
    pub if_failed: Crashes,
}

/// Decides for one model.
pub fn decide(input: &Input<'_>, mut situation: Situation<'_>) -> Decision {
    let mut decision = Decision::default();
    if let Some(settled) = &mut situation.settled {
        decision.bookkeeping.append(&mut settled.changes);
        decision.findings.append(&mut settled.findings);
        decision.questions.append(&mut settled.questions);
        if let Some(id) = &settled.unknown {
            let process = settled.record.instances.iter().find(|i| i.id == *id).and_then(|i| i.process.as_ref());
            decision.waits.push(WaitFor::UnknownProcess { pid: process.map(|p| p.pid) });
            return decision;
        }
    }
    if let Some(unresolved) = situation.unresolved {
        decision
            .waits
            .push(WaitFor::Definition { file: unresolved.file.to_string(), problem: unresolved.problem.clone() });
    }
    Decider { input, s: &situation, d: &mut decision }.run();
    decision
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
        self.stop_duplicates();
        let s = self.s;
        match (&s.wanted, self.record()) {
            (None, None) if self.s.live.is_empty() => {}
            (None, _) if self.s.unresolved.is_some() => {}
            (None, record) => self.remove(record),
            (Some(wanted), None) => self.create(wanted),
            (Some(wanted), Some(record)) => {
                self.note_progress(wanted, record);
                match wanted.definition.state {
                    DesiredState::Stopped => self.want_stopped(wanted, record),
                    DesiredState::Running => self.want_running(wanted, record),
                }
                if matches!(self.d.wish, Wish::Nothing) && record.generation.hash == wanted.hash {
                    // Whatever it waits for, its record does not have to.
                    self.change_record(wanted, record, Impact::Record);
                }
                if matches!(self.d.wish, Wish::Record) && self.d.reasons.is_empty() {
                    let (state, origin) = (wanted.definition.state, wanted.definition.origin("state"));
                    self.d.reasons.push(Reason::StateWanted { state, origin });
                }
                self.note_status(wanted, record);
            }
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

    fn stop_duplicates(&mut self) {
        let Some((kept, _)) = self.kept() else { return };
        for extra in self.s.live.iter().skip(1) {
            let record = self.record().and_then(|r| r.instances.iter().find(|i| i.id == extra.id)).cloned();
            self.d.reasons.push(Reason::Duplicate { pid: extra.process.pid, kept: kept.process.pid });
            self.d.duplicates.push(StopWish { target: target(extra, false), record, drain: None });
        }
    }

    // --- no definition ----------------------------------------------------

    fn remove(&mut self, record: Option<&ModelRecord>) {
        let (down, drain) = (self.input.desired.is_none(), crate::model::UpdatePolicy::default().drain);
        let stop = self.kept().map(|(live, recorded)| stop(live, recorded, Some(drain)));
        if down {
            self.d.reasons.push(Reason::Down);
            self.d.wish = stop.map_or(Wish::Nothing, Wish::Stop);
            if matches!(self.d.wish, Wish::Nothing) {
                self.d.reasons.clear();
                self.idle_status(record);
            }
            return;
        }
        if let Some(blocking) = self.s.deletions_blocked {
            self.d.waits.push(WaitFor::DeletionBlocked { file: blocking.file.to_string() });
            return;
        }
        let file = record.map_or_else(|| format!("definition of {}", self.s.name), |r| r.source.clone());
        self.d.reasons.push(Reason::DefinitionRemoved { file });
        self.d.wish = Wish::Delete(stop);
    }

    // --- no record ----------------------------------------------------------

    fn create(&mut self, wanted: &Wanted<'_>) {
        if self.s.rows.len() > 1 {
            self.d.waits.push(WaitFor::OneRow { ids: self.s.rows.clone() });
            return;
        }
        let adopt_row = self.s.rows.first().copied();
        let (origin, state) = (wanted.definition.origin("name"), wanted.definition.state);
        self.d.reasons.push(Reason::DefinitionAdded { origin, state });
        self.d.reasons.extend(adopt_row.map(|id| Reason::TakesOverRow { id }));
        self.d.changes = wanted.creation(adopt_row);
        if let Some((live, _)) = self.kept() {
            let number = if live.spec == wanted.hash { 1 } else { 0 };
            self.adopt(live, number);
            return;
        }
        let start = match wanted.definition.state {
            DesiredState::Stopped => Some(None),
            DesiredState::Running => self.start_wanted(wanted, 1, None).map(Some),
        };
        if let Some(start) = start {
            self.d.wish = Wish::Create(start);
        }
    }

    /// Records a live instance that the database does not know.
    fn adopt(&mut self, live: &Instance, generation: u32) {
        let now = self.input.now;
        let ready = live.health == Health::Ready;
        self.d.reasons.push(Reason::Unrecorded { pid: live.process.pid });
        self.d.changes.push(Change::PutInstance(InstanceRecord {
            id: live.id.clone(),
            model: live.model.clone(),
            generation,
            spec: live.spec.clone(),
            host: live.host.clone(),
            port: live.port,
            state: if ready { InstanceState::Ready } else { InstanceState::Loading },
            process: Some(live.process.clone()),
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

    // --- a record and a definition -------------------------------------------

    /// How far along this model is, for the limits on others.
    fn note_progress(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let kept = self.kept();
        let loading = kept.is_some_and(|(_, r)| r.is_some_and(|r| r.state == InstanceState::Loading));
        let leaving = kept.is_some_and(|(_, r)| {
            r.is_some_and(|r| matches!(r.state, InstanceState::Draining { .. } | InstanceState::Stopping))
        });
        self.d.missing = record.generation.outcome == GenerationOutcome::Ready || record.last_ready.is_some();
        self.d.loading = loading;
        let wants_one = wanted.definition.state == DesiredState::Running;
        self.d.restarting = wants_one && (leaving || loading && self.d.missing);
        let failed = matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            || record.generation.outcome == GenerationOutcome::Pending && record.crashes.count > 0;
        if failed && record.generation.hash == wanted.hash {
            self.d.failed_origins.clone_from(&record.generation.origins);
        }
    }

    fn want_stopped(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        self.change_record(wanted, record, Impact::Record);
        if let Some((live, recorded)) = self.kept() {
            if self.s.unresolved.is_some() && recorded.is_none_or(|r| r.state != InstanceState::Stopping) {
                // Whether it is to stop cannot be read: it stays.
                recorded.into_iter().for_each(|recorded| self.cancel_drain(recorded));
                return;
            }
            let origin = wanted.definition.origin("state");
            self.d.reasons.push(Reason::StateWanted { state: DesiredState::Stopped, origin });
            self.d.wish = Wish::Stop(stop(live, recorded, Some(wanted.definition.update.drain)));
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

    fn keep_or_replace(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
    ) {
        let given_up = self.s.settled.as_ref().and_then(|s| s.given_up.as_ref()).filter(|(id, _)| *id == live.id);
        if let Some((_, why)) = given_up {
            let reason = match why {
                GivenUp::NotReady => Reason::NotReadyInTime,
                GivenUp::Unanswered(silent) => {
                    Reason::Unhealthy { for_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX) }
                }
            };
            self.end(live, recorded, reason);
        } else if recorded.state == InstanceState::Stopping {
            self.end(live, recorded, Reason::StopUnfinished);
        } else if live.spec == wanted.hash {
            self.keep(wanted, record, live, recorded);
        } else if self.s.unresolved.is_some() {
            // Whatever was to follow it cannot be read: it stays.
            self.cancel_drain(recorded);
        } else if self.serves_for_failed(wanted, record, live) {
            self.wait_for_edit(record, record.last_ready.as_ref().map(|g| g.number));
            self.cancel_drain(recorded);
        } else {
            self.replace(wanted, record, live, recorded);
        }
    }

    /// Stops an instance at once; the next pass starts what is wanted.
    fn end(&mut self, live: &Instance, recorded: &InstanceRecord, reason: Reason) {
        let force = matches!(reason, Reason::NotReadyInTime | Reason::Unhealthy { .. });
        self.d.reasons.push(reason);
        let target = target(live, force);
        self.d.wish = Wish::Stop(Box::new(StopWish { target, record: Some(recorded.clone()), drain: None }));
    }

    /// The instance serves what is wanted.
    fn keep(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, live: &Instance, recorded: &InstanceRecord) {
        self.change_record(wanted, record, Impact::Record);
        if self.upgrades(wanted, record, live, recorded) {
            return;
        }
        self.cancel_drain(recorded);
        if recorded.state == InstanceState::Loading {
            let deadline = deadline(recorded, &wanted.definition.ready);
            self.d.waits.push(WaitFor::Ready { pid: live.process.pid, deadline });
        }
    }

    /// Whether it is restarted because its llama-server changed on disk.
    fn upgrades(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
    ) -> bool {
        if recorded.state == InstanceState::Loading || self.s.unresolved.is_some() {
            return false;
        }
        let Some(Ok(binary)) = self.binary(&wanted.definition.spec) else { return false };
        if recorded.binary.as_ref().is_none_or(|was| *was == binary.identity) {
            return false;
        }
        if !self.input.limits.upgrade_binary {
            self.d.waits.push(WaitFor::BinaryUpgrade);
            return false;
        }
        let Some(start) = self.start_wanted(wanted, record.generation.number, Some(record)) else { return false };
        self.d.reasons.push(Reason::BinaryChanged);
        let stop = stop(live, Some(recorded), Some(wanted.definition.update.drain));
        self.d.wish = Wish::Restart(stop, start);
        true
    }

    /// The definition went back to what is served before the drain was over.
    fn cancel_drain(&mut self, recorded: &InstanceRecord) {
        if matches!(recorded.state, InstanceState::Draining { .. }) {
            let record = InstanceRecord { state: InstanceState::Ready, ..recorded.clone() };
            self.d.bookkeeping.push(Change::PutInstance(record));
        }
    }

    /// Whether this instance stands in for a generation that failed and that
    /// nothing has changed about.
    fn serves_for_failed(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, live: &Instance) -> bool {
        record.generation.hash == wanted.hash
            && matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            && record.last_ready.as_ref().is_some_and(|g| g.hash == live.spec)
            && !self.tries_again(wanted, record)
    }

    /// `--retry`, once for each model.
    fn retries(&self) -> bool {
        self.input.limits.retry && !self.input.limits.tried.contains(self.s.name)
    }

    fn tries_again(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) -> bool {
        let binary = self.binary(&wanted.definition.spec);
        let other_binary = match (binary, &record.generation.accepted_by) {
            (Some(Ok(binary)), Some(accepted_by)) => binary.identity != *accepted_by,
            _ => false,
        };
        self.retries() || other_binary
    }

    fn wait_for_edit(&mut self, record: &ModelRecord, serving: Option<u32>) {
        if let GenerationOutcome::Failed(death) = &record.generation.outcome {
            let message = death.message.clone();
            self.d.waits.push(WaitFor::Edit { generation: record.generation.number, message, serving });
        }
    }

    /// The instance serves something else.
    fn replace(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, live: &Instance, recorded: &InstanceRecord) {
        if let Some((file, until)) = wanted.restless_file(record, self.input.now) {
            self.d.waits.push(WaitFor::Weights { file, until });
            self.cancel_drain(recorded);
            return;
        }
        let number = self.next_number(wanted, record);
        let Some(start) = self.start_wanted(wanted, number, Some(record)) else { return };
        let (changes, reasons) = wanted.record_changes(record);
        self.d.changes.extend(changes);
        self.forget_crashes(wanted, record);
        self.revive(record);
        let served = [Some(&record.generation), record.last_ready.as_ref()];
        match served.into_iter().flatten().find(|g| g.hash == live.spec) {
            Some(served) => self.d.reasons.extend(wanted.differences(served, Impact::Restart)),
            None => {
                self.d.reasons.push(Reason::OtherSpec { found: live.spec.to_string(), wanted: wanted.hash.to_string() })
            }
        }
        self.d.reasons.extend(reasons);
        self.d.wish = Wish::Restart(stop(live, Some(recorded), Some(wanted.definition.update.drain)), start);
    }

    fn next_number(&self, wanted: &Wanted<'_>, record: &ModelRecord) -> u32 {
        record.generation.number + u32::from(record.generation.hash != wanted.hash)
    }

    /// No instance, and one is wanted.
    fn start(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        // Before any wait of our own: it would be for the wrong thing.
        if self.is_served_elsewhere(wanted) {
            return;
        }
        let edited = record.generation.hash != wanted.hash;
        if matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            && !edited
            && !self.tries_again(wanted, record)
        {
            self.start_last_ready(wanted, record);
            return;
        }
        if !edited && self.backs_off(record) {
            return;
        }
        let number = self.next_number(wanted, record);
        let Some(start) = self.start_wanted(wanted, number, Some(record)) else { return };
        self.change_record(wanted, record, Impact::Restart);
        self.revive(record);
        self.forget_crashes(wanted, record);
        if !edited || record.state != wanted.definition.state {
            self.d.reasons.push(self.why_not_running(wanted, record));
        }
        self.d.wish = Wish::Start(start);
    }

    /// Another generation begins without the crashes of the former one.
    fn forget_crashes(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        if record.generation.hash != wanted.hash && record.crashes.count > 0 {
            self.d.changes.push(Change::SetCrashes { model: self.s.name.clone(), crashes: Crashes::default() });
        }
    }

    /// `--retry` and a changed llama-server make a failed generation an
    /// untried one.
    fn revive(&mut self, record: &ModelRecord) {
        let untouched = !self.d.changes.iter().any(|c| matches!(c, Change::AddGeneration(_)));
        if untouched && matches!(record.generation.outcome, GenerationOutcome::Failed(_)) {
            self.d.reasons.push(Reason::TriedAgain);
            self.d.changes.push(Change::SetGenerationOutcome {
                model: self.s.name.clone(),
                number: record.generation.number,
                outcome: GenerationOutcome::Pending,
            });
        }
    }

    fn why_not_running(&self, wanted: &Wanted<'_>, record: &ModelRecord) -> Reason {
        let settled = self.s.settled.as_ref();
        if record.state != wanted.definition.state {
            return Reason::StateWanted { state: DesiredState::Running, origin: wanted.definition.origin("state") };
        }
        match settled.and_then(|s| s.death.clone()) {
            _ if settled.is_some_and(|s| s.rebooted) => Reason::Rebooted,
            death if death.is_some() || record.crashes.count > 0 => {
                Reason::ProcessGone { death, crashes: record.crashes.count }
            }
            _ => Reason::NotRunning,
        }
    }

    /// Waits out the delay after a crash; whether it does.
    fn backs_off(&mut self, record: &ModelRecord) -> bool {
        let Some(until) = backoff::next_try(record.crashes, self.input.now) else { return false };
        if record.crashes.count == 0 || self.retries() {
            return false;
        }
        self.d.waits.push(WaitFor::Backoff { until, crashes: record.crashes.count, message: self.last_words(record) });
        true
    }

    /// What is known of the last failure.
    fn last_words(&self, record: &ModelRecord) -> String {
        let death = self.s.settled.as_ref().and_then(|s| s.death.as_ref());
        death
            .map(|d| d.message.clone())
            .or_else(|| record.status_message.clone())
            .unwrap_or_else(|| "the reason is not known".to_owned())
    }

    /// The newest generation failed: the last ready one takes its place, if
    /// there is one.
    fn start_last_ready(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let rolls_back = wanted.definition.update.on_failure == crate::model::OnFailure::Rollback;
        let back = record.last_ready.as_ref().filter(|_| rolls_back).and_then(|g| Some((g, g.spec().ok()?)));
        self.wait_for_edit(record, back.as_ref().map(|(g, _)| g.number));
        let Some((generation, spec)) = back else { return };
        if self.backs_off(record) {
            return;
        }
        if let Some(start) =
            self.start_spec(wanted, &spec, &generation.hash, spec.port, generation.number, Some(generation))
        {
            self.d.reasons.push(Reason::RolledBack { failed: record.generation.number, to: generation.number });
            self.d.wish = Wish::Start(start);
        }
    }

    // --- shared -----------------------------------------------------------

    /// Brings the record to what is wanted, as an action of its own unless a
    /// larger one follows.
    fn change_record(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, impact: Impact) {
        let (changes, reasons) = wanted.record_changes(record);
        if record.generation.hash != wanted.hash {
            let differences = wanted.differences(&record.generation, impact);
            self.d.reasons.extend(differences);
        }
        self.d.reasons.extend(reasons);
        if !changes.is_empty() {
            self.d.wish = Wish::Record;
            self.d.changes.extend(changes);
        }
    }

    fn start_wanted(
        &mut self,
        wanted: &Wanted<'_>,
        number: u32,
        record: Option<&ModelRecord>,
    ) -> Option<Box<StartWish>> {
        let port = match port_of(self.s.port.as_ref()) {
            Ok(_) => wanted.port,
            Err(PortChoice::TakenBy(port, model)) => {
                let holder = format!("model {model}");
                self.d.waits.push(WaitFor::Port { port: *port, holder });
                return None;
            }
            Err(_) => {
                self.d.waits.push(WaitFor::FreePort { range: self.input.limits.port_range });
                return None;
            }
        };
        let generation = record.map(|r| &r.generation).filter(|g| g.hash == wanted.hash);
        self.start_spec(wanted, &wanted.definition.spec, &wanted.hash, port, number, generation)
    }

    /// Everything a start needs: a llama-server, no rival, and a command line
    /// it accepts.
    fn start_spec(
        &mut self,
        wanted: &Wanted<'_>,
        spec: &Spec,
        hash: &SpecHash,
        port: Option<u16>,
        number: u32,
        generation: Option<&Generation>,
    ) -> Option<Box<StartWish>> {
        if self.is_served_elsewhere(wanted) {
            return None;
        }
        let binary = match self.binary(spec)? {
            Ok(binary) => binary,
            Err(problem) => {
                self.d.waits.push(WaitFor::Binary { problem: problem.clone() });
                return None;
            }
        };
        let who = Identity {
            model: self.s.name,
            aliases: &wanted.definition.aliases,
            definition: &wanted.definition.path,
            hash,
            tells_layers: wanted.definition.ready.require_gpu,
        };
        let launch = launch(self.input, who, spec, port, binary);
        let known = generation.and_then(|g| g.accepted_by.as_ref()) == Some(&binary.identity);
        if !known && !self.accepted(wanted, &launch, spec, number, binary) {
            return None;
        }
        let record = InstanceRecord {
            id: launch.id.clone(),
            model: launch.model.clone(),
            generation: number,
            spec: hash.clone(),
            host: spec.host.clone(),
            port,
            state: InstanceState::Intent,
            process: None,
            started_at: self.input.now,
            progress: (crate::model::Progress::default(), self.input.now),
            ready: None,
            unanswered_since: None,
            log_offset: 0,
            binary: Some(binary.identity.clone()),
        };
        let crashes = self.record().map(|r| r.crashes).unwrap_or_default();
        let if_failed = backoff::after_crash(crashes, &record);
        Some(Box::new(StartWish { launch, record, if_failed }))
    }

    /// Whether a herdsman of another state directory serves this definition.
    fn is_served_elsewhere(&mut self, wanted: &Wanted<'_>) -> bool {
        let foreign = self.input.observed.foreign.get(&*wanted.definition.path);
        self.d.waits.extend(foreign.map(|(_, pid)| WaitFor::ForeignInstance { pid: *pid }));
        foreign.is_some()
    }

    /// The llama-server a spec runs on; asked for if it is not known yet.
    fn binary(&mut self, spec: &Spec) -> Option<&'s Result<Binary, String>> {
        let answer = self.input.answers.binaries.get(&spec.binary);
        if answer.is_none() {
            self.d.questions.push(Question::Binary(spec.binary.clone()));
        }
        answer
    }

    /// Whether llama-server's own dry run takes the command line; asked once
    /// per spec and llama-server, before anything stops for it.
    fn accepted(&mut self, wanted: &Wanted<'_>, launch: &Launch, spec: &Spec, number: u32, binary: &Binary) -> bool {
        let key = (launch.model.clone(), launch.spec.clone());
        match self.input.answers.checks.get(&key) {
            Some(Ok(())) => {
                let (model, binary) = (launch.model.clone(), binary.identity.clone());
                self.d.accepted = Some(Change::SetAccepted { model, number, binary });
                true
            }
            Some(Err(message)) => {
                let origin = blamed(wanted, spec, message);
                self.d.waits.push(WaitFor::Accepted { message: message.clone(), origin });
                false
            }
            None => {
                let weights = spec.files.keys().filter(|f| f.ends_with(".gguf")).map(|f| PathBuf::from(&**f)).collect();
                self.d.questions.push(Question::Check(Box::new(launch.clone()), weights));
                false
            }
        }
    }

    /// The status column follows what is seen, and needs no action.
    fn note_status(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let failed = match &record.generation.outcome {
            GenerationOutcome::Failed(death) if record.generation.hash == wanted.hash => {
                Some(format!("generation {} failed: {}", record.generation.number, death.message))
            }
            _ => None,
        };
        let (status, message) = match self.kept() {
            Some((live, _)) => match live.health {
                Health::Ready => (Status::Running, failed),
                Health::Loading | Health::NotListening => (Status::Loading, failed),
                // It cannot be asked: what was last recorded stands.
                Health::Unanswered(_) => return,
            },
            None if wanted.definition.state == DesiredState::Stopped => (Status::Idle, None),
            None if failed.is_some() => (Status::Error, failed),
            None if record.crashes.count > 0 => (Status::Error, Some(self.last_words(record))),
            None => (Status::Idle, None),
        };
        if (status, &message) != (record.status, &record.status_message) {
            self.d.bookkeeping.push(Change::SetStatus { model: self.s.name.clone(), status, message });
        }
    }

    fn idle_status(&mut self, record: Option<&ModelRecord>) {
        let Some(record) = record else { return };
        let model = self.s.name.clone();
        if record.crashes.count > 0 {
            // Stopped by hand: the next start is a fresh one.
            let crashes = Crashes::default();
            self.d.bookkeeping.push(Change::SetCrashes { model: model.clone(), crashes });
        }
        if record.status != Status::Idle {
            self.d.bookkeeping.push(Change::SetStatus { model, status: Status::Idle, message: None });
        }
    }
}

/// The line most likely at fault: that of an option the message names.
fn blamed(wanted: &Wanted<'_>, spec: &Spec, message: &str) -> Origin {
    let named =
        spec.options.iter().find(|(_, o)| o.args.iter().any(|word| word.len() > 2 && message.contains(&**word)));
    wanted.definition.origin(named.map_or("model", |(key, _)| key))
}

fn target(live: &Instance, force: bool) -> StopTarget {
    let socket = live.host.contains('/').then(|| PathBuf::from(&live.host));
    StopTarget { id: live.id.clone(), model: live.model.clone(), process: live.process.clone(), force, socket }
}

/// A stop that waits for requests in flight, if there can be any. Without a
/// record there is nowhere to remember until when.
fn stop(live: &Instance, recorded: Option<&InstanceRecord>, drain: Option<std::time::Duration>) -> Box<StopWish> {
    let state = recorded.map(|r| r.state);
    let idle = matches!(state, None | Some(InstanceState::Stopping))
        || matches!(live.health, Health::Loading | Health::NotListening);
    Box::new(StopWish { target: target(live, false), record: recorded.cloned(), drain: drain.filter(|_| !idle) })
}
