//! Finds what has changed since a plan was saved.

use std::collections::{BTreeMap, BTreeSet};

use super::fingerprint::{Declared, Fingerprint, Live, RecordPrint, fingerprints, group_limits, origin, stray_files};
use super::saved::{Here, Saved, SavedAction};
use crate::model::{ColumnDrift, DesiredState, FieldChange, Given, ModelName, Origin, Overrides};
use crate::pass::Pass;
use crate::plan::{ActionKind, Impact, Reason};

/// One thing that is not as it was when the plan was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made for another state directory.
    StateDirectory {
        /// That one.
        made_for: String,
        /// This one.
        here: String,
    },
    /// It was made from another directory of definitions.
    ModelsDirectory {
        /// That one.
        made_for: String,
        /// This one.
        here: String,
    },
    /// An invalid file appeared or went away.
    StrayFile {
        /// The file.
        file: String,
        /// Whether it is there now.
        now: bool,
    },
    /// A group has another `max_running`.
    Group {
        /// The group.
        name: String,
        /// When the plan was saved; `None`: none of its models was a member.
        then: Option<usize>,
        /// Now.
        now: Option<usize>,
    },
    /// Something about one model.
    Model(ModelName, Difference),
}

/// What changed about one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has a definition now.
    Declared {
        /// The file.
        file: String,
    },
    /// It no longer has one.
    NotDeclared {
        /// The file it was.
        file: String,
    },
    /// Its definition is no longer valid.
    Broken {
        /// The file.
        file: String,
    },
    /// Its definition is valid again.
    Fixed {
        /// The file.
        file: String,
    },
    /// Its definition says something else.
    Definition {
        /// The file.
        file: String,
        /// What, as reasons of a plan would say it; empty: a secret's value, or
        /// how a long value goes on.
        fields: Vec<Reason>,
    },
    /// It is recorded now.
    Recorded {
        /// Its generation.
        generation: u32,
    },
    /// It is not recorded any more.
    NotRecorded,
    /// Its generation changed.
    Generation {
        /// When the plan was saved.
        then: u32,
        /// Now.
        now: u32,
    },
    /// Its generation has failed since, or is no longer a failed one.
    Outcome {
        /// The generation.
        generation: u32,
        /// Whether it is a failed one now.
        failed: bool,
    },
    /// Another program changed its row.
    Drift(ColumnDrift),
    /// Another program deleted its row.
    RowDeleted,
    /// Its row was restored.
    RowRestored,
    /// Its record differs otherwise.
    Record,
    /// Another program made, or removed, a row of its name.
    OtherRow {
        /// The row.
        id: i64,
        /// Whether it is there now.
        now: bool,
    },
    /// A server of it is gone.
    Gone(Live),
    /// A server of it is new.
    New(Live),
    /// There is a new override.
    ByHand {
        /// What, in words.
        what: &'static str,
        /// By whom.
        given: Given,
    },
    /// An override is over.
    ByHandIsOver {
        /// What.
        what: &'static str,
        /// By whom it had been.
        given: Given,
    },
    /// Its llama-server binary changed.
    LlamaServer,
    /// The action is not possible now, or no longer needed.
    NotPossible {
        /// The action.
        action: ActionKind,
        /// What the model waits for.
        waits_for: Vec<String>,
    },
    /// The action now has other reasons.
    Reasons {
        /// The action.
        action: ActionKind,
        /// The reasons now.
        now: Vec<Reason>,
    },
}

/// Returns everything that changed since `saved` was made; empty if it is up to
/// date. `seen` is a look with [`Saved::limits`].
#[must_use]
pub fn changes(saved: &Saved, seen: &Pass, here: &Here) -> Vec<Changed> {
    let elsewhere = other_place(saved, here);
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let mut changed = Vec::new();
    let now = fingerprints(seen, saved.targets(), saved.tells_secrets());
    let acted_on = saved.limits().approved.unwrap_or_default().tasks;
    let (absent, mut names) = (Fingerprint::default(), saved.models.keys().chain(now.keys()).collect::<Vec<_>>());
    names.sort();
    names.dedup();
    for name in names {
        let (then, now) = (saved.models.get(name).unwrap_or(&absent), now.get(name).unwrap_or(&absent));
        let mut found = differences(seen, name, then, now);
        if then.llama_server != now.llama_server && acted_on.contains_key(name) && found.is_empty() {
            found.push(Difference::LlamaServer);
        }
        if found.is_empty() {
            found.extend(saved.actions.iter().filter(|a| a.model == *name).filter_map(|action| acts(seen, action)));
        }
        changed.extend(found.into_iter().map(|difference| Changed::Model(name.clone(), difference)));
    }
    changed.extend(groups(&saved.groups, &group_limits(seen, saved.targets())));
    if saved.targets().is_empty() {
        let now = stray_files(seen);
        let differ = saved.stray_files.symmetric_difference(&now);
        changed.extend(differ.map(|file| Changed::StrayFile { file: file.clone(), now: now.contains(file) }));
    }
    changed
}

