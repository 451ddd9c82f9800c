//! What a person has approved: the scope of a run that applies a saved plan.
//!
//! It is input to every plan of the run, like `--target`. A model is in it only
//! while its definition says what it said when the plan was saved, and leaves it
//! once it is where the plan leads; so a run carries on what it began, and takes
//! up nothing else, whatever happens meanwhile.

use std::collections::BTreeMap;

use super::action::{Action, ActionKind, Plan};
use super::reason::WaitKind;
use crate::model::{Definition, Desired, ModelName};

/// The models that may be acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approved {
    /// Whether the digests of definitions tell the values of secrets.
    pub secrets: bool,
    /// What is still to be done.
    pub tasks: BTreeMap<ModelName, Task>,
}

/// What was approved for one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The action; `None`: it was under way, or waited for its turn.
    pub kind: Option<ActionKind>,
    /// The digest of its definition; `None`: it had none that could be read.
    pub definition: Option<String>,
}

impl Approved {
    /// Whether `name` may be acted on while this is desired.
    #[must_use]
    pub fn includes(&self, name: &ModelName, desired: Option<&Desired>) -> bool {
        let definition = desired.and_then(|d| d.definitions.get(name));
        let digest = |definition: &Definition| definition.digest(self.secrets);
        self.tasks.get(name).is_some_and(|task| task.definition == definition.map(|d| digest(d)))
    }

    /// Whether `action` is what was approved, or carries it on: a start may have
    /// to be given up, and the former generation started in its place.
    pub(super) fn permits(&self, action: &Action) -> bool {
        use ActionKind::{Create, Restart, Start, Stop};
        self.tasks.get(&action.model).is_some_and(|task| match (task.kind, action.kind) {
            (Some(approved), kind) if approved == kind => true,
            (None | Some(Create | Start | Restart), kind) => matches!(kind, Start | Restart | Stop),
            _ => false,
        })
    }

    /// After a pass: what it finished is no longer approved.
    pub fn carry_on(&mut self, done: &Plan) {
        use ActionKind::{Create, Delete, Restart, Start, Stop};
        self.tasks.retain(|model, task| {
            let unfinished = done.actions.iter().filter(|action| action.model == *model).any(|action| {
                match action.kind {
                    Create | Start | Restart => true,
                    // The end of what was to end, or of a start that failed.
                    Stop | Delete => action.only_begins() || task.kind != Some(action.kind),
                    _ => false,
                }
            });
            let waits = done.waiting.iter().any(|w| w.model == *model && w.on.kind() == WaitKind::Progressing);
            if !unfinished && waits && !matches!(task.kind, Some(Stop | Delete)) {
                task.kind = None;
            }
            unfinished || waits
        });
    }

    /// Those whose definition no longer says what was approved.
    pub fn edited<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = &'a ModelName> {
        self.tasks.keys().filter(|name| !self.includes(name, Some(desired)))
    }
}
