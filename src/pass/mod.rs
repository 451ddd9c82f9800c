//! One pass: load, observe, plan, apply, record.

pub mod apply;
pub mod review;
pub mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::{
    Change, Definition, Desired, DesiredState, Instance, InstanceState, ModelName, Observed, Provenance, Records,
    Timestamp,
};
use crate::pass::apply::{Outcome, Read, World, apply};
use crate::plan::{Action, Answers, Input, Limits, Plan, Planner, Question};

/// How often the planner may ask before it must plan with what it knows. It asks
/// each kind of question once, and one may lead to another.
const ROUNDS: usize = 10;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Bring every model in sync with its definition.
    Definitions,
    /// Stop every instance.
    Down,
}

/// What a pass saw, planned and did.
#[derive(Debug)]
pub struct Pass {
    /// When it looked.
    pub now: Timestamp,
    /// The definitions; `None` for [`Goal::Down`].
    pub desired: Option<Arc<Desired>>,
    /// The records before the pass.
    pub records: Arc<Records>,
    /// The running instances.
    pub observed: Observed,
    /// What the planner asked, with the answers.
    pub answers: Answers,
    /// The plan.
    pub plan: Plan,
    /// The outcome of each action; empty for a dry run.
    pub outcomes: Vec<Outcome>,
}

impl Pass {
    /// Whether an instance that answers is known to serve its model: it was
    /// recorded as ready, or is by this pass.
    #[must_use]
    pub fn has_proven(&self, live: &Instance) -> bool {
        let record = self.records.models.get(&live.model).and_then(|r| r.instances.iter().find(|i| i.id == live.id));
        let is_new = record.is_some_and(|r| r.ready.is_none());
        let becomes_ready = |change: &Change| matches!(change, Change::PutInstance(is) if is.id == live.id && is.state == InstanceState::Ready);
        !is_new || self.plan.bookkeeping.iter().any(becomes_ready)
    }
}

/// Makes a pass. It never waits for a model: the next pass looks again at what
/// loads or drains.
///
/// # Errors
/// The definitions, the database or the processes cannot be read, or nothing
/// can be recorded.
pub fn pass<W: World>(world: &mut W, goal: Goal, limits: &Limits, cause: &str) -> Result<Pass, W::Error> {
    pass_over(world, |world| world.read(goal), limits, cause)
}

/// Makes a pass over what `read` reads.
///
/// # Errors
/// As [`pass`].
pub fn pass_over<W: World>(
    world: &mut W,
    read: impl FnMut(&mut W) -> Result<Read, W::Error>,
    limits: &Limits,
    cause: &str,
) -> Result<Pass, W::Error> {
    pass_if(world, read, limits, cause, |_, _| Ok(()))
}

/// Makes a pass over what `read` reads, but changes nothing unless `approve` agrees:
/// it is asked once, before the first effect, with everything the pass rests on.
///
/// # Errors
/// As [`pass`], and what `approve` says.
pub fn pass_if<W: World, E: From<W::Error>>(
    world: &mut W,
    mut read: impl FnMut(&mut W) -> Result<Read, W::Error>,
    limits: &Limits,
    cause: &str,
    approve: impl FnOnce(&mut W, &Pass) -> Result<(), E>,
) -> Result<Pass, E> {
    let mut pass = look_over(world, &mut read, limits)?;
    // A file may be gone for a moment only: look again before any deletion.
    if deletes(&pass.plan) {
        pass = look_over(world, &mut read, limits)?;
    }
    approve(world, &pass)?;
    let notifications = world.tell(&pass, limits)?;
    pass.plan.bookkeeping.extend(notifications);
    let provenance = provenance(world, &pass);
    pass.outcomes = apply(world, &pass.plan, cause, &provenance)?;
    Ok(pass)
}

/// Makes the first half of a pass, which changes nothing.
///
/// # Errors
/// As [`pass`].
pub fn look<W: World>(world: &mut W, goal: Goal, limits: &Limits) -> Result<Pass, W::Error> {
    look_over(world, &mut |world| world.read(goal), limits)
}

fn look_over<W: World>(
    world: &mut W,
    read: &mut impl FnMut(&mut W) -> Result<Read, W::Error>,
    limits: &Limits,
) -> Result<Pass, W::Error> {
    let (desired, records) = read(world)?;
    let observed = world.observe(&records)?;
    let (plan, answers) = ask_and_plan(world, desired.as_deref(), &records, &observed, limits)?;
    Ok(Pass { now: world.now(), desired, records, observed, answers, plan, outcomes: Vec::new() })
}

fn ask_and_plan<W: World>(
    world: &mut W,
    desired: Option<&Desired>,
    records: &Records,
    observed: &Observed,
    limits: &Limits,
) -> Result<(Plan, Answers), W::Error> {
    let (now, id_seed) = (world.now(), world.seed());
    let mut answers = Answers::default();
    // Nearly every plan asks this first.
    world.answer(&llama_servers(desired, records), observed, &mut answers)?;
    let mut planner = Planner::default();
    for _ in 1..ROUNDS {
        let plan = planner.plan(&Input { now, desired, records, observed, answers: &answers, limits, id_seed });
        if plan.questions.is_empty() {
            return Ok((plan, answers));
        }
        world.answer(&plan.questions, observed, &mut answers)?;
    }
    let plan = planner.plan(&Input { now, desired, records, observed, answers: &answers, limits, id_seed });
    Ok((plan, answers))
}

/// Which llama-server each definition that is to run runs on.
fn llama_servers(desired: Option<&Desired>, records: &Records) -> Vec<Question> {
    let is_to_run = |definition: &&Arc<Definition>| records.wanted_state(definition) == DesiredState::Running;
    let running = desired.into_iter().flat_map(|d| d.definitions.values()).filter(is_to_run);
    let named: BTreeSet<&Option<String>> = running.map(|definition| &definition.spec.binary).collect();
    named.into_iter().cloned().map(Question::Binary).collect()
}

/// The commits that new generations and deletions came from.
fn provenance<W: World>(world: &mut W, pass: &Pass) -> BTreeMap<ModelName, Provenance> {
    let sources: BTreeMap<_, _> = pass.plan.actions.iter().filter_map(|action| source(action, &pass.records)).collect();
    if sources.is_empty() { BTreeMap::new() } else { world.provenance(&sources) }
}

/// The file that an action makes a generation of, or deletes a model for.
fn source<'a>(action: &'a Action, records: &'a Records) -> Option<(ModelName, &'a Path)> {
    let file = action.changes().find_map(|change| match change {
        Change::AddGeneration(new) => Some(&*new.source),
        Change::DeleteModel { model } => records.models.get(model).map(|record| &*record.source),
        _ => None,
    })?;
    Some((action.model.clone(), Path::new(file)))
}

fn deletes(plan: &Plan) -> bool {
    let is_deletion = |change: &Change| matches!(change, Change::DeleteModel { .. });
    plan.actions.iter().flat_map(Action::changes).any(is_deletion)
}
