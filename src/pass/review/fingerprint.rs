//! Fingerprints of everything a plan depends on, model by model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    ColumnDrift, Definition, DesiredState, GenerationOutcome, Instance, InstanceId, ModelName, ModelRecord, Origin,
    Overrides, Row, SpecHash, Unresolved,
};
use crate::pass::Pass;

/// What a plan rests on of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Its definition, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Declared>,
    /// Its record, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordPrint>,
    /// Rows of other programs with its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<i64>,
    /// Its live servers, and those whose state is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Live>,
    /// The identity of its llama-server, or why there is none. Absent for a model
    /// that should not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llama_server: Option<String>,
    /// The overrides in force.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub by_hand: Overrides,
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Declared {
    /// A valid one.
    Valid {
        /// The file as people see it.
        file: String,
        /// [`Definition::digest`].
        digest: String,
        /// [`Definition::stated`].
        fields: BTreeMap<String, String>,
    },
    /// One that cannot be used.
    Unresolved {
        /// The file as people see it.
        file: String,
    },
}

/// A record, without what changes on its own: the status, the progress, and whether
/// a generation was ready before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordPrint {
    /// The id of its row in `models`.
    pub id: i64,
    /// The definition's path it was recorded from.
    pub source: String,
    /// What was last wanted of it.
    pub state: DesiredState,
    /// Digest of what was last recorded of its definition.
    pub config: String,
    /// The newest generation.
    pub generation: u32,
    /// The hash of its spec.
    pub spec: SpecHash,
    /// Whether that generation failed.
    pub failed: bool,
    /// Its port.
    pub port: Option<u16>,
    /// What other programs changed in its row; `None` if they deleted it.
    pub drift: Option<Vec<ColumnDrift>>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Its process; `None` if unknown.
    pub pid: Option<i32>,
    /// Its uuid, which no other start has.
    pub id: InstanceId,
}

impl Declared {
    /// The file as people see it.
    #[must_use]
    pub fn file(&self) -> &str {
        let (Self::Valid { file, .. } | Self::Unresolved { file }) = self;
        file
    }

    fn of(definition: &Definition, secrets: bool) -> Self {
        Self::Valid {
            file: definition.file.to_string(),
            digest: definition.digest(secrets),
            fields: definition.stated(),
        }
    }
}

impl RecordPrint {
    fn of(record: &ModelRecord) -> Self {
        Self {
            id: record.id,
            source: record.source.clone(),
            state: record.state,
            config: record.config_digest.clone(),
            generation: record.generation.number,
            spec: record.generation.hash.clone(),
            failed: matches!(record.generation.outcome, GenerationOutcome::Failed(_)),
            port: record.port.map(|port| port.port),
            drift: match &record.row {
                Row::Present(drift) => Some(drift.clone()),
                Row::Missing => None,
            },
        }
    }
}

/// The fingerprints of all models that a pass over `targets` (empty: all)
/// looked at. `secrets`: digests tell the values of secrets.
pub(super) fn fingerprints(
    seen: &Pass,
    targets: &BTreeSet<ModelName>,
    secrets: bool,
) -> BTreeMap<ModelName, Fingerprint> {
    let mut prints: BTreeMap<ModelName, Fingerprint> = BTreeMap::new();
    let mut of = |name: &ModelName, note: &mut dyn FnMut(&mut Fingerprint)| {
        if targets.is_empty() || targets.contains(name) {
            note(prints.entry(name.clone()).or_default());
        }
    };
    for (name, definition) in seen.desired.iter().flat_map(|desired| &desired.definitions) {
        of(name, &mut |print| {
            print.definition = Some(Declared::of(definition, secrets));
            print.llama_server = llama_server(seen, definition);
        });
    }
    for (name, record) in &seen.records.models {
        of(name, &mut |print| print.record = Some(RecordPrint::of(record)));
        for instance in record.instances.iter().filter(|instance| seen.observed.unknown.contains(&instance.id)) {
            of(name, &mut |print| print.instances.push(Live { pid: None, id: instance.id.clone() }));
        }
    }
    for (name, overrides) in &seen.records.overrides {
        of(name, &mut |print| print.by_hand = overrides.in_force(seen.now));
    }
    for Instance { id, model, handle, .. } in &seen.observed.instances {
        of(model, &mut |print| print.instances.push(Live { pid: Some(handle.pid()), id: id.clone() }));
    }
    for (unresolved, model) in unresolved(seen) {
        let declared = || Some(Declared::Unresolved { file: unresolved.file.to_string() });
        model.into_iter().for_each(|name| of(name, &mut |print| print.definition = declared()));
    }
    for row in &seen.records.unmanaged {
        if let Some(print) = ModelName::parse(&row.name).ok().and_then(|name| prints.get_mut(&name)) {
            print.rows.push(row.id);
        }
    }
    for print in prints.values_mut() {
        print.instances.sort();
        print.rows.sort_unstable();
    }
    prints
}

/// How many may run at once of the groups that a pass over `targets` (empty: all)
/// makes room in.
pub(super) fn group_limits(seen: &Pass, targets: &BTreeSet<ModelName>) -> BTreeMap<String, usize> {
    let Some(desired) = &seen.desired else { return BTreeMap::new() };
    let looked_at = desired.definitions.values().filter(|d| targets.is_empty() || targets.contains(&d.name));
    let named = looked_at.flat_map(|definition| &definition.placement.groups);
    named.filter_map(|name| Some((name.to_string(), desired.groups.get(name)?.max_running))).collect()
}

/// Files that cannot be used and stand for no model that is known: they hold
/// up every deletion. By their whole paths, wherever herdsman is called.
pub(super) fn stray_files(seen: &Pass) -> BTreeSet<String> {
    unresolved(seen).filter(|(_, model)| model.is_none()).map(|(unresolved, _)| unresolved.path.to_string()).collect()
}

/// The files that cannot be used, each with the model it stands for first.
fn unresolved(seen: &Pass) -> impl Iterator<Item = (&Unresolved, Option<&ModelName>)> {
    let sources = seen.records.by_source();
    let all = seen.desired.iter().flat_map(|desired| desired.unresolved.iter().map(move |file| (desired, file)));
    all.map(move |(desired, file)| (file, desired.stands_for(file, sources.get(&*file.path).copied()).next()))
}

fn llama_server(seen: &Pass, definition: &Definition) -> Option<String> {
    let wanted = seen.records.wanted_state(definition) == DesiredState::Running;
    let found = seen.answers.binaries.get(&definition.spec.binary).filter(|_| wanted)?;
    Some(match found {
        Ok(binary) => binary.identity.0.clone(),
        Err(unusable) => unusable.problem.clone(),
    })
}

/// Where a definition says `field`, now.
pub(super) fn origin(seen: &Pass, model: &ModelName, field: &str) -> Option<Origin> {
    Some(seen.desired.as_ref()?.definitions.get(model)?.origin(field))
}
