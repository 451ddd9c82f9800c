//! Whether everything a plan does is explained by a definition that is valid.

use std::fmt;

use herdsman::model::{Change, Desired, DesiredState, ModelName, ModelRecord, Records};
use herdsman::plan::{Action, ActionKind, Plan, Step};

/// What the cases were, and what was planned.
#[derive(Debug, Default)]
pub struct Count {
    valid: u64,
    unresolved: u64,
    nothing: u64,
    actions: [u64; ActionKind::ALL.len()],
}

impl Count {
    /// Whether every kind of case came up.
    pub fn is_telling(&self) -> bool {
        let cases = self.valid + self.unresolved;
        use ActionKind::{Create, Delete, Restart, Stop, Update};
        let seen = [Create, Delete, Restart, Stop, Update].iter().all(|kind| self.actions[*kind as usize] > 0);
        cases < 1_000 || (seen && self.valid > cases / 10 && self.unresolved > cases / 10)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { valid, unresolved, nothing, actions } = self;
        write!(
            f,
            "{valid} cases with valid files only, {unresolved} with unresolved ones, {nothing} with nothing to do;"
        )?;
        for (kind, number) in ActionKind::ALL.iter().zip(actions) {
            write!(f, " {number} {}", kind.as_str())?;
        }
        Ok(())
    }
}

/// Checks a plan; `mutated` are the stems of the files that were.
///
/// # Errors
/// Says what it does without a valid definition that wants it.
pub fn check(
    plan: &Plan,
    desired: &Desired,
    records: &Records,
    mutated: &[&str],
    count: &mut Count,
) -> Result<(), String> {
    match desired.unresolved.len() {
        0 => count.valid += 1,
        _ => count.unresolved += 1,
    }
    count.nothing += u64::from(plan.actions.is_empty());
    let reasons = plan.actions.iter().flat_map(|action| &action.reasons).map(ToString::to_string);
    let waits = plan.waiting.iter().map(|waiting| waiting.on.to_string());
    if let Some(line) = reasons.chain(waits).find(|line| line.len() > 2_000 || line.chars().any(char::is_control)) {
        return Err(format!("not a line for a terminal: {line:?}"));
    }
    if plan.bookkeeping.iter().any(deletes) {
        return Err("a deletion outside any action".to_owned());
    }
    for action in &plan.actions {
        count.actions[action.kind as usize] += 1;
        let model = &action.model;
        let fault = match records.models.get(model) {
            _ if is_protected(model, desired, records) => Some("its file is broken".to_owned()),
            None => (action.kind != ActionKind::Create).then(|| "there is no such model".to_owned()),
            Some(record) => unexplained(action, record, desired, mutated),
        };
        if let Some(fault) = fault {
            return Err(format!("{} {model}: {fault}", action.kind.as_str()));
        }
    }
    Ok(())
}

/// Whether a broken file stands for this model: it was recorded from it, or
/// the file would declare it.
fn is_protected(model: &ModelName, desired: &Desired, records: &Records) -> bool {
    desired.unresolved.iter().any(|file| {
        let named = file.name.as_ref() == Some(model) && !desired.definitions.contains_key(model);
        named || records.models.get(model).is_some_and(|record| *record.source == *file.path)
    })
}

/// What is wrong with an action on a recorded model; `None`: a valid file
/// wants it.
fn unexplained(action: &Action, record: &ModelRecord, desired: &Desired, mutated: &[&str]) -> Option<String> {
    let stops = action.steps.iter().any(|step| matches!(step, Step::Stop { .. }));
    let removes = action.steps.iter().any(|step| matches!(step, Step::Record(changes) if changes.iter().any(deletes)));
    let touched =
        mutated.contains(&"_defaults") || mutated.iter().any(|stem| record.source.ends_with(&format!("/{stem}.toml")));
    let definition = desired.definitions.get(&action.model);
    match (action.kind, definition) {
        _ if !touched => Some("its file is as it was".to_owned()),
        (ActionKind::Delete, None) => {
            // The files are all there: only another name takes a model away.
            let renamed = desired.definitions.values().any(|definition| *definition.path == *record.source);
            (!renamed).then(|| "no valid file has given up its name".to_owned())
        }
        (ActionKind::Delete, Some(_)) => Some("it is defined".to_owned()),
        (_, None) => Some("it is not defined".to_owned()),
        _ if removes => Some("it is removed, and not by a deletion".to_owned()),
        (ActionKind::Stop, Some(definition)) => {
            (definition.state != DesiredState::Stopped).then(|| "it is to run".to_owned())
        }
        (ActionKind::Restart, Some(definition)) => {
            let port = record.port.map(|port| port.port);
            let same = definition.is_served_as(&record.generation.hash, port);
            same.then(|| "nothing that needs a restart has changed".to_owned())
        }
        (ActionKind::Update, Some(_)) => stops.then(|| "an update stops it".to_owned()),
        (kind, Some(_)) => Some(format!("it runs, and {} is planned", kind.as_str())),
    }
}

fn deletes(change: &Change) -> bool {
    matches!(change, Change::DeleteModel { .. })
}
