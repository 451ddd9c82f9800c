//! What changed between two generations, in the words of a plan.

use std::sync::Arc;

use crate::model::{GenerationRecord, ModelName, Origin, Spec};
use crate::plan::{Impact, Reason};

/// Why there is no telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// No generation of that number.
    #[error("{model} has no generation {number}: {}", there_are(.there))]
    Missing {
        /// Of this model.
        model: ModelName,
        /// What was asked for.
        number: u32,
        /// Those it has, newest first.
        there: Vec<u32>,
    },
    /// Somebody edited the database, or a newer herdsman wrote it.
    #[error("the recorded spec of generation {number} of {model} cannot be read: {why}")]
    Unreadable {
        /// Of this model.
        model: ModelName,
        /// Which.
        number: u32,
        /// Why.
        why: String,
    },
}

fn there_are(numbers: &[u32]) -> String {
    match numbers {
        [] => "it has none (a deleted model keeps only its actions)".to_owned(),
        [one] => format!("its only one is {one}"),
        [newest, .., oldest] => format!("it has {oldest} to {newest}"),
    }
}

/// What changed from generation `from` to generation `to`, among `all` of
/// `model`, as a plan would have said it: each is a [`Reason::FieldChanged`].
///
/// # Errors
/// One of them is not there, or its record is not what herdsman wrote.
pub fn differences(model: &ModelName, all: &[GenerationRecord], from: u32, to: u32) -> Result<Vec<Reason>, DiffError> {
    let (old, new) = (find(model, all, from)?, find(model, all, to)?);
    let spec = |of: &GenerationRecord| {
        let unreadable = |why: serde_json::Error| DiffError::Unreadable {
            model: model.clone(),
            number: of.number,
            why: why.to_string(),
        };
        serde_json::from_str::<Spec>(&of.spec_json).map_err(unreadable)
    };
    let mut changes = spec(new)?.changes_from(&spec(old)?);
    // A port that is no longer declared is kept. The first recipe recorded every
    // port as if it were declared.
    changes.retain(|change| change.field != "port" || change.new.is_some());
    Ok(changes
        .into_iter()
        .map(|change| {
            let origin = line_of(new, &change.field).or_else(|| former_file(old, &change.field));
            let origin = origin.unwrap_or_else(|| Origin::new(Arc::from(file_of(new)), 0));
            Reason::FieldChanged { change, impact: Impact::Restart, origin }
        })
        .collect())
}

fn find<'g>(model: &ModelName, all: &'g [GenerationRecord], number: u32) -> Result<&'g GenerationRecord, DiffError> {
    all.iter().find(|generation| generation.number == number).ok_or_else(|| DiffError::Missing {
        model: model.clone(),
        number,
        there: all.iter().map(|generation| generation.number).collect(),
    })
}

fn line_of(generation: &GenerationRecord, field: &str) -> Option<Origin> {
    generation.lines.get(field).cloned()
}

/// A field that is no longer stated: the file that stated it, without a line,
/// for there is none any more.
fn former_file(old: &GenerationRecord, field: &str) -> Option<Origin> {
    Some(Origin::new(line_of(old, field)?.file, 0))
}

/// The file as people see it, if any line of it was recorded.
fn file_of(generation: &GenerationRecord) -> &str {
    generation.origins.first().map_or(&generation.source, |origin| &origin.file)
}
