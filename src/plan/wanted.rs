//! What a model should be: its definition or, while that cannot be read, its
//! record.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::port_choice::PortChoice;
use crate::model::{
    Change, Definition, FieldChange, Generation, GenerationOutcome, IdlePolicy, Instance, Memo, ModelConfig,
    ModelRecord, NewGeneration, Placement, PortRecord, ReadyPolicy, Row, ServePolicy, Spec, SpecHash, Table, Timestamp,
    UpdatePolicy,
};
use crate::plan::reason::{Impact, Reason};

/// Weights count as they are once they have not changed for this long.
const AT_REST_AFTER: Duration = Duration::from_secs(10);

/// A definition on its port, with the hash of what an instance serves.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The definition, or a stand-in made from the record.
    pub definition: Cow<'a, Definition>,
    /// The port to serve on.
    pub port: Option<u16>,
    /// The hash that the generation and the instance have if they are as wanted:
    /// the definition's, or the one they were given for the same before.
    pub hash: SpecHash,
    /// Whether the port may be recorded as this model's.
    claims_port: bool,
}

impl<'a> Wanted<'a> {
    /// What a readable definition wants of a model with that record and those
    /// live instances.
    pub fn of(
        definition: &'a Definition,
        choice: Option<&PortChoice>,
        record: Option<&ModelRecord>,
        live: &[&Instance],
    ) -> Self {
        let (port, claims_port) = match choice {
            Some(PortChoice::On(port)) => (*port, true),
            None => (None, true),
            Some(PortChoice::TakenBy(port, _)) => (Some(*port), false),
            Some(PortChoice::Exhausted) => (None, false),
        };
        let hash = hash_in_use(definition, port, record, live).unwrap_or_else(|| definition.hash()).clone();
        Self { hash, definition: Cow::Borrowed(definition), port, claims_port }
    }

    /// What an unreadable definition wanted when it was last recorded; `None`
    /// if the record cannot be read either.
    pub fn recorded(record: &ModelRecord, file: Arc<str>) -> Option<Self> {
        let spec = record.generation.spec().ok()?;
        let config = record.config().ok()?;
        let definition = Definition {
            name: config.name,
            path: config.source.into(),
            file,
            model_type: config.model_type,
            state: config.state,
            parameters: config.parameters.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            aliases: config.aliases,
            description: config.description,
            labels: config.labels,
            ready: ReadyPolicy::default(),
            update: UpdatePolicy { drain: Duration::from_millis(config.drain_ms), ..UpdatePolicy::default() },
            idle: IdlePolicy::default(),
            placement: Placement { groups: config.groups, ..Placement::default() },
            serve: ServePolicy::default(),
            origins: Table::default(),
            spec_hash: Memo::default(),
            former_hash: Memo::default(),
            config_digest: Memo::default(),
            spec,
        };
        let leased = || record.port.map(|port| port.port).filter(|_| !definition.spec.is_unix_socket());
        Some(Self {
            hash: record.generation.hash.clone(),
            port: definition.spec.port.or_else(leased),
            definition: Cow::Owned(definition),
            claims_port: false,
        })
    }

    /// Whether the definition differs from the recorded one. A newly assigned port is
    /// not an edit, though it changes a v1 hash: it does not fix an earlier failure.
    pub fn is_edit_of(&self, record: &ModelRecord) -> bool {
        let Generation { hash, .. } = &record.generation;
        if self.hash == *hash {
            return false;
        }
        let is_assigned = hash.is_v1() && self.definition.spec.port.is_none();
        let before = if is_assigned { record.generation.spec().ok().and_then(|spec| spec.port) } else { None };
        before.is_none_or(|port| self.definition.hash_v1(Some(port)) != *hash)
    }

    /// Whether an instance serves what is wanted, where it is wanted.
    pub fn is_served_by(&self, spec: &SpecHash, port: Option<u16>) -> bool {
        self.hash == *spec && self.port == port
    }

    /// The spec that [`Wanted::hash`] is of.
    fn spec(&self) -> Spec {
        let spec = &self.definition.spec;
        let is_of = |declared: &Option<u16>| spec.hash_declaring(*declared) == self.hash;
        let port = match self.hash.is_v1() {
            true => self.port,
            false => [spec.port, None, self.port].into_iter().find(is_of).unwrap_or(spec.port),
        };
        Spec { port, ..spec.clone() }
    }

