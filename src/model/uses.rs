//! What each field of a definition is for.
//!
//! One destructuring decides it for all who ask: a new field does not compile
//! until it has a place here. What the keys of a file are for, and with them
//! what a change of each does, is one table in `definition::keys`; a test holds
//! the two together.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{
    Definition, DesiredState, Evict, IdlePolicy, ModelConfig, ModelName, ModelType, OnFailure, Placement, ReadyPolicy,
    ServePolicy, Spec, Table, UpdatePolicy,
};

/// The fields of a definition by what they are for. A field may be in both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses<'a> {
    /// What the row of the model is written from.
    pub record: ForRecord<'a>,
    /// How the model is served.
    pub service: ForService<'a>,
    /// How it shares the machine with others, and its gateway.
    pub sharing: ForSharing<'a>,
}

/// What is recorded of a definition beside its spec: a [`ModelConfig`] without
/// the copying, for the comparison that every model of every pass needs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ForRecord<'a> {
    pub name: &'a ModelName,
    pub source: &'a str,
    pub model_type: ModelType,
    pub state: DesiredState,
    pub description: Option<&'a str>,
    pub labels: &'a Table<Arc<str>, String>,
    pub aliases: &'a [String],
    pub drain_ms: u64,
    pub file_size: Option<u64>,
    pub parameters: &'a Table<Arc<str>, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub groups: &'a [Arc<str>],
}

/// How a model is served: a change of any of it ends a state by hand, and one of
/// its spec needs a restart besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForService<'a> {
    pub state: DesiredState,
    pub spec: &'a Spec,
    pub aliases: &'a [String],
    pub timeout: Duration,
    pub unhealthy_after: Option<Duration>,
    pub require_gpu: bool,
    pub drain: Duration,
    pub on_failure: OnFailure,
}

/// How a model shares room and requests with others: every pass decides anew by
/// it, so a change of it needs nothing and ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForSharing<'a> {
    /// `None`: never.
    pub stop_after: Option<Duration>,
    pub groups: &'a [Arc<str>],
    pub priority: i32,
    pub evict: Evict,
    pub listed: bool,
    pub max_in_flight: Option<u32>,
}

impl<'a> ForSharing<'a> {
    fn of(idle: &IdlePolicy, placement: &'a Placement, serve: &ServePolicy) -> Self {
        let IdlePolicy { stop_after } = *idle;
        let Placement { groups, priority, evict } = placement;
        let ServePolicy { listed, max_in_flight } = *serve;
        Self { stop_after, groups, priority: *priority, evict: *evict, listed, max_in_flight }
    }

    /// What a definition says that has none of these keys.
    pub fn unstated() -> Self {
        let IdlePolicy { stop_after } = IdlePolicy::default();
        let Placement { groups: _, priority, evict } = Placement::default();
        let ServePolicy { listed, max_in_flight } = ServePolicy::default();
        Self { stop_after, groups: &[], priority, evict, listed, max_in_flight }
    }

    /// Each key with its value as definitions write it; `None`: not set, or set to
    /// what it is anyway.
    pub fn keys(&self) -> [(&'static str, Option<String>); 6] {
        let Self { stop_after, groups, priority, evict, listed, max_in_flight } = *self;
        let unstated = Self::unstated();
        let off = || "off".to_owned();
        [
            (
                "idle.stop_after",
                (stop_after != unstated.stop_after).then(|| stop_after.map_or_else(off, crate::model::text::duration)),
            ),
            ("group", (!groups.is_empty()).then(|| groups.join(", "))),
            ("priority", (priority != unstated.priority).then(|| priority.to_string())),
            ("evict", (evict != unstated.evict).then(|| evict.as_str().to_owned())),
            ("serve.listed", (listed != unstated.listed).then(|| listed.to_string())),
            (
                "serve.max_in_flight",
                (max_in_flight != unstated.max_in_flight).then(|| max_in_flight.map_or_else(off, |n| n.to_string())),
            ),
        ]
    }
}

impl Definition {
    /// Everything that it says, by what it is for.
    pub(crate) fn uses(&self) -> Uses<'_> {
        let Self {
            name,
            path,
            // The same file, as people see it.
            file: _,
            model_type,
            state,
            spec,
            parameters,
            aliases,
            description,
            labels,
            ready: ReadyPolicy { timeout, unhealthy_after, require_gpu },
            update: UpdatePolicy { drain, on_failure },
            idle,
            placement,
            serve,
            // Where things are said changes nothing.
            origins: _,
            // Computed from the others.
            spec_hash: _,
            former_hash: _,
            config_digest: _,
        } = self;
        let model_file = parameters.get("model").and_then(|path| spec.files.get(path.as_str()?));
        Uses {
            record: ForRecord {
                name,
                source: path,
                model_type: *model_type,
                state: *state,
                description: description.as_deref(),
                labels,
                aliases,
                drain_ms: u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
                file_size: model_file.map(|file| file.size),
                parameters,
                groups: &placement.groups,
            },
            service: ForService {
                state: *state,
                spec,
                aliases,
                timeout: *timeout,
                unhealthy_after: *unhealthy_after,
                require_gpu: *require_gpu,
                drain: *drain,
                on_failure: *on_failure,
            },
            sharing: ForSharing::of(idle, placement, serve),
        }
    }

    /// What a row of `models` and its herdsman record are written from.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        let ForRecord {
            name,
            source,
            model_type,
            state,
            description,
            labels,
            aliases,
            drain_ms,
            file_size,
            parameters,
            groups,
        } = self.uses().record;
        ModelConfig {
            name: name.clone(),
            source: source.to_owned(),
            model_type,
            state,
            description: description.map(str::to_owned),
            labels: labels.clone(),
            aliases: aliases.to_vec(),
            drain_ms,
            file_size,
            parameters: parameters.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
            groups: groups.to_vec(),
        }
    }

    /// Equal to [`ModelConfig::digest`] of [`Definition::config`].
    #[must_use]
    pub fn config_digest(&self) -> &str {
        self.config_digest.get(|| ModelConfig::digest_of(&self.uses().record))
    }
}