fn groups(then: &BTreeMap<String, usize>, now: &BTreeMap<String, usize>) -> Vec<Changed> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let changed = |name: &String| {
        let (then, now) = (then.get(name).copied(), now.get(name).copied());
        (then != now).then(|| Changed::Group { name: name.clone(), then, now })
    };
    names.into_iter().filter_map(changed).collect()
}

/// Whether `saved` was made for another place: known before anything is read.
#[must_use]
pub fn other_place(saved: &Saved, here: &Here) -> Vec<Changed> {
    let Here { state, state_dir, models_dir } = &saved.made_for;
    let mut changed = Vec::new();
    if state.is_some() && *state != here.state || state.is_none() && *state_dir != here.state_dir {
        changed.push(Changed::StateDirectory { made_for: state_dir.clone(), here: here.state_dir.clone() });
    }
    if *models_dir != here.models_dir {
        changed.push(Changed::ModelsDirectory { made_for: models_dir.clone(), here: here.models_dir.clone() });
    }
    changed
}

fn differences(seen: &Pass, model: &ModelName, then: &Fingerprint, now: &Fingerprint) -> Vec<Difference> {
    let mut found = Vec::new();
    found.extend(definition(seen, model, then.definition.as_ref(), now.definition.as_ref()));
    record(then.record.as_ref(), now.record.as_ref(), &mut found);
    let gone = then.instances.iter().filter(|was| !now.instances.contains(was));
    found.extend(gone.cloned().map(Difference::Gone));
    let new = now.instances.iter().filter(|is| !then.instances.contains(is));
    found.extend(new.cloned().map(Difference::New));
    // An override that expired meanwhile is not a change.
    let (was, is) = (by_hand(&then.by_hand.in_force(seen.now)), by_hand(&now.by_hand));
    let over = was.iter().filter(|one| !is.contains(one)).cloned();
    found.extend(over.map(|(what, given)| Difference::ByHandIsOver { what, given }));
    let given = is.iter().filter(|one| !was.contains(one)).cloned();
    found.extend(given.map(|(what, given)| Difference::ByHand { what, given }));
    let rows = then.rows.iter().filter(|id| !now.rows.contains(id)).map(|id| (*id, false));
    let rows = rows.chain(now.rows.iter().filter(|id| !then.rows.contains(id)).map(|id| (*id, true)));
    found.extend(rows.map(|(id, now)| Difference::OtherRow { id, now }));
    found
}

/// Returns each override, in words, and who gave it.
fn by_hand(all: &Overrides) -> Vec<(&'static str, Given)> {
    let Overrides { suspended, state, restart } = all;
    let suspended = suspended.as_ref().map(|suspended| ("suspended", suspended.given.clone()));
    let state = state.as_ref().map(|by_hand| {
        let what = match by_hand.state {
            DesiredState::Running => "started by hand",
            DesiredState::Stopped => "stopped by hand",
            DesiredState::OnDemand => "on demand by hand",
        };
        (what, by_hand.given.clone())
    });
    let restart = restart.as_ref().map(|asked| ("waiting for a restart by hand", asked.given.clone()));
    suspended.into_iter().chain(state).chain(restart).collect()
}

