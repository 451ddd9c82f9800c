//! The commits that new generations and deletions come from.

use std::path::PathBuf;

use super::{Action, Input, Plan, Question, Step};
use crate::model::{Change, ModelName, NewGeneration, Records};

/// Adds its commit to every action that a definition file gave rise to, or asks
/// for it.
pub fn add(input: &Input<'_>, plan: &mut Plan) {
    for action in &mut plan.actions {
        let Some(source) = source(action, input.records) else { continue };
        match input.answers.provenance.get(&action.model) {
            Some(provenance) => {
                action.provenance.clone_from(provenance);
                let generations = action.steps.iter_mut().filter_map(generations).flatten();
                generations.for_each(|generation| generation.provenance.clone_from(provenance));
            }
            None => plan.questions.push(Question::Provenance { model: action.model.clone(), source }),
        }
    }
}

/// The file that an action makes a generation of, or deletes a model for.
fn source(action: &Action, records: &Records) -> Option<PathBuf> {
    let recorded = |model: &ModelName| records.models.get(model).map(|record| PathBuf::from(&*record.source));
    action.changes().find_map(|change| match change {
        Change::AddGeneration(new) => Some(PathBuf::from(&new.source)),
        Change::DeleteModel { model } => recorded(model),
        _ => None,
    })
}

fn generations(step: &mut Step) -> Option<impl Iterator<Item = &mut NewGeneration>> {
    let Step::Record(changes) = step else { return None };
    Some(changes.iter_mut().filter_map(|change| match change {
        Change::AddGeneration(new) => Some(new),
        _ => None,
    }))
}
