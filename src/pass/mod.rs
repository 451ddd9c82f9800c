//! One pass: load, observe, plan, apply, record.

mod apply;
pub mod by_hand;
pub mod converge;
pub mod next;
pub mod review;
pub mod wait;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use apply::{Outcome, apply};
pub use world::{Fallible, Fleet, Ledger, Source, World};

use crate::model::{
    Change, Definition, Demand, Desired, DesiredState, Instance, InstanceState, ModelName, Observed, Records, Timestamp,
};
use crate::plan::{Action, Answers, Input, Limits, Plan, Planner, Question};

/// How often the planner may ask before it must plan with what it knows. It asks
/// each kind of question once, and one may lead to another.
const ROUNDS: usize = 11;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Bring every model in sync with its definition.
    Definitions,
    /// Stop every instance.
    Down,
}

/// The input of a pass: definitions (`None`: stop everything) and records. Shared,
/// because most of it stays the same from pass to pass.
pub type Read = (Option<Arc<Desired>>, Arc<Records>);

/// The options of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What it may do.
    pub limits: &'a Limits,
    /// Models that an earlier pass of the same run has retried (`--retry`).
    pub tried: &'a BTreeSet<ModelName>,
    /// What triggered it, for the history.
    pub cause: &'a str,
}

impl<'a> Order<'a> {
    /// Returns the order for the first pass of a run.
    #[must_use]
    pub const fn new(limits: &'a Limits, cause: &'a str) -> Self {
        static NONE: BTreeSet<ModelName> = BTreeSet::new();
        Self { limits, tried: &NONE, cause }
    }
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
    /// What clients asked for; `None`: no gateway of this process serves.
    pub demand: Option<Demand>,
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

/// Reads definitions, unless everything is to be stopped, and records.
///
/// # Errors
/// Either cannot be read.
pub fn read<W: Source + Ledger>(world: &mut W, goal: Goal) -> Result<Read, W::Error> {
    let desired = match goal {
        Goal::Definitions => Some(world.definitions()?),
        Goal::Down => None,
    };
    Ok((desired, world.records()?))
}

/// Makes a pass. It never waits for a model: the next pass looks again at what
/// loads or drains.
///
/// # Errors
/// The definitions, the records or the instances cannot be read, or nothing
/// can be recorded.
pub fn pass<W: World>(world: &mut W, goal: Goal, order: Order<'_>) -> Result<Pass, W::Error> {
    pass_if(world, |world| read(world, goal), order, |_, _| Ok(()))
}

/// Makes a pass over what `read` reads, but changes nothing unless `approve` agrees:
/// it is asked once, before the first effect, with everything the pass rests on.
///
/// # Errors
/// As [`pass`], and what `approve` says.
pub fn pass_if<W: World, E: From<W::Error>>(
    world: &mut W,
    mut read: impl FnMut(&mut W) -> Result<Read, W::Error>,
    order: Order<'_>,
    approve: impl FnOnce(&mut W, &Pass) -> Result<(), E>,
) -> Result<Pass, E> {
    let mut pass = see(world, &mut read, order, true)?;
    // A file may be gone for a moment only: look again before any deletion.
    if deletes(&pass.plan) {
        pass = see(world, &mut read, order, true)?;
    }
    approve(world, &pass)?;
    let notifications = world.notifications(&pass, order.limits)?;
    pass.plan.bookkeeping.extend(notifications);
    pass.outcomes = apply(world, &pass.plan, order.cause)?;
    Ok(pass)
}

/// Makes a pass without its second half: it changes nothing.
///
/// # Errors
/// As [`pass`].
pub fn look<W: World>(world: &mut W, goal: Goal, limits: &Limits) -> Result<Pass, W::Error> {
    see(world, &mut |world| read(world, goal), Order::new(limits, ""), false)
}

/// Load, observe, plan. `acts`: the plan will be carried out.
fn see<W: World>(
    world: &mut W,
    read: &mut impl FnMut(&mut W) -> Result<Read, W::Error>,
    order: Order<'_>,
    acts: bool,
) -> Result<Pass, W::Error> {
    let (desired, records) = read(world)?;
    let observed = world.observe(&records)?;
    let (site, now, id_seed) = (world.site(), world.now(), world.seed());
    let demand = world.demand();
    let mut answers = Answers::default();
    // Nearly every plan asks this first.
    world.answer(&llama_servers(desired.as_deref(), &records), &observed, &mut answers)?;
    let mut planner = Planner::default();
    let mut rounds = 0;
    let plan = loop {
        rounds += 1;
        let plan = planner.plan(&Input {
            now,
            desired: desired.as_deref(),
            records: &records,
            observed: &observed,
            demand: demand.as_ref(),
            answers: &answers,
            limits: order.limits,
            tried: order.tried,
            site: &site,
            acts,
            id_seed,
        });
        if plan.questions.is_empty() || rounds == ROUNDS {
            break plan;
        }
        world.answer(&plan.questions, &observed, &mut answers)?;
    };
    Ok(Pass { now: world.now(), desired, records, observed, demand, answers, plan, outcomes: Vec::new() })
}

/// Which llama-server each definition that is to run runs on.
fn llama_servers(desired: Option<&Desired>, records: &Records) -> Vec<Question> {
    let is_to_run = |definition: &&Arc<Definition>| records.wanted_state(definition) == DesiredState::Running;
    let running = desired.into_iter().flat_map(|d| d.definitions.values()).filter(is_to_run);
    let named: BTreeSet<&Option<String>> = running.map(|definition| &definition.spec.binary).collect();
    named.into_iter().cloned().map(Question::Binary).collect()
}

fn deletes(plan: &Plan) -> bool {
    let is_deletion = |change: &Change| matches!(change, Change::DeleteModel { .. });
    plan.actions.iter().flat_map(Action::changes).any(is_deletion)
}
