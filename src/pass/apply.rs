//! Carries a plan out.
//!
//! A plan leaves nothing to decide, only order and recording:
//!
//! 1. Clean up after instances whose stop was interrupted.
//! 2. Write bookkeeping and every record-only action in one transaction.
//! 3. Take out of the gateway's rotation what is to drain or to stop, and what is
//!    dead: a server that starts may listen at its address.
//! 4. Start what depends on no stop.
//! 5. Stop everything that has to stop, in parallel.
//! 6. Do what had to wait for that: starts on freed ports, deletions.
//!
//! Every effect is enclosed by two transactions, its intent and its outcome, so
//! herdsman may die at any point and the next pass knows where to continue. A
//! failed step ends only its own action.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Fleet, Ledger};
use crate::model::{
    Change, EventOutcome, EventRecord, InstanceId, InstanceRecord, InstanceState, Launch, ModelName, Status,
    StopTarget, Timestamp,
};
use crate::plan::{Action, ActionKind, Finding, Plan, Step};

/// How one action went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The model.
    pub model: ModelName,
    /// The kind of action.
    pub kind: ActionKind,
    /// Only its beginning happened: the server drains now.
    pub only_begun: bool,
    /// Why it failed.
    pub result: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// Carries out `plan`. `cause` says what made the pass, for the history.
///
/// # Errors
/// Something could not be recorded. Whatever was not begun stays undone.
pub fn apply<W: Ledger + Fleet>(world: &mut W, plan: &Plan, cause: &str) -> Result<Vec<Outcome>, W::Error> {
    let mut pass = Pass { world, cause, gone: BTreeSet::new(), outcomes: BTreeMap::new() };
    let applied = pass.apply(plan);
    if applied.is_err() {
        pass.readmit(plan);
    }
    applied.map(|()| {
        let mut outcomes = pass.outcomes;
        plan.actions.iter().filter_map(|action| outcomes.remove(&action.model)).collect()
    })
}

struct Pass<'w, W> {
    world: &'w mut W,
    cause: &'w str,
    /// Instances confirmed gone in this pass.
    gone: BTreeSet<InstanceId>,
    outcomes: BTreeMap<ModelName, Outcome>,
}

/// An action in progress.
struct Run<'p> {
    action: &'p Action,
    left: VecDeque<&'p Step>,
    /// Changes that go into the next transaction.
    pending: Vec<Change>,
    failed: Option<String>,
    since: Timestamp,
}

impl<'p> Run<'p> {
    fn new(action: &'p Action, since: Timestamp) -> Self {
        Self { action, left: action.steps.iter().collect(), pending: Vec::new(), failed: None, since }
    }

    /// The next step, as long as there is a stop to come.
    fn take_until_last_stop(&mut self) -> Option<&'p Step> {
        let stops = self.left.iter().any(|step| matches!(step, Step::Stop { .. }));
        if stops { self.left.pop_front() } else { None }
    }

    fn fail(&mut self, why: String) {
        self.failed = Some(why);
        self.left.clear();
    }
}

/// How far an action goes before it waits for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To its first stop, or a start that comes after somebody's stop.
    IndependentStarts,
    /// To its end; its stops are done.
    End,
}

