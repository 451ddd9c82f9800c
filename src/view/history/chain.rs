//! Which action made a model what it is, and how that went on.

use crate::model::{EventRecord, GenerationRecord, ModelName};
use crate::plan::{ActionKind, Command, Reason};

use super::differences;

/// The last action that decided what runs, and what was found of it since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastAction<'e> {
    /// What was done.
    pub action: &'e EventRecord,
    /// What was found after it, if it started something: ready, or not.
    pub then: Option<&'e EventRecord>,
}

/// Finds it among the events of one model, newest first.
#[must_use]
pub fn last_action(events: &[EventRecord]) -> Option<LastAction<'_>> {
    let is_action = |event: &EventRecord| !is_finding(event) && !Command::is_event(&event.action);
    // An update changes a record: what runs is due to what was before it.
    let decides = |event: &EventRecord| is_action(event) && event.action != ActionKind::Update.as_str();
    let index = events.iter().position(decides).or_else(|| events.iter().position(is_action))?;
    Some(LastAction { action: &events[index], then: events[..index].iter().find(|event| is_finding(event)) })
}

fn is_finding(event: &EventRecord) -> bool {
    // The words of `plan::Found`.
    matches!(event.action.as_str(), "ready" | "start_failed" | "crashed")
}

/// What made the newest generation: the changes from the one before it. Empty
/// for the first, and where a record cannot be read.
#[must_use]
pub fn made_by(model: &ModelName, generations: &[GenerationRecord]) -> Vec<Reason> {
    match generations {
        [newest, before, ..] => differences(model, generations, before.number, newest.number).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The reasons of an event; `None`: they are not of this herdsman's words.
#[must_use]
pub fn reasons(event: &EventRecord) -> Option<Vec<Reason>> {
    serde_json::from_value(event.reasons.clone()).ok()
}
