//! What there is to say about every model after a pass: pure, from a pass or from
//! records to plain values that others render.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`View`]: a pass, by model |
//! | `model` | [`ModelView`]: what one model is, what is wanted of it and why |
//! | `wanted` | [`Wanted`]: declared, by hand, suspended |
//! | `totals` | [`Totals`]: how many models are in sync, and the sentence that says so |
//! | `words` | the prose of a wait that needs a clock or a place |
//! | [`history`] | what is recorded of the past |

pub mod history;
mod model;
mod totals;
mod wanted;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use model::{Drift, Invalid, ModelView};
pub use totals::Totals;
pub use wanted::{ByHand, Suspension, Wanted};

use crate::model::{Change, Desired, Instance, ModelName, Records, Severity, Timestamp, Unresolved};
use crate::pass::Pass;

/// A pass, by model.
#[derive(Clone, Debug)]
pub struct View<'p> {
    /// When the pass looked.
    pub now: Timestamp,
    /// Whether the pass followed the definitions; if not, it was to stop
    /// everything, and says nothing about what is wanted.
    pub follows_definitions: bool,
    /// How many models are in sync, and what concerns no model alone.
    pub totals: Totals<'p>,
    models: BTreeMap<&'p ModelName, ModelView<'p>>,
}

impl<'p> View<'p> {
    /// Returns the view of a pass, or of a look that did nothing.
    #[must_use]
    pub fn of(pass: &'p Pass) -> Self {
        let mut models: BTreeMap<_, _> =
            names(pass).into_iter().map(|name| (name, ModelView::new(name, pass))).collect();
        add_live(&mut models, pass);
        add_plan(&mut models, pass);
        // What a pass that stops everything records says nothing about how models are.
        if pass.desired.is_some() {
            add_bookkeeping(&mut models, pass);
        }
        add_invalid(&mut models, pass);
        models.values_mut().for_each(|model| model.conclude(pass));
        Self { now: pass.now, follows_definitions: pass.desired.is_some(), totals: Totals::of(&pass.plan), models }
    }

    /// Returns every model that a definition, a record, an instance, the plan or
    /// somebody by hand names, in order.
    pub fn models(&self) -> impl Iterator<Item = &ModelView<'p>> {
        self.models.values()
    }

    /// Returns one model.
    #[must_use]
    pub fn model(&self, name: &ModelName) -> Option<&ModelView<'p>> {
        self.models.get(name)
    }
}

fn names(pass: &Pass) -> BTreeSet<&ModelName> {
    let desired = || pass.desired.iter();
    let mut names: BTreeSet<&ModelName> = pass.records.models.keys().collect();
    names.extend(desired().flat_map(|desired| desired.definitions.keys()));
    names.extend(desired().flat_map(|desired| &desired.unresolved).filter_map(|file| file.name.as_ref()));
    names.extend(pass.observed.instances.iter().map(|instance| &instance.model));
    names.extend(pass.records.overrides.keys());
    names.extend(pass.plan.actions.iter().map(|action| &action.model));
    names.extend(pass.plan.waiting.iter().map(|waiting| &waiting.model));
    names
}

type Models<'p> = BTreeMap<&'p ModelName, ModelView<'p>>;

/// Adds the instances. Of two of one model the older counts: a plan keeps that
/// one unless the other serves what is wanted.
fn add_live<'p>(models: &mut Models<'p>, pass: &'p Pass) {
    for instance in &pass.observed.instances {
        if let Some(model) = models.get_mut(&instance.model) {
            model.live.get_or_insert(instance);
        }
    }
    for (name, overrides) in &pass.records.overrides {
        let Some((asked, model)) = overrides.restart.as_ref().zip(models.get_mut(name)) else { continue };
        let lives = |live: &Instance| live.model == *name && live.id == asked.instance;
        model.restart_by_hand = pass.observed.instances.iter().any(lives).then_some(&asked.given);
    }
}

/// Adds actions, outcomes, waits and findings.
fn add_plan<'p>(models: &mut Models<'p>, pass: &'p Pass) {
    for action in &pass.plan.actions {
        models.entry(&action.model).and_modify(|model| model.action = Some(action));
    }
    for outcome in &pass.outcomes {
        if let Some(model) = models.get_mut(&outcome.model) {
            model.outcome = Some(outcome);
        }
    }
    for waiting in &pass.plan.waiting {
        models.entry(&waiting.model).and_modify(|model| model.waits.push(waiting));
    }
    for waiting in &pass.plan.on_request {
        models.entry(&waiting.model).and_modify(|model| model.on_request.push(&waiting.on));
    }
    for finding in &pass.plan.findings {
        if let (Some(model), Some(death)) = (models.get_mut(&finding.model), finding.what.death()) {
            model.death = Some(death);
        }
    }
}

/// Adds what the records will say once the pass has recorded what it found.
fn add_bookkeeping<'p>(models: &mut Models<'p>, pass: &'p Pass) {
    for change in &pass.plan.bookkeeping {
        match change {
            Change::SetCrashes { model, crashes } => {
                models.entry(model).and_modify(|view| view.crashes = *crashes);
            }
            Change::SetGenerationOutcome { model, outcome, .. } => {
                models.entry(model).and_modify(|view| view.generation_outcome = Some(outcome));
            }
            Change::PutInstance(instance) => {
                if let Some(model) = models.get_mut(&instance.model)
                    && model.live.is_some_and(|live| live.id == instance.id)
                {
                    model.instance = Some(instance);
                }
            }
            _ => {}
        }
    }
}

/// Adds the invalid files, each to the model it names and the one recorded from it.
fn add_invalid<'p>(models: &mut Models<'p>, pass: &'p Pass) {
    let Some(desired) = pass.desired.as_deref().filter(|desired| !desired.unresolved.is_empty()) else { return };
    let lines = error_lines(desired);
    let sources = by_source(&pass.records);
    for file in &desired.unresolved {
        let recorded = sources.get(&*file.path).into_iter().flatten().copied();
        for name in file.name.iter().chain(recorded) {
            let Some(model) = models.get_mut(name) else { continue };
            model.invalid.get_or_insert_with(|| invalid(file, &lines));
        }
    }
}

fn invalid<'p>(file: &'p Unresolved, lines: &BTreeMap<&str, u32>) -> Invalid<'p> {
    Invalid { file: &file.file, line: lines.get(&*file.file).copied(), problem: &file.problem }
}

/// The line of the first error of each file, where it has one.
fn error_lines(desired: &Desired) -> BTreeMap<&str, u32> {
    let mut lines = BTreeMap::new();
    for diagnostic in desired.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        let line = diagnostic.position().map(|(line, _)| line);
        lines.entry(&*diagnostic.file).or_insert(line);
    }
    lines.into_iter().filter_map(|(file, line)| Some((file, line?))).collect()
}

fn by_source(records: &Records) -> BTreeMap<&str, Vec<&ModelName>> {
    let mut sources: BTreeMap<&str, Vec<&ModelName>> = BTreeMap::new();
    for (name, record) in &records.models {
        sources.entry(&record.source).or_default().push(name);
    }
    sources
}
