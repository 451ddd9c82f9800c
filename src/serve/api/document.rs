//! A model as programs read it: the store form of the models database, and what
//! herdsman knows of it.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Map;

use super::activity::tenths;
use crate::database::ModelRow;
use crate::database::convert::{StoreModel, to_store};
use crate::model::text::rfc3339;
use crate::model::{DesiredState, Health, ModelName, ModelType, Status, Timestamp, Traffic};
use crate::plan::{WaitFor, WaitKind};
use crate::view::{self, ModelView, View};

/// One model. First the store form, for which programs exist.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Document {
    /// Its row; of a model without one the name, and what was seen.
    #[serde(flatten)]
    #[schemars(with = "Store")]
    pub store: StoreModel,
    /// What herdsman knows.
    #[serde(flatten)]
    pub seen: Seen,
    /// What clients ask of it.
    pub requests: Requests,
    /// All of this as JSON.
    #[serde(skip)]
    written: Written,
}

/// A document as JSON, written when somebody first reads it: many may. It is no part of
/// what the document says.
#[derive(Debug, Default)]
struct Written(OnceLock<String>);

impl Clone for Written {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Written {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// What the last pass found of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Whether herdsman manages it: a definition declares it or a record holds it.
    pub managed: bool,
    /// Whether `status` is the last recorded one, because its server cannot be asked.
    pub is_last_known: bool,
    /// The state that its definition declares; absent: no definition.
    #[schemars(with = "Option<String>")]
    pub desired: Option<DesiredState>,
    /// The generation that is wanted; 0: none is recorded.
    pub generation: u32,
    /// The generation that serves.
    pub serving: Option<u32>,
    /// Its server, if one lives.
    pub instance: Option<Server>,
    /// Why the next pass would act on it.
    pub reasons: Vec<String>,
    /// What it waits for.
    pub waiting_for: Vec<String>,
    /// What is in force because somebody asked for it by hand.
    pub by_hand: Vec<ByHand>,
    /// Resident memory of its server, bytes.
    pub memory: Option<u64>,
    /// Its crashes in a row.
    pub crashes: u32,
    /// When it is tried again after a crash.
    pub next_try: Option<String>,
    /// How it failed last.
    pub last_failure: Option<String>,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether it stays as it is until a person does something.
    pub is_blocked: bool,
    /// Whether it is as wanted.
    pub in_sync: bool,
    /// The file that declares it.
    pub file: Option<String>,
    /// What is wrong with that file.
    pub problem: Option<String>,
}

/// A live server.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its instance.
    pub id: String,
    /// Its process.
    pub pid: i32,
    /// Its address.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Where it is reached from this machine.
    pub url: Option<String>,
    /// When it was started.
    pub started_at: Option<String>,
    /// Whether it answers and is known to serve the model.
    pub is_ready: bool,
}

/// Something asked for by hand.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByHand {
    /// `suspended`, `stopped`, `started`, or `restart`: one that is still to come.
    pub what: &'static str,
    /// Who.
    pub by: String,
    /// When.
    pub at: Option<String>,
    /// Until when a suspension lasts; absent: until somebody ends it.
    pub until: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What clients ask of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Requests that its server is answering.
    pub in_flight: u32,
    /// Requests that wait for it.
    pub waiting: u32,
    /// When the last one began or ended, since herdsman began to serve.
    #[serde(serialize_with = "as_rfc3339")]
    #[schemars(with = "Option<String>")]
    pub last_used: Option<Timestamp>,
    /// Tokens per second of the last one that generated some.
    pub tokens_per_second: Option<f64>,
}

impl Document {
    /// Returns what a row, the last pass and the requests say of one model. What was
    /// seen wins over the row.
    pub(super) fn of(name: &str, row: Option<&ModelRow>, seen: Option<&(Status, Seen)>, requests: Requests) -> Self {
        let mut store = row.map_or_else(|| without_row(name), to_store);
        if let Some((status, _)) = seen {
            store.status = *status;
        }
        let seen = seen.map(|(_, seen)| seen.clone()).unwrap_or_default();
        Self { store, seen, requests, written: Written::default() }
    }

    /// Returns it as JSON.
    pub(super) fn json(&self) -> &str {
        // Only maps with keys that are no text cannot be JSON: there are none.
        self.written.0.get_or_init(|| serde_json::to_string(self).unwrap_or_default())
    }
}

