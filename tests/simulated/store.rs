//! The database in memory: [`Change`]s in, [`Records`] out, by the rules of
//! `src/database`. What that refuses panics here: a plan that cannot be
//! recorded would end every pass the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use herdsman::model::{
    BinaryIdentity, Change, ColumnDrift, Crashes, EventRecord, Generation, GenerationOutcome, InstanceId,
    InstanceRecord, ModelConfig, ModelName, ModelRecord, Overrides, PortRecord, Records, Row, SpecHash, Status,
    UnmanagedRow,
};

/// The database.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// The history.
    pub events: Vec<EventRecord>,
    /// The shared table, by id.
    rows: BTreeMap<i64, SharedRow>,
    /// The records as last read, until somebody writes.
    pub(super) read: OnceLock<Arc<Records>>,
    last_id: i64,
    pub(super) models: BTreeMap<ModelName, Managed>,
    pub(super) instances: Vec<InstanceRecord>,
    overrides: BTreeMap<ModelName, Overrides>,
}

/// A row of the shared table.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedRow {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// What other clients did to columns herdsman wrote.
    pub drift: Vec<ColumnDrift>,
}

#[derive(Clone, Debug)]
pub(super) struct Managed {
    row: i64,
    config: ModelConfig,
    /// Computed once, for records are read again and again.
    config_json: Box<str>,
    config_digest: String,
    status: Status,
    message: Option<String>,
    pub(super) generations: BTreeMap<u32, Generation>,
    pub(super) port: Option<PortRecord>,
    crashes: Crashes,
}

impl Store {
    /// What is recorded.
    pub fn records(&self) -> Arc<Records> {
        Arc::clone(self.read.get_or_init(|| Arc::new(self.read())))
    }

    /// The shared table, by id.
    pub const fn rows(&self) -> &BTreeMap<i64, SharedRow> {
        &self.rows
    }

    /// The shared table, for somebody to write to.
    pub fn rows_mut(&mut self) -> &mut BTreeMap<i64, SharedRow> {
        self.read.take();
        &mut self.rows
    }

    fn read(&self) -> Records {
        let models: BTreeMap<_, _> = self.models.iter().map(|(name, m)| (name.clone(), self.record(name, m))).collect();
        let unmanaged = self
            .rows
            .iter()
            .filter(|(id, _)| !self.is_managed(**id))
            .map(|(id, row)| UnmanagedRow { id: *id, name: row.name.clone() })
            .collect();
        let orphans = self.instances.iter().filter(|i| !models.contains_key(&i.model)).cloned().collect();
        Records { models, unmanaged, orphans, overrides: self.overrides.clone() }
    }

    /// What was asked for by hand of a model.
    pub fn overrides(&self, model: &ModelName) -> Overrides {
        self.overrides.get(model).cloned().unwrap_or_default()
    }

    /// The record of one instance.
    pub fn instance(&self, id: &InstanceId) -> Option<&InstanceRecord> {
        self.instances.iter().find(|i| i.id == *id)
    }

    /// Every instance recorded.
    pub fn instances(&self) -> &[InstanceRecord] {
        &self.instances
    }

    /// The file a model is recorded from.
    pub fn source(&self, model: &ModelName) -> Option<&str> {
        self.models.get(model).map(|m| m.config.source.as_str())
    }

    /// The files models are recorded from.
    pub fn sources(&self) -> BTreeSet<&str> {
        self.models.values().map(|m| m.config.source.as_str()).collect()
    }

    /// The spec hash of a generation.
    pub fn generation_hash(&self, model: &ModelName, number: u32) -> Option<SpecHash> {
        Some(self.models.get(model)?.generations.get(&number)?.hash.clone())
    }

    /// How a generation went, and which llama-server accepted it.
    pub fn generation_state(
        &self,
        model: &ModelName,
        number: u32,
    ) -> Option<(GenerationOutcome, Option<BinaryIdentity>)> {
        let generation = self.models.get(model)?.generations.get(&number)?;
        Some((generation.outcome.clone(), generation.accepted_by.clone()))
    }

    /// The rows of other programs.
    pub fn foreign_rows(&self) -> BTreeMap<i64, SharedRow> {
        self.rows.iter().filter(|(id, _)| !self.is_managed(**id)).map(|(id, row)| (*id, row.clone())).collect()
    }

