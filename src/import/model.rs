//! A model of a source, in the words of a definition.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::given::Occurrence;
use super::remark::{Kind, Reason, Remark, SourceLocation, Why};
use crate::model::{DesiredState, ModelType};

/// A model of a source: already in herdsman's words, not yet checked against the
/// others.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name in the source; any text.
    pub called: String,
    /// Its place in the source.
    pub place: SourceLocation,
    /// The state to declare.
    pub state: DesiredState,
    /// The type of model, if the source says so.
    pub model_type: Option<ModelType>,
    /// The keys that set the weights: `model`, `hf_repo`, `model_url`.
    pub weights: BTreeMap<&'static str, String>,
    /// The address to listen on.
    pub host: Option<String>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// The llama-server to run, a path or a name.
    pub binary: Option<String>,
    /// A note for people.
    pub description: Option<String>,
    /// More names.
    pub aliases: Vec<String>,
    /// Labels for people.
    pub labels: BTreeMap<String, String>,
    /// Options by canonical key, checked.
    pub parameters: BTreeMap<String, Json>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The options that the environment sets, by key.
    pub variables: BTreeMap<String, Occurrence>,
    /// Where to find the secrets, by key of `[secrets]`.
    pub secrets: BTreeMap<&'static str, Secret>,
    /// `[ready] timeout`, seconds.
    pub ready_timeout: Option<u64>,
    /// `[update] drain`, seconds.
    pub drain: Option<u64>,
    /// `[idle] stop_after`, seconds; 0: never. `None`: not set.
    pub stop_after: Option<u64>,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// `priority`.
    pub priority: Option<i32>,
    /// `evict = "never"`.
    pub never_evict: bool,
    /// `[serve] listed = false`.
    pub unlisted: bool,
    /// `[serve] max_in_flight`.
    pub max_in_flight: Option<u32>,
    /// The files and directories it names, absolute.
    pub paths: BTreeSet<String>,
    /// What the definition leaves out, or says differently.
    pub remarks: BTreeSet<Remark>,
}

/// Where to find a secret. Its value is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In this file.
    File(String),
    /// In this variable of herdsman's environment.
    Env(String),
    /// Only in the source: a person has to put it elsewhere.
    ToFill,
}

impl Model {
    /// A model with only a name and a place.
    #[must_use]
    pub fn new(called: impl Into<String>, place: SourceLocation, state: DesiredState) -> Self {
        Self {
            called: called.into(),
            place,
            state,
            model_type: None,
            weights: BTreeMap::new(),
            host: None,
            port: None,
            binary: None,
            description: None,
            aliases: Vec::new(),
            labels: BTreeMap::new(),
            parameters: BTreeMap::new(),
            env: BTreeMap::new(),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ready_timeout: None,
            drain: None,
            stop_after: None,
            groups: Vec::new(),
            priority: None,
            never_evict: false,
            unlisted: false,
            max_in_flight: None,
            paths: BTreeSet::new(),
            remarks: BTreeSet::new(),
        }
    }

    /// Notes what the definition leaves out, or says differently.
    pub fn remark(&mut self, place: &SourceLocation, what: impl Into<String>, why: Why) {
        self.remarks.insert(Remark::new(place, what, why));
    }

    /// Notes where to find a secret.
    pub fn secret(&mut self, key: &'static str, secret: Secret, place: &SourceLocation) {
        if secret == Secret::ToFill {
            self.remark(place, format!("the value of `{key}`"), Why::SecretToFill);
        }
        let before = self.secrets.insert(key, secret.clone());
        if key == "api_key" && before.is_some_and(|before| before != secret || secret == Secret::ToFill) {
            let several = "llama-server accepts all of them: put them where `[secrets]` points, separated by commas";
            self.remark(place, "more than one API key", Why::BadValue(several.to_owned()));
        }
    }

    /// Adds names: the parts of `text` between commas, as in llama-server's
    /// `--alias`.
    pub fn alias(&mut self, text: &str) {
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !self.aliases.iter().any(|known| known == name) {
                self.aliases.push(name.to_owned());
            }
        }
    }
}

/// A model of the source without a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in the source.
    pub called: String,
    /// Its place in the source.
    pub place: SourceLocation,
    /// Why.
    pub why: Reason,
    /// The remarks that led to it.
    pub remarks: BTreeSet<Remark>,
}

impl LeftOut {
    /// A model about which nothing but the reason is known.
    #[must_use]
    pub fn new(called: impl Into<String>, place: SourceLocation, why: Reason) -> Self {
        Self { called: called.into(), place, why, remarks: BTreeSet::new() }
    }

    /// A model as far as it was read. Without a definition there are no secrets to
    /// fill in.
    #[must_use]
    pub fn of(model: Model, why: Reason) -> Self {
        let Model { called, place, mut remarks, .. } = model;
        remarks.retain(|remark| remark.why.kind() != Kind::Secret);
        Self { called, place, why, remarks }
    }
}