/// The schema of the store form.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct Store {
    /// The id of its row, in decimal; absent until it has one.
    #[schemars(default)]
    id: Option<String>,
    /// Its name.
    name: String,
    /// Its type: `llama`, `mistral` or `other`.
    #[schemars(rename = "type")]
    model_type: String,
    /// What it does: `idle`, `loading`, `running` or `error`.
    status: String,
    /// Its chat template.
    template: Option<String>,
    /// Its parameters.
    parameters: Map<String, serde_json::Value>,
    /// When its row was created: ISO 8601, UTC, milliseconds.
    created_at: Option<String>,
    /// When its row last changed.
    updated_at: Option<String>,
}

fn without_row(name: &str) -> StoreModel {
    StoreModel {
        id: None,
        name: name.to_owned(),
        model_type: ModelType::default(),
        status: Status::default(),
        template: None,
        parameters: Map::new(),
        created_at: None,
        updated_at: None,
    }
}

impl Requests {
    /// Returns what waits and runs, and how fast the last answer came.
    pub(super) fn of(traffic: &Traffic, speed: Option<f64>) -> Self {
        let Traffic { in_flight, waiting, last_used, .. } = *traffic;
        let last_used = last_used.filter(|_| in_flight == 0);
        Self { in_flight, waiting, last_used, tokens_per_second: speed.map(tenths) }
    }
}

/// A time that is counted back from now varies by as much.
const JITTER: i64 = 100;

impl Document {
    /// Takes over the times of `before` that differ by the inaccuracy of their measurement.
    pub(super) fn steady(&mut self, before: &Self) {
        let (now, then) = (&mut self.requests.last_used, before.requests.last_used);
        if now.zip(then).is_some_and(|(now, then)| (now.0 - then.0).abs() < JITTER) {
            *now = then;
        }
    }
}

fn as_rfc3339<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.and_then(rfc3339).serialize(serializer)
}

/// Returns what a pass found of each model.
pub(super) fn seen(view: &View<'_>) -> Vec<(ModelName, (Status, Seen))> {
    view.models().map(|model| (model.name.clone(), (model.status, Seen::of(model, view)))).collect()
}

impl Seen {
    fn of(model: &ModelView<'_>, view: &View<'_>) -> Self {
        let aliases = model.definition.map(|definition| definition.aliases.clone());
        Self {
            managed: model.is_managed(),
            is_last_known: model.is_last_known,
            desired: model.wanted.declared,
            generation: model.generation(),
            serving: model.serving(),
            instance: Server::of(model),
            reasons: if view.follows_definitions { model.reasons_in_words() } else { Vec::new() },
            waiting_for: if view.follows_definitions { model.waits_in_words(view.now) } else { Vec::new() },
            by_hand: model.by_hand().map(ByHand::of).collect(),
            memory: model.live.map(|live| live.resident),
            crashes: model.crashes.count,
            next_try: model.next_try().and_then(rfc3339),
            last_failure: model.last_words().map(str::to_owned),
            aliases: aliases.into_iter().flatten().collect(),
            is_blocked: model.waits.iter().any(|waiting| needs_a_person(&waiting.on)),
            in_sync: model.is_as_wanted(),
            file: model.file().map(str::to_owned),
            problem: model.invalid.map(|invalid| format!("{}: {}", invalid.place(), invalid.problem)),
        }
    }
}

fn needs_a_person(on: &WaitFor) -> bool {
    let by_kind = matches!(on.kind(), WaitKind::InvalidDefinition | WaitKind::NoBinary | WaitKind::Guard);
    by_kind || matches!(on, WaitFor::Edit { .. })
}

impl Server {
    fn of(model: &ModelView<'_>) -> Option<Self> {
        let live = model.live?;
        Some(Self {
            id: live.id.to_string(),
            pid: live.handle.pid(),
            host: model.host().map(str::to_owned),
            port: model.port(),
            url: model.url(),
            started_at: rfc3339(live.started_at),
            is_ready: model.is_proven && live.health == Health::Ready,
        })
    }
}

impl ByHand {
    /// Returns what a view says of it, with times as text.
    #[must_use]
    pub fn of(asked: view::ByHand<'_>) -> Self {
        let view::ByHand { what, given, until } = asked;
        Self {
            what,
            by: given.by.clone(),
            at: rfc3339(given.at),
            until: until.and_then(rfc3339),
            reason: given.because.clone(),
        }
    }
}
