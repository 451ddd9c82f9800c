//! One pass: load, observe, plan, apply, record.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::apply::{Outcome, Read, World, apply};
use crate::model::{Change, Desired, DesiredState, Observed, Records, Timestamp};
use crate::plan::{Answers, Input, Limits, Plan, Planner, Question, Step};

/// How often the planner may ask before it has to do with what it knows. Each
/// kind of question is asked once, and one may lead to another.
const ROUNDS: usize = 9;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything as the definitions say.
    Definitions,
    /// Every instance stopped.
    Down,
}

/// What a pass saw, planned and did.
#[derive(Debug)]
pub struct Pass {
    /// When it looked.
    pub now: Timestamp,
    /// What the files say; `None` for [`Goal::Down`].
    pub desired: Option<Arc<Desired>>,
    /// What SQLite remembered before it.
    pub records: Arc<Records>,
    /// What runs.
    pub observed: Observed,
    /// What was to be done.
    pub plan: Plan,
    /// What became of it; empty for a dry run.
    pub outcomes: Vec<Outcome>,
}

/// Makes a pass. It never waits for a model: what loads or drains is looked
/// at again by the next one.
///
/// # Errors
/// The definitions, the database or the processes cannot be read, or nothing
/// can be recorded.
pub fn pass<W: World>(world: &mut W, goal: Goal, limits: &Limits, cause: &str) -> Result<Pass, W::Error> {
    pass_over(world, |world| world.read(goal), limits, cause)
}

/// A pass over what `read` reads.
///
/// # Errors
/// As [`pass`].
pub fn pass_over<W: World>(
    world: &mut W,
    mut read: impl FnMut(&mut W) -> Result<Read, W::Error>,
    limits: &Limits,
    cause: &str,
) -> Result<Pass, W::Error> {
    let mut pass = look_over(world, &mut read, limits)?;
    // A file may be gone for a moment only: look again before any deletion.
    if deletes(&pass.plan) {
        pass = look_over(world, &mut read, limits)?;
    }
    pass.outcomes = apply(world, &pass.plan, cause)?;
    Ok(pass)
}

/// A pass without its second half: it changes nothing.
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
    let plan = ask_and_plan(world, desired.as_deref(), &records, &observed, limits)?;
    Ok(Pass { now: world.now(), desired, records, observed, plan, outcomes: Vec::new() })
}

fn ask_and_plan<W: World>(
    world: &mut W,
    desired: Option<&Desired>,
    records: &Records,
    observed: &Observed,
    limits: &Limits,
) -> Result<Plan, W::Error> {
    let (now, id_seed) = (world.now(), world.seed());
    let mut answers = Answers::default();
    // Nearly every plan asks this first.
    world.answer(&llama_servers(desired), observed, &mut answers)?;
    let mut planner = Planner::default();
    for _ in 1..ROUNDS {
        let plan = planner.plan(&Input { now, desired, records, observed, answers: &answers, limits, id_seed });
        if plan.questions.is_empty() {
            return Ok(plan);
        }
        world.answer(&plan.questions, observed, &mut answers)?;
    }
    Ok(planner.plan(&Input { now, desired, records, observed, answers: &answers, limits, id_seed }))
}

/// Which llama-server each definition that is to run runs on.
fn llama_servers(desired: Option<&Desired>) -> Vec<Question> {
    let running = desired.into_iter().flat_map(|d| d.definitions.values()).filter(|d| d.state == DesiredState::Running);
    let named: BTreeSet<&Option<String>> = running.map(|definition| &definition.spec.binary).collect();
    named.into_iter().cloned().map(Question::Binary).collect()
}

fn deletes(plan: &Plan) -> bool {
    let is_deletion = |change: &Change| matches!(change, Change::DeleteModel { .. });
    plan.actions
        .iter()
        .flat_map(|action| &action.steps)
        .any(|step| matches!(step, Step::Record(changes) if changes.iter().any(is_deletion)))
}