    /// Whether a row is that of a model.
    pub fn is_managed(&self, id: i64) -> bool {
        self.models.iter().any(|(name, m)| self.locate(name, m.row) == Some(id))
    }

    /// Why these changes cannot be made: another program was faster.
    pub fn refuses(&self, changes: &[Change]) -> Option<String> {
        changes.iter().find_map(|change| match change {
            Change::CreateModel { config, adopt_row } => {
                let name = config.name.as_str();
                let adopted = adopt_row.filter(|id| self.rows.get(id).is_some_and(|row| row.name == name));
                let taken = adopted.is_none() && self.rows.values().any(|row| row.name == name);
                taken.then(|| format!("another row is called {name}"))
            }
            _ => None,
        })
    }

    /// Another program adds a row.
    pub fn add_row(&mut self, name: &str) -> i64 {
        self.read.take();
        self.last_id += 1;
        let row = SharedRow { name: name.to_owned(), status: Status::Idle, drift: Vec::new() };
        self.rows.insert(self.last_id, row);
        self.last_id
    }

    /// Rows of other programs that share a name.
    pub fn homonyms(&self) -> Vec<(String, Vec<i64>)> {
        let mut by_name: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (id, row) in self.foreign_rows() {
            by_name.entry(row.name).or_default().push(id);
        }
        by_name.into_iter().filter(|(_, ids)| ids.len() > 1).collect()
    }

    /// Another program deletes a row.
    pub fn remove_row(&mut self, id: i64) {
        self.read.take();
        self.rows.remove(&id);
    }

    /// Another program deletes a model's row.
    pub fn delete_row(&mut self, name: &str) {
        self.read.take();
        self.rows.retain(|_, row| row.name != name);
    }

    /// Another program writes a column of a model's row.
    pub fn change_column(&mut self, name: &str, column: &str, recorded: &str, found: &str) {
        self.read.take();
        let text = |text: &str| text.to_owned();
        let drift = ColumnDrift { column: text(column), recorded: text(recorded), found: text(found) };
        for row in self.rows.values_mut().filter(|row| row.name == name) {
            row.drift.push(drift.clone());
        }
    }