impl<W: Ledger + Fleet> Pass<'_, W> {
    fn apply(&mut self, plan: &Plan) -> Result<(), W::Error> {
        let (record_only, effectful): (Vec<&Action>, Vec<&Action>) =
            plan.actions.iter().partition(|action| action.steps.iter().all(|step| matches!(step, Step::Record(_))));
        let remaining = self.clear(&plan.remains);
        self.record(plan, &record_only, &remaining)?;
        let mut runs: Vec<Run<'_>> = effectful.into_iter().map(|action| Run::new(action, self.world.now())).collect();
        self.withdraw(plan, &mut runs)?;
        for run in &mut runs {
            self.advance(run, Reach::IndependentStarts)?;
        }
        self.stop(&mut runs)?;
        for run in &mut runs {
            self.advance(run, Reach::End)?;
            self.finish(run)?;
        }
        Ok(())
    }

    /// Stops what is left of instances that are gone. Returns those of which
    /// something may still be there: a later pass tries again.
    fn clear(&mut self, remains: &[StopTarget]) -> BTreeSet<InstanceId> {
        let results = if remains.is_empty() { Vec::new() } else { self.world.stop(remains) };
        remains.iter().zip(results).filter(|(_, result)| result.is_err()).map(|(target, _)| target.id.clone()).collect()
    }

    /// `remaining` are the instances whose records stay.
    fn record(
        &mut self,
        plan: &Plan,
        record_only: &[&Action],
        remaining: &BTreeSet<InstanceId>,
    ) -> Result<(), W::Error> {
        let mut changes = plan.bookkeeping.clone();
        changes.retain(|change| !matches!(change, Change::RemoveInstance(id) if remaining.contains(id)));
        let now = self.world.now();
        changes.extend(plan.findings.iter().map(|finding| self.found(finding, now)));
        for action in record_only {
            for step in &action.steps {
                if let Step::Record(more) = step {
                    changes.extend(more.iter().cloned());
                }
            }
            changes.push(self.event(action, &None, now));
            self.outcomes.insert(action.model.clone(), outcome(action, &None, Duration::ZERO));
        }
        if changes.is_empty() { Ok(()) } else { self.world.commit(&changes) }
    }

    /// Withdraws all instances at once: a gateway that does not answer keeps the pass
    /// waiting once, not for each of them. An action whose withdrawal is not confirmed
    /// ends, so its instance neither drains nor stops. A start does not wait for that.
    /// Nothing is withdrawn while nothing can be recorded: its requests would wait in vain.
    fn withdraw(&mut self, plan: &Plan, runs: &mut [Run<'_>]) -> Result<(), W::Error> {
        let leaving = runs.iter().flat_map(|run| run.action.withdrawn());
        let starts = runs.iter().any(|run| run.action.steps.iter().any(|step| matches!(step, Step::Start { .. })));
        let dead = plan.dead().filter(|_| starts);
        let ids: Vec<InstanceId> = leaving.chain(dead).cloned().collect();
        if ids.is_empty() {
            return Ok(());
        }
        self.world.commit(&[])?;
        if let Err(why) = self.world.withdraw(&ids) {
            let concerned = runs.iter_mut().filter(|run| run.action.withdrawn().next().is_some());
            concerned.for_each(|run| run.fail(format!("cannot take it out of rotation: {why}")));
        }
        Ok(())
    }

    /// Returns to the rotation what a failed pass withdrew and left as it was. A failed
    /// transaction may have been made, so the records decide: what they call ready
    /// neither drains nor stops. While they cannot be read, nothing is readmitted.
    fn readmit(&mut self, plan: &Plan) {
        let mut withdrawn = plan.actions.iter().flat_map(Action::withdrawn).peekable();
        if withdrawn.peek().is_none() {
            return;
        }
        let Ok(records) = self.world.records() else { return };
        let instances = || records.models.values().flat_map(|record| &record.instances);
        let is_ready = |id: &&InstanceId| instances().any(|is| is.id == **id && is.state == InstanceState::Ready);
        let ids: Vec<InstanceId> = withdrawn.filter(is_ready).cloned().collect();
        if !ids.is_empty() {
            // One that stays out returns with the next pass that succeeds.
            let _confirmed = self.world.readmit(&ids);
        }
    }

    fn advance(&mut self, run: &mut Run<'_>, reach: Reach) -> Result<(), W::Error> {
        while let Some(step) = run.left.front().copied() {
            match step {
                Step::Record(changes) => run.pending.extend(changes.iter().cloned()),
                // All were withdrawn before.
                Step::Withdraw(_) => {}
                Step::Stop { .. } => return Ok(()),
                Step::Start { after, .. } if reach == Reach::IndependentStarts && !after.is_empty() => return Ok(()),
                Step::Start { launch, record, after, if_failed } => {
                    if after.iter().all(|id| self.gone.contains(id)) {
                        self.start(run, launch, record, *if_failed)?;
                    } else {
                        run.fail("cannot stop the instance that must go first".to_owned());
                        return Ok(());
                    }
                }
            }
            run.left.pop_front();
        }
        Ok(())
    }

    fn start(
        &mut self,
        run: &mut Run<'_>,
        launch: &Launch,
        record: &InstanceRecord,
        if_failed: crate::model::Crashes,
    ) -> Result<(), W::Error> {
        let now = self.world.now();
        let intent = InstanceRecord { started_at: now, progress: (record.progress.0, now), ..record.clone() };
        let mut changes = std::mem::take(&mut run.pending);
        changes.push(Change::PutInstance(intent.clone()));
        self.world.commit(&changes)?;
        let model = launch.model.clone();
        match self.world.start(launch) {
            Ok(handle) => {
                let started = InstanceRecord { state: InstanceState::Loading, handle: Some(handle), ..intent };
                run.pending.push(Change::PutInstance(started));
                run.pending.push(Change::SetStatus { model, status: Status::Loading, message: None });
                self.world.commit(&std::mem::take(&mut run.pending))
            }
            Err(why) => {
                run.pending.push(Change::RemoveInstance(intent.id));
                run.pending.push(Change::SetCrashes { model: model.clone(), crashes: if_failed });
                let message = Some(why.clone());
                run.pending.push(Change::SetStatus { model, status: Status::Error, message });
                run.fail(why);
                Ok(())
            }
        }
    }

    /// Stops everything that is to be stopped, at once: the slowest decides
    /// how long it takes.
    fn stop(&mut self, runs: &mut [Run<'_>]) -> Result<(), W::Error> {
        let mut targets: Vec<StopTarget> = Vec::new();
        let mut owners = Vec::new();
        for (index, run) in runs.iter_mut().enumerate() {
            // What is recorded before a stop goes with its intent, what comes
            // after the last one waits for how it went.
            while let Some(step) = run.take_until_last_stop() {
                let (target, record, keeps_status) = match step {
                    Step::Stop { target, record, keeps_status } => (target, record, keeps_status),
                    Step::Record(changes) => {
                        run.pending.extend(changes.iter().cloned());
                        continue;
                    }
                    Step::Withdraw(_) => continue,
                    Step::Start { .. } => break,
                };
                let mut changes = std::mem::take(&mut run.pending);
                if let Some(record) = record {
                    let stopping = InstanceRecord { state: InstanceState::Stopping, ..(**record).clone() };
                    changes.push(Change::PutInstance(stopping));
                }
                if !changes.is_empty() {
                    self.world.commit(&changes)?;
                }
                targets.push(target.clone());
                owners.push((index, *keeps_status));
            }
        }
        let results = self.world.stop(&targets);
        for ((target, (index, keeps_status)), result) in targets.into_iter().zip(owners).zip(results) {
            let run = &mut runs[index];
            match result {
                Ok(()) => {
                    let mut changes = vec![Change::RemoveInstance(target.id.clone())];
                    if !keeps_status {
                        changes.push(Change::SetStatus { model: target.model, status: Status::Idle, message: None });
                    }
                    self.world.commit(&changes)?;
                    self.gone.insert(target.id);
                }
                Err(why) => run.fail(why),
            }
        }
        Ok(())
    }

    fn finish(&mut self, run: &mut Run<'_>) -> Result<(), W::Error> {
        let mut changes = std::mem::take(&mut run.pending);
        changes.push(self.event(run.action, &run.failed, run.since));
        let took = self.world.now().since(run.since);
        self.outcomes.insert(run.action.model.clone(), outcome(run.action, &run.failed, took));
        self.world.commit(&changes)
    }

    fn found(&self, finding: &Finding, now: Timestamp) -> Change {
        let Finding { model, generation, started_at, what } = finding;
        Change::Event(EventRecord {
            at: now,
            model: model.clone(),
            action: what.as_str().to_owned(),
            generation: Some(*generation).filter(|number| *number > 0),
            cause: self.cause.to_owned(),
            reasons: serde_json::Value::Array(Vec::new()),
            outcome: what.death().map_or(EventOutcome::Done, |death| EventOutcome::Failed(death.message.clone())),
            duration_ms: milliseconds(now.since(*started_at)),
            provenance: None,
        })
    }

    fn event(&self, action: &Action, failed: &Option<String>, since: Timestamp) -> Change {
        let now = self.world.now();
        let word = if action.only_begins() { "drain" } else { action.kind.as_str() };
        Change::Event(EventRecord {
            at: now,
            model: action.model.clone(),
            action: word.to_owned(),
            generation: action.generation(),
            cause: self.cause.to_owned(),
            // Reasons are enums of strings and numbers: serialising cannot fail.
            reasons: serde_json::to_value(&action.reasons).unwrap_or_default(),
            outcome: failed.clone().map_or(EventOutcome::Done, EventOutcome::Failed),
            duration_ms: milliseconds(now.since(since)),
            provenance: action.provenance.clone(),
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(action: &Action, failed: &Option<String>, took: Duration) -> Outcome {
    let result = failed.clone().map_or(Ok(()), Err);
    Outcome { model: action.model.clone(), kind: action.kind, only_begun: action.only_begins(), result, took }
}
