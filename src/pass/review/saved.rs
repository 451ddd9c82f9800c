//! The parts of a saved plan. Its schema is `schema/plan.v1.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fingerprint::{Declared, Fingerprint, fingerprints, group_limits, stray_files};
use crate::model::ModelName;
use crate::pass::Pass;
use crate::plan::{ActionKind, Approved, Limits, MaxDeletes, Reason, Task, WaitFor, WaitKind, Waiting};

/// The version of the file.
pub const FORMAT_VERSION: u32 = 1;

/// A saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Which plan it is: applied at most once.
    pub plan_id: String,
    /// When it was made, for people.
    pub created_at: String,
    /// The herdsman that made it.
    pub herdsman: String,
    /// Where it was made, and where alone it can be applied.
    pub made_for: Here,
    /// What the run may do.
    pub options: Options,
    /// What is to be done, as `reconcile --format json` shows it.
    pub actions: Vec<SavedAction>,
    /// What waits, as it shows it.
    pub waiting: Vec<Waiting>,
    /// What it rests on.
    pub models: BTreeMap<ModelName, Fingerprint>,
    /// Definition files that cannot be used and stand for no known model.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stray_files: BTreeSet<String>,
    /// `max_running` of the groups that its models are in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, usize>,
}

/// Where a plan is made or applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Here {
    /// Stands for the state id, from which it is derived; `None`: nothing was
    /// ever run there.
    pub state: Option<String>,
    /// The state directory, absolute.
    pub state_dir: String,
    /// The directory of definitions, absolute.
    pub models_dir: String,
}

impl Here {
    /// This place.
    #[must_use]
    pub fn new(state_id: Option<&str>, state_dir: &Path, models_dir: &Path) -> Self {
        let shown = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        // The id keys the digests of secrets, so it stays where it is.
        let derived = |id: &str| {
            let key = blake3::derive_key("herdsman 2026 saved plans", id.as_bytes());
            blake3::Hash::from_bytes(key).to_hex()[..32].to_owned()
        };
        Self { state: state_id.map(derived), state_dir: shown(state_dir), models_dir: shown(models_dir) }
    }
}

/// The options of the dry run, which the run that applies it has, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    targets: BTreeSet<ModelName>,
    max_deletes: Option<MaxDeletes>,
    parallel: usize,
    max_restarting: usize,
    upgrade_binary: bool,
    retry: bool,
    port_range: (u16, u16),
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAction {
    /// The model.
    pub model: ModelName,
    /// What is done.
    pub action: ActionKind,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl Saved {
    /// The plan of a dry run.
    #[must_use]
    pub fn new(seen: &Pass, limits: &Limits, port_range: (u16, u16), here: Here) -> Self {
        let Limits { parallel, max_restarting, max_deletes, targets, retry, upgrade_binary, .. } = limits;
        let actions = seen.plan.actions.iter().map(|action| SavedAction {
            model: action.model.clone(),
            action: action.kind,
            reasons: action.reasons.clone(),
        });
        let millis = jiff::Timestamp::from_millisecond(seen.now.0).unwrap_or_default();
        Self {
            format_version: FORMAT_VERSION,
            plan_id: uuid::Uuid::new_v4().to_string(),
            created_at: format!("{millis:.3}"),
            herdsman: env!("CARGO_PKG_VERSION").to_owned(),
            options: Options {
                targets: targets.clone(),
                max_deletes: *max_deletes,
                parallel: *parallel,
                max_restarting: *max_restarting,
                upgrade_binary: *upgrade_binary,
                retry: *retry,
                port_range,
            },
            actions: actions.collect(),
            waiting: seen.plan.waiting.clone(),
            models: fingerprints(seen, targets, here.state.is_some()),
            // A plan for some models alone does not rest on other files.
            stray_files: if targets.is_empty() { stray_files(seen) } else { BTreeSet::new() },
            groups: group_limits(seen, targets),
            made_for: here,
        }
    }

    /// The limits of the run that applies it: those of the dry run, and nothing
    /// but what it showed.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Options { targets, max_deletes, parallel, max_restarting, upgrade_binary, retry, port_range: _ } =
            &self.options;
        Limits {
            targets: targets.clone(),
            max_deletes: *max_deletes,
            parallel: *parallel,
            max_restarting: *max_restarting,
            upgrade_binary: *upgrade_binary,
            retry: *retry,
            approved: Some(self.approved()),
        }
    }

    /// The ports that the dry run assigned from.
    #[must_use]
    pub const fn port_range(&self) -> (u16, u16) {
        self.options.port_range
    }

    /// What it showed as to be done, or as under way or waiting for its turn.
    fn approved(&self) -> Approved {
        let actions = self.actions.iter().map(|action| (&action.model, Some(action.action)));
        let waiting = self.waiting.iter().filter(|w| is_carried_on(&w.on)).map(|w| (&w.model, None));
        // An action says more than the wait beside it: it comes last.
        let tasks = waiting.chain(actions).map(|(model, kind)| {
            let definition = self.models.get(model).and_then(|print| match print.definition.as_ref()? {
                Declared::Valid { digest, .. } => Some(digest.clone()),
                Declared::Unresolved { .. } => None,
            });
            (model.clone(), Task { kind, definition })
        });
        Approved { secrets: self.tells_secrets(), tasks: tasks.collect() }
    }

    /// Whether its digests of definitions tell the values of secrets: not
    /// without a state id, which keys them.
    pub(super) fn tells_secrets(&self) -> bool {
        self.made_for.state.is_some()
    }

    pub(super) fn targets(&self) -> &BTreeSet<ModelName> {
        &self.options.targets
    }
}

/// Whether the plan leads on from this wait. What follows on weights that are
/// still being written was not shown.
fn is_carried_on(on: &WaitFor) -> bool {
    on.kind() == WaitKind::Progressing && !matches!(on, WaitFor::Weights { .. })
}