fn definition(seen: &Pass, model: &ModelName, then: Option<&Declared>, now: Option<&Declared>) -> Option<Difference> {
    use Declared::{Unresolved, Valid};
    Some(match (then, now) {
        (None, None) | (Some(Unresolved { .. }), Some(Unresolved { .. })) => return None,
        (None, Some(now)) => Difference::Declared { file: now.file().to_owned() },
        (Some(then), None) => Difference::NotDeclared { file: then.file().to_owned() },
        (Some(Valid { .. }), Some(Unresolved { file })) => Difference::Broken { file: file.clone() },
        (Some(Unresolved { .. }), Some(Valid { file, .. })) => Difference::Fixed { file: file.clone() },
        (Some(Valid { digest: was, fields: old, .. }), Some(Valid { file, digest, fields: new })) => {
            if was == digest {
                return None;
            }
            Difference::Definition { file: file.clone(), fields: fields(seen, model, old, new) }
        }
    })
}

/// Which fields differ, as a plan would say it.
fn fields(
    seen: &Pass,
    model: &ModelName,
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Vec<Reason> {
    let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
    let differ = names.filter(|name| then.get(*name) != now.get(*name));
    differ
        .map(|field| {
            let change =
                FieldChange { field: field.clone(), old: then.get(field).cloned(), new: now.get(field).cloned() };
            let origin = origin(seen, model, field).unwrap_or_else(|| Origin::new("", 0));
            Reason::FieldChanged { change, impact: Impact::Restart, origin }
        })
        .collect()
}

fn record(then: Option<&RecordPrint>, now: Option<&RecordPrint>, found: &mut Vec<Difference>) {
    let (then, now) = match (then, now) {
        (None, None) => return,
        (None, Some(now)) => return found.push(Difference::Recorded { generation: now.generation }),
        (Some(_), None) => return found.push(Difference::NotRecorded),
        (Some(then), Some(now)) if then == now => return,
        (Some(then), Some(now)) => (then, now),
    };
    let before = found.len();
    if (then.generation, &then.spec) != (now.generation, &now.spec) {
        found.push(Difference::Generation { then: then.generation, now: now.generation });
    } else if then.failed != now.failed {
        found.push(Difference::Outcome { generation: now.generation, failed: now.failed });
    }
    match (&then.drift, &now.drift) {
        (Some(then), Some(now)) => {
            found.extend(now.iter().filter(|drift| !then.contains(drift)).cloned().map(Difference::Drift));
            if then.iter().any(|drift| now.iter().all(|other| other.column != drift.column)) {
                found.push(Difference::RowRestored);
            }
        }
        (Some(_), None) => found.push(Difference::RowDeleted),
        (None, Some(_)) => found.push(Difference::RowRestored),
        (None, None) => {}
    }
    if found.len() == before {
        found.push(Difference::Record);
    }
}

/// Returns how an action changed though nothing it rests on did: somebody took a
/// port, or a server answers again.
fn acts(seen: &Pass, saved: &SavedAction) -> Option<Difference> {
    let now = seen.plan.actions.iter().find(|action| action.model == saved.model && action.kind == saved.action);
    let Some(now) = now else {
        let waiting = seen.plan.waiting.iter().filter(|w| w.model == saved.model);
        let waits_for = waiting.map(|w| w.on.to_string()).collect();
        return Some(Difference::NotPossible { action: saved.action, waits_for });
    };
    let essence = |reasons: &[Reason]| reasons.iter().map(essence).collect::<Vec<_>>();
    (essence(&saved.reasons) != essence(&now.reasons))
        .then(|| Difference::Reasons { action: saved.action, now: now.reasons.clone() })
}

/// A reason without what may differ though it is the same: the line it stands
/// on, how a file is named from here, a time, and what is known of a death.
fn essence(reason: &Reason) -> Reason {
    let nowhere = || Origin::new("", 0);
    match reason.clone() {
        Reason::DefinitionAdded { state, .. } => Reason::DefinitionAdded { origin: nowhere(), state },
        Reason::FieldChanged { change, impact, .. } => Reason::FieldChanged { change, impact, origin: nowhere() },
        Reason::StateWanted { state, .. } => Reason::StateWanted { state, origin: nowhere() },
        Reason::DefinitionRemoved { .. } => Reason::DefinitionRemoved { file: String::new() },
        Reason::ProcessGone { .. } => Reason::ProcessGone { death: None, crashes: 0 },
        Reason::Unhealthy { .. } => Reason::Unhealthy { for_ms: 0 },
        other => other,
    }
}
