//! Shows what a change of the definitions would do, without a machine: the plan of
//! a pass where everything matches the old version.
//!
//! It leaves out what only a machine knows: drift, crashes, assigned ports, weights
//! that changed on disk, a generation that failed before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::{Action, ActionKind, GuardRefusal, Plan, Waiting};
use super::guard;
use super::reason::{Impact, Reason};
use super::waiting::WaitFor;
use super::wanted::config_differences;
use crate::model::{Definition, Desired, DesiredState, FieldChange, Group, ModelName, SecretRef, Spec, Unresolved};

/// The plan that leads from `old` to `new`; its actions have no steps.
///
/// A file that cannot be used leaves its model as it is. Of one that could not
/// be used in `old` nothing is known, so its model counts as new.
#[must_use]
pub fn compare(old: &Desired, new: &Desired) -> Plan {
    let mut plan = Plan::default();
    let names: BTreeSet<&ModelName> = old.definitions.keys().chain(new.definitions.keys()).collect();
    let broken = Broken::new(old, new);
    for name in names {
        match (old.definitions.get(name), new.definitions.get(name)) {
            (None, Some(new)) => {
                let reason = Reason::DefinitionAdded { origin: new.origin(""), state: new.state };
                plan.actions.push(action(name, ActionKind::Create, vec![reason]));
            }
            (Some(old), None) => match broken.of(old) {
                Some(on) => plan.waiting.push(Waiting { model: name.clone(), on, reasons: Vec::new() }),
                None => {
                    let reason = Reason::DefinitionRemoved { file: old.file.to_string() };
                    plan.actions.push(action(name, ActionKind::Delete, vec![reason]));
                }
            },
            (Some(before), Some(after)) => match changed((old, before), (new, after)) {
                Some((kind, reasons)) => plan.actions.push(action(name, kind, reasons)),
                None => plan.matching += 1,
            },
            (None, None) => {}
        }
    }
    plan.guard = refusal(&plan, old, new);
    plan
}

fn action(model: &ModelName, kind: ActionKind, reasons: Vec<Reason>) -> Action {
    Action { model: model.clone(), kind, reasons, steps: Vec::new(), provenance: None }
}

/// Returns what happens to a model that both versions define.
fn changed(
    (old_files, old): (&Desired, &Definition),
    (new_files, new): (&Desired, &Definition),
) -> Option<(ActionKind, Vec<Reason>)> {
    use DesiredState::{OnDemand, Running, Stopped};
    let (kind, impact) = match (old.state, new.state) {
        (Running, Running) => (ActionKind::Restart, Impact::Restart),
        (Stopped | OnDemand, Running) => (ActionKind::Start, Impact::Restart),
        (Running | OnDemand, Stopped) => (ActionKind::Stop, Impact::Record),
        (Stopped, Stopped) | (_, OnDemand) => (ActionKind::Update, Impact::Record),
    };
    let mut reasons = Vec::new();
    if old.state != new.state {
        reasons.push(Reason::StateWanted { state: new.state, origin: new.origin("state") });
    }
    let spec = spec_changes(&old.spec, &new.spec).into_iter();
    reasons.extend(spec.map(|change| Reason::FieldChanged { origin: new.origin(&change.field), change, impact }));
    let restarts = !reasons.is_empty();
    reasons.extend(config_differences(new, &old.config(), restarts));
    reasons.extend(sharing_changes(old, new));
    reasons.extend(room_changes((old_files, old), (new_files, new)));
    let kind = if restarts { kind } else { ActionKind::Update };
    (!reasons.is_empty()).then_some((kind, reasons))
}

/// What changes about how a model shares room and requests; its groups are
/// recorded, so [`config_differences`] has them.
fn sharing_changes(old: &Definition, new: &Definition) -> impl Iterator<Item = Reason> {
    let pairs = old.uses().sharing.keys().into_iter().zip(new.uses().sharing.keys());
    let changed = pairs.filter(|((field, old), (_, new))| *field != "group" && old != new);
    changed.map(|((field, old), (_, value))| {
        let change = FieldChange { field: field.to_owned(), old, new: value };
        Reason::FieldChanged { change, impact: Impact::None, origin: new.origin(field) }
    })
}