    /// Why the recorded generation is not what is wanted, field by field.
    pub fn differences(&self, record: &ModelRecord, impact: Impact) -> Vec<Reason> {
        let leased = record.port.map(|port| port.port);
        self.differences_on(&record.generation, |declared| declared.or(leased), impact)
    }

    /// Why an instance that serves `served` on `port` is replaced.
    pub fn differences_to(&self, served: &SpecHash, port: Option<u16>, record: &ModelRecord) -> Vec<Reason> {
        let known = [Some(&record.generation), record.last_ready.as_ref()];
        match known.into_iter().flatten().find(|generation| generation.hash == *served) {
            Some(generation) => self.differences_on(generation, |_| port, Impact::Restart),
            None => vec![Reason::OtherSpec { found: served.to_string(), wanted: self.hash.to_string() }],
        }
    }

    /// What differs from `old`, which serves on the port that `port` makes of
    /// its declared one.
    fn differences_on(
        &self,
        old: &Generation,
        port: impl FnOnce(Option<u16>) -> Option<u16>,
        impact: Impact,
    ) -> Vec<Reason> {
        let Ok(mut before) = old.spec() else {
            return vec![Reason::OtherSpec { found: old.hash.to_string(), wanted: self.hash.to_string() }];
        };
        before.port = port(before.port).filter(|_| !before.is_unix_socket());
        Spec { port: self.port, ..self.definition.spec.clone() }
            .changes_from(&before)
            .into_iter()
            .map(|change| Reason::FieldChanged { origin: self.definition.origin(&change.field), change, impact })
            .collect()
    }

    /// A file that is not what `record` knows and changed a moment ago: it may
    /// still be written, so the instance that runs on the former one stays.
    /// The file that changed last, and when it has been still for long enough.
    pub fn restless_file(&self, record: &ModelRecord, now: Timestamp) -> Option<(String, Timestamp)> {
        if record.generation.hash == self.hash {
            return None;
        }
        let known = record.generation.spec().map(|spec| spec.files).unwrap_or_default();
        let files = &self.definition.spec.files;
        let changed = files.iter().filter(|(path, is)| known.get(*path).is_some_and(|was| was != *is));
        let still = changed.map(|(path, is)| (Timestamp(is.mtime_ns / 1_000_000).plus(AT_REST_AFTER), path));
        // A time far in the future was given, not made by writing.
        let (until, path) = still.filter(|(until, _)| *until <= now.plus(AT_REST_AFTER * 2)).max()?;
        (until > now).then(|| (path.to_string(), until))
    }

    /// What has to be written so that the record is as wanted, and why; the
    /// instance is not its concern.
    pub fn record_changes(&self, record: &ModelRecord) -> (Vec<Change>, Vec<Reason>) {
        let definition = &self.definition;
        let mut changes = Vec::new();
        let mut reasons = Vec::new();
        let differs = definition.config_digest() != record.config_digest;
        if differs {
            // The spec does not tell of the same value, written as another type.
            let hash = &record.generation.hash;
            let by_spec = self.hash != *hash && !definition.spec.is_hashed_as(hash, record.port.map(|p| p.port));
            let old = record.config();
            reasons.extend(old.iter().flat_map(|old| config_differences(definition, old, by_spec)));
        }
        match &record.row {
            Row::Missing => reasons.push(Reason::RowDeleted { id: record.id }),
            Row::Present(drift) => reasons.extend(drift.iter().cloned().map(|drift| Reason::RowDrift { drift })),
        }
        if differs || record.row != Row::Present(Vec::new()) {
            changes.push(Change::UpdateModel { config: definition.config() });
        }
        if self.port.is_some() && self.port != record.port.map(|p| p.port) && !self.keeps_port(record) {
            changes.extend(self.set_port());
        }
        if self.hash != record.generation.hash {
            changes.push(self.add_generation(record.generation.number + 1, record));
        }
        (changes, reasons)
    }

    /// Whether the recorded port stays until an instance was ready on the one
    /// that is wanted: a rollback serves on it.
    fn keeps_port(&self, record: &ModelRecord) -> bool {
        let is_ready = self.hash == record.generation.hash && record.generation.outcome == GenerationOutcome::Ready;
        record.port.is_some_and(|port| port.proven) && !is_ready
    }

