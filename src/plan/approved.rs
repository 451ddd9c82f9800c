//! What a person has approved: the scope of a run that applies a saved plan.
//!
//! Every plan of the run gets it as input, like `--target`. A model stays in scope
//! while its definition is the same as when the plan was saved, and until it has
//! reached what the plan promises. So a run finishes what it started and does
//! nothing else, whatever happens meanwhile.

use std::collections::BTreeMap;

use super::action::{Action, ActionKind, Plan};
use super::waiting::WaitKind;
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::{WaitFor, Waiting};
    use super::*;
    use crate::model::Timestamp;

    fn name() -> ModelName {
        ModelName::parse("a").unwrap()
    }

    fn approved(kind: Option<ActionKind>) -> Approved {
        let task = Task { kind, definition: None };
        Approved { secrets: true, tasks: [(name(), task)].into() }
    }

    fn action(kind: ActionKind) -> Action {
        Action { model: name(), kind, reasons: Vec::new(), steps: Vec::new(), provenance: None }
    }

    fn permitted(kind: Option<ActionKind>) -> Vec<ActionKind> {
        let approved = approved(kind);
        ActionKind::ALL.into_iter().filter(|kind| approved.permits(&action(*kind))).collect()
    }

    #[test]
    fn a_start_may_be_carried_on_and_a_record_not_be_written_again() {
        use ActionKind::{Adopt, Create, Delete, Restart, Start, Stop, Update};
        assert_eq!(permitted(None), [Restart, Start, Stop]);
        assert_eq!(permitted(Some(Create)), [Create, Restart, Start, Stop]);
        assert_eq!(permitted(Some(Restart)), [Restart, Start, Stop]);
        for alone in [Update, Adopt, Stop, Delete] {
            assert_eq!(permitted(Some(alone)), [alone]);
        }
        assert!(Approved::default().tasks.is_empty() && !Approved::default().permits(&action(Start)));
    }

    #[test]
    fn what_is_finished_is_no_longer_approved_and_what_loads_is() {
        use ActionKind::{Delete, Restart, Start, Stop, Update};
        let left = |kind, plan: &Plan| {
            let mut approved = approved(kind);
            approved.carry_on(plan);
            approved.tasks.into_values().map(|task| task.kind).next()
        };
        let did = |kind| Plan { actions: vec![action(kind)], ..Plan::default() };
        let loads =
            Waiting { model: name(), on: WaitFor::Ready { pid: 1, deadline: Timestamp(1) }, reasons: Vec::new() };
        let loads = Plan { waiting: vec![loads], ..Plan::default() };
        assert_eq!(left(Some(Start), &did(Start)), Some(Some(Start)), "whether it becomes ready is to be seen");
        assert_eq!(left(Some(Restart), &did(Stop)), Some(Some(Restart)), "given up: the former one follows");
        assert_eq!(left(Some(Start), &loads), Some(None));
        assert_eq!(left(Some(Update), &loads), Some(None), "it writes no second time");
        assert_eq!(left(Some(Start), &Plan::default()), None);
        assert_eq!(left(Some(Update), &did(Update)), None);
        // Without a step that stops or deletes they only begin to drain.
        assert_eq!(left(Some(Delete), &did(Delete)), Some(Some(Delete)));
        assert_eq!(left(Some(Stop), &Plan::default()), None);
    }
}