/// How the room changes in the groups that a model stays in.
fn room_changes<'a>(
    (old_files, old): (&'a Desired, &'a Definition),
    (new_files, new): (&'a Desired, &'a Definition),
) -> impl Iterator<Item = Reason> {
    let stays = move |name: &&Arc<str>| old.placement.groups.contains(name);
    new.placement.groups.iter().filter(stays).filter_map(move |name| {
        let (was, is) = (old_files.groups.get(name)?, new_files.groups.get(name)?);
        let room = |group: &Group| Some(group.max_running.to_string());
        let change = FieldChange { field: format!("groups.{name}.max_running"), old: room(was), new: room(is) };
        let reason = Reason::FieldChanged { change, impact: Impact::None, origin: is.origin.clone() };
        (was.max_running != is.max_running).then_some(reason)
    })
}

/// What of a spec changes wherever it runs.
fn spec_changes(old: &Spec, new: &Spec) -> Vec<FieldChange> {
    let mut changes = new.changes_from(old);
    // Weights are as they are on this machine, whatever the version; and a port
    // that is no longer declared is kept.
    let is_hosts = |field: &str| field.starts_with("file ") || field == "port" && new.port.is_none();
    changes.retain(|change| !is_hosts(&change.field));
    for (name, SecretRef { source, .. }) in &new.secrets {
        let field = format!("secrets.{name}");
        // Where the value is not known, another place counts as another value.
        if let Some(before) = old.secrets.get(name).filter(|before| before.source != *source)
            && !changes.iter().any(|change| change.field == field)
        {
            changes.push(FieldChange { field, old: Some(before.source.to_string()), new: Some(source.to_string()) });
        }
    }
    changes
}

/// The files of a version that cannot be used.
struct Broken<'a> {
    by_path: BTreeMap<&'a str, &'a Unresolved>,
    by_name: BTreeMap<&'a ModelName, &'a Unresolved>,
    /// One that was not there before: any model's file under another name.
    unknown: Option<&'a Unresolved>,
}

impl<'a> Broken<'a> {
    fn new(old: &Desired, new: &'a Desired) -> Self {
        let known = old.definitions.values().map(|definition| &definition.path);
        let known: BTreeSet<_> = known.chain(old.unresolved.iter().map(|file| &file.path)).collect();
        Self {
            by_path: new.unresolved.iter().map(|file| (&*file.path, file)).collect(),
            by_name: new.unresolved.iter().filter_map(|file| Some((file.name.as_ref()?, file))).collect(),
            unknown: new.unresolved.iter().find(|file| !known.contains(&file.path)),
        }
    }

    /// Why a model that is no longer declared is not deleted: its file is one of
    /// these, or one of them may be its file under another name.
    fn of(&self, definition: &Definition) -> Option<WaitFor> {
        let own = self.by_path.get(&*definition.path).or_else(|| self.by_name.get(&definition.name));
        if let Some(own) = own {
            return Some(WaitFor::Definition { file: own.file.to_string(), problem: own.problem.clone() });
        }
        self.unknown.map(|any| WaitFor::DeletionBlocked { file: any.file.to_string() })
    }
}

/// What the mass-delete guard says of it.
fn refusal(plan: &Plan, old: &Desired, new: &Desired) -> Option<GuardRefusal> {
    let of_kind = |kind| plan.actions.iter().filter(move |action| action.kind == kind).map(|action| &action.model);
    let deletions: Vec<ModelName> = of_kind(ActionKind::Delete).cloned().collect();
    let managed = old.definitions.len();
    if guard::allows(deletions.len(), managed, None) {
        return None;
    }
    let weights = |from: &Desired, name: &ModelName| weights_of(from.definitions.get(name)?);
    let renamed = |gone: &ModelName| {
        let weights_of_gone = weights(old, gone)?;
        let by = of_kind(ActionKind::Create).find(|name| weights(new, name).as_ref() == Some(&weights_of_gone))?;
        Some((gone.clone(), by.clone()))
    };
    let renames = deletions.iter().filter_map(renamed).collect();
    Some(GuardRefusal { deletions, managed, renames })
}

fn weights_of(definition: &Arc<Definition>) -> Option<String> {
    Some(definition.parameters.get("model")?.as_str()?.to_owned())
}