    /// The first record of a model.
    pub fn creation(&self, adopt_row: Option<i64>) -> Vec<Change> {
        let mut changes = vec![Change::CreateModel { config: self.definition.config(), adopt_row }];
        changes.extend(self.set_port().filter(|_| self.port.is_some()));
        changes.push(self.generation(1, vec![self.definition.origin("name")]));
        changes
    }

    fn set_port(&self) -> Option<Change> {
        let port = self.port.map(|port| PortRecord { port, proven: false });
        self.claims_port.then(|| Change::SetPort { model: self.definition.name.clone(), port })
    }

    fn add_generation(&self, number: u32, record: &ModelRecord) -> Change {
        let reasons = self.differences(record, Impact::Restart);
        let mut origins: Vec<_> = reasons.iter().filter_map(Reason::origin).cloned().collect();
        origins.sort();
        origins.dedup();
        self.generation(number, origins)
    }

    fn generation(&self, number: u32, origins: Vec<crate::model::Origin>) -> Change {
        Change::AddGeneration(NewGeneration {
            model: self.definition.name.clone(),
            number,
            hash: self.hash.clone(),
            // A spec is maps of strings: serialising it cannot fail.
            spec_json: serde_json::to_string(&self.spec()).unwrap_or_default(),
            source: self.definition.path.to_string(),
            origins,
            lines: self.definition.origins.clone(),
            provenance: None,
        })
    }
}

/// The hash under which what `definition` wants on `port` is already served or
/// recorded, if it is. What runs comes first: a record can be made to agree with
/// it, and not the other way round.
fn hash_in_use<'a>(
    definition: &Definition,
    port: Option<u16>,
    record: Option<&'a ModelRecord>,
    live: &[&'a Instance],
) -> Option<&'a SpecHash> {
    let recorded = record.map(|record| &record.generation.hash);
    let is_there = || record.is_some_and(|record| record.port.map(|port| port.port) == port);
    // A hash of v1 tells its port itself.
    let kept = recorded.filter(|hash| hash.is_v1() || is_there());
    let running = || live.iter().filter(|instance| instance.address.port == port).map(|instance| &instance.spec);
    let running = running().filter(|spec| recorded == Some(spec)).chain(running());
    running.chain(kept).find(|hash| definition.is_served_as(hash, port))
}

/// Returns the recorded fields of `definition` that differ from `old`. If the spec
/// changed, it accounts for the parameters (`by_spec`).
pub fn config_differences(definition: &Definition, old: &ModelConfig, by_spec: bool) -> Vec<Reason> {
    let ModelConfig {
        name: _,
        source,
        model_type,
        state: _,
        description,
        labels,
        aliases,
        drain_ms,
        file_size: _,
        parameters,
        groups,
    } = &definition.config();
    let mut reasons = Vec::new();
    let mut compare = |field: &str, old: Option<String>, new: Option<String>| {
        if old != new {
            let change = FieldChange { field: field.to_owned(), old, new };
            reasons.push(Reason::FieldChanged { origin: definition.origin(field), change, impact: Impact::Record });
        }
    };
    compare("source", Some(old.source.clone()), Some(source.clone()));
    compare("type", Some(old.model_type.as_str().into()), Some(model_type.as_str().into()));
    compare("description", old.description.clone(), description.clone());
    compare("labels", Some(format!("{:?}", old.labels)), Some(format!("{labels:?}")));
    let named = |groups: &[Arc<str>]| (!groups.is_empty()).then(|| groups.join(", "));
    compare("group", named(&old.groups), named(groups));
    compare("aliases", Some(old.aliases.join(", ")), Some(aliases.join(", ")));
    let drain = |ms: u64| Some(crate::model::text::duration(Duration::from_millis(ms)));
    compare("drain", drain(old.drain_ms), drain(*drain_ms));
    if !by_spec {
        for key in old.parameters.keys().chain(parameters.keys().filter(|k| !old.parameters.contains_key(*k))) {
            let shown = |from: &serde_json::Map<String, serde_json::Value>| from.get(key).map(ToString::to_string);
            compare(key, shown(&old.parameters), shown(parameters));
        }
    }
    reasons
}

/// Whether a model is recorded as this definition says, on the port it has.
#[must_use]
pub fn is_recorded_as(definition: &Definition, record: &ModelRecord) -> bool {
    record.state == definition.state
        && definition.is_served_as(&record.generation.hash, record.port.map(|port| port.port))
        && record.config_digest == definition.config_digest()
}