    /// One transaction.
    pub fn commit(&mut self, changes: &[Change]) {
        self.read.take();
        for change in changes {
            self.apply(change);
        }
        for (name, m) in &self.models {
            assert!(!m.generations.is_empty(), "the database would refuse: {name} has no generation");
            let others = self.models.iter().filter(|(other, _)| *other != name);
            for (other, o) in others.filter(|(_, o)| o.port.is_some()) {
                let (ours, theirs) = (m.port.map(|p| p.port), o.port.map(|p| p.port));
                assert_ne!(ours, theirs, "the database would refuse: port of both {name} and {other}");
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::CreateModel { config, adopt_row } => self.create(config, *adopt_row),
            Change::UpdateModel { config } => self.update(config),
            Change::DeleteModel { model } => self.delete(model),
            Change::AddGeneration(new) => {
                let generation = Generation {
                    number: new.number,
                    hash: new.hash.clone(),
                    spec_json: new.spec_json.clone().into(),
                    outcome: GenerationOutcome::Pending,
                    origins: new.origins.clone(),
                    accepted_by: None,
                };
                let before = self.model(&new.model).generations.insert(new.number, generation);
                assert!(before.is_none(), "the database would refuse: {} has generation {}", new.model, new.number);
            }
            Change::SetGenerationOutcome { model, number, outcome } => {
                self.generation(model, *number).outcome = outcome.clone();
            }
            Change::SetAccepted { model, number, binary } => {
                self.generation(model, *number).accepted_by = Some(binary.clone());
            }
            Change::SetPort { model, port } => self.model(model).port = *port,
            Change::SetCrashes { model, crashes } => self.model(model).crashes = *crashes,
            Change::SetStatus { model, status, message } => {
                let managed = self.model(model);
                (managed.status, managed.message) = (*status, message.clone());
                let row = managed.row;
                if let Some(row) = self.locate(model, row).and_then(|id| self.rows.get_mut(&id)) {
                    row.status = *status;
                }
            }
            Change::PutInstance(instance) => {
                self.instances.retain(|i| i.id != instance.id);
                self.instances.push(instance.clone());
                self.instances.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
            }
            Change::RemoveInstance(id) => self.instances.retain(|i| i.id != *id),
            Change::PutOverride { model, what } => self.overrides.entry(model.clone()).or_default().put(what.clone()),
            Change::EndOverride { model, kind } => {
                if let Some(overrides) = self.overrides.get_mut(model) {
                    overrides.end(*kind);
                }
                self.overrides.retain(|_, overrides| !overrides.is_empty());
            }
            Change::Event(event) => self.events.push(event.clone()),
            // Nobody is told of a simulated machine.
            Change::Tell(_) => {}
        }
    }

    fn create(&mut self, config: &ModelConfig, adopt_row: Option<i64>) {
        let name = config.name.as_str();
        assert!(!self.models.contains_key(name), "the database would refuse: {name} is recorded");
        let adopted = adopt_row.filter(|id| self.rows.get(id).is_some_and(|row| row.name == name));
        let row = adopted.unwrap_or_else(|| {
            let taken = self.rows.values().any(|row| row.name == name);
            assert!(!taken, "the database would refuse: another row is called {name}");
            self.add_row(name)
        });
        let managed = Managed {
            row,
            config: config.clone(),
            config_json: json_of(config),
            config_digest: config.digest(),
            status: self.rows[&row].status,
            message: None,
            generations: BTreeMap::new(),
            port: None,
            crashes: Crashes::default(),
        };
        self.models.insert(config.name.clone(), managed);
    }

    fn update(&mut self, config: &ModelConfig) {
        let (row, status) = (self.model(&config.name).row, self.model(&config.name).status);
        let row = self.locate(&config.name, row).unwrap_or_else(|| {
            let id = if self.rows.contains_key(&row) { self.last_id + 1 } else { row };
            self.last_id = self.last_id.max(id);
            self.rows.insert(id, SharedRow { name: config.name.to_string(), status, drift: Vec::new() });
            id
        });
        self.rows.get_mut(&row).unwrap().drift.clear();
        let managed = self.model(&config.name);
        (managed.row, managed.config) = (row, config.clone());
        (managed.config_json, managed.config_digest) = (json_of(config), config.digest());
    }

    fn delete(&mut self, name: &ModelName) {
        let row = self.model(name).row;
        if let Some(row) = self.locate(name, row) {
            self.rows.remove(&row);
        }
        self.models.remove(name);
        self.overrides.remove(name);
        self.instances.retain(|i| i.model != *name);
    }

    fn model(&mut self, name: &ModelName) -> &mut Managed {
        self.models.get_mut(name).unwrap_or_else(|| panic!("the database would refuse: {name} is not recorded"))
    }

    fn generation(&mut self, name: &ModelName, number: u32) -> &mut Generation {
        let generation = self.model(name).generations.get_mut(&number);
        generation.unwrap_or_else(|| panic!("the database would refuse: {name} has no generation {number}"))
    }

    /// The row of a model: by id, else the only one with its name.
    fn locate(&self, name: &ModelName, id: i64) -> Option<i64> {
        let named = |row: &SharedRow| row.name == name.as_str();
        if self.rows.get(&id).is_some_and(named) {
            return Some(id);
        }
        let mut elsewhere = self.rows.iter().filter(|(_, row)| named(row)).map(|(id, _)| *id);
        elsewhere.next().filter(|_| elsewhere.next().is_none())
    }

    fn record(&self, name: &ModelName, m: &Managed) -> ModelRecord {
        let row = self.locate(name, m.row);
        let generation = m.generations.values().next_back().unwrap().clone();
        let ready = m.generations.values().rfind(|g| g.outcome == GenerationOutcome::Ready);
        ModelRecord {
            id: row.unwrap_or(m.row),
            created_at: None,
            source: m.config.source.clone(),
            state: m.config.state,
            config_digest: m.config_digest.clone(),
            config_json: m.config_json.clone(),
            row: row.map_or(Row::Missing, |id| Row::Present(self.rows[&id].drift.clone())),
            status: row.map_or(m.status, |id| self.rows[&id].status),
            status_message: m.message.clone(),
            last_ready: ready.filter(|_| generation.outcome != GenerationOutcome::Ready).cloned(),
            generation,
            port: m.port,
            crashes: m.crashes,
            instances: self.instances.iter().filter(|i| i.model == *name).cloned().collect(),
        }
    }
}

fn json_of(config: &ModelConfig) -> Box<str> {
    serde_json::to_string(config).unwrap().into()
}
