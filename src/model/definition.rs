//! DESIRED: what the definition files declare.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::{DesiredState, Diagnostic, ModelName, ModelType, Origin, Spec, SpecHash, Table};

/// One valid definition: the desired model, defaults merged in.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The model's name: the key `name`, or the file's stem.
    pub name: ModelName,
    /// The file, absolute and lexically resolved: a model is recorded with it.
    pub path: Arc<str>,
    /// The file as people see it.
    pub file: Arc<str>,
    /// `type`.
    pub model_type: ModelType,
    /// `state`.
    pub state: DesiredState,
    /// The spec of its instances.
    pub spec: Spec,
    /// `[parameters]` merged with the defaults, by canonical option name, as typed
    /// values: the row's `parameters` column.
    pub parameters: Table<Arc<str>, Value>,
    /// `aliases`.
    pub aliases: Vec<String>,
    /// `description`.
    pub description: Option<String>,
    /// `labels`.
    pub labels: Table<Arc<str>, String>,
    /// `[ready]`.
    pub ready: ReadyPolicy,
    /// `[update]`.
    pub update: UpdatePolicy,
    /// `[idle]`.
    pub idle: IdlePolicy,
    /// `group`, `priority` and `evict`.
    pub placement: Placement,
    /// `[serve]`.
    pub serve: ServePolicy,
    /// Where each field was set: by the names that [`super::FieldChange::field`]
    /// uses, and `state`, `type`, `description`, `labels`, `aliases`, `name`.
    pub origins: Table<Arc<str>, Origin>,
    /// The hash of [`Definition::spec`].
    pub spec_hash: Memo<SpecHash>,
    /// The hash that v1 gave it on a port.
    pub former_hash: Memo<(Option<u16>, SpecHash)>,
    /// The digest of what is recorded of it.
    pub config_digest: Memo<String>,
}

/// Something computed once from a value that does not change. A watcher looks at
/// thousands of definitions in every pass, and nearly all are unchanged.
///
/// A copy may be changed, so it computes again; equality ignores whether it was
/// computed.
#[derive(Debug)]
pub struct Memo<T>(OnceLock<T>);

impl<T> Memo<T> {
    /// Returns the result, computing it if necessary.
    pub fn get(&self, compute: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(compute)
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Definition {
    /// The hash of its spec.
    #[must_use]
    pub fn hash(&self) -> &SpecHash {
        self.spec_hash.get(|| self.spec.hash())
    }

    /// Whether what was recorded or started under `hash`, and serves on `port`,
    /// is what this definition wants there.
    ///
    /// Besides [`Definition::hash`] that holds for the hash that v1 gave the
    /// same spec on that port, and for one that differs only in whether the
    /// port is declared: to declare the port that a model has, or to declare it
    /// no longer, changes nothing about how it is served.
    #[must_use]
    pub fn is_served_as(&self, hash: &SpecHash, port: Option<u16>) -> bool {
        if hash == self.hash() {
            return true;
        }
        if self.spec.port.is_some_and(|declared| port != Some(declared)) {
            return false;
        }
        if hash.is_v1() {
            return *hash == self.hash_v1(port);
        }
        self.spec.is_hashed_as(hash, port)
    }

    /// The hash that v1 gave its spec on `port`.
    #[must_use]
    pub fn hash_v1(&self, port: Option<u16>) -> SpecHash {
        match self.former_hash.get(|| (port, self.spec.hash_v1(port))) {
            (on, hash) if *on == port => hash.clone(),
            _ => self.spec.hash_v1(port),
        }
    }

    /// Returns where `field` was set; the file as a whole if nothing sets it.
    #[must_use]
    pub fn origin(&self, field: &str) -> Origin {
        self.origins.get(field).cloned().unwrap_or_else(|| Origin::new(Arc::clone(&self.file), 0))
    }
}

/// `[ready]`: when an instance counts as ready, and when herdsman gives it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyPolicy {
    /// How long a start may make no progress; the hard limit is
    /// [`ReadyPolicy::HARD_LIMIT`] times this.
    pub timeout: Duration,
    /// How long a live server's `/health` may go unanswered before it is killed and
    /// started again; `None`: forever.
    pub unhealthy_after: Option<Duration>,
    /// Whether it needs layers on a GPU.
    pub require_gpu: bool,
}

impl ReadyPolicy {
    /// Even a start that makes progress is given up after this many timeouts.
    pub const HARD_LIMIT: u32 = 6;
}

impl Default for ReadyPolicy {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(600), unhealthy_after: None, require_gpu: false }
    }
}

/// `[update]`: how a new instance replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// How long to wait at most for in-flight requests before a stop.
    pub drain: Duration,
    /// What to do if a new generation does not become ready.
    pub on_failure: OnFailure,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self { drain: Duration::from_secs(30), on_failure: OnFailure::Rollback }
    }
}

/// `on_failure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Start the last generation that was ready.
    #[default]
    Rollback,
    /// Leave the model stopped.
    Stop,
}

impl OnFailure {
    /// Every word, for suggestions and schemas.
    pub const ALL: [Self; 2] = [Self::Rollback, Self::Stop];

    /// The word as definitions spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Stop => "stop",
        }
    }
}

/// `[idle]`: when a model that runs on demand stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdlePolicy {
    /// How long it runs without a request; `None`: for good.
    pub stop_after: Option<Duration>,
}

impl Default for IdlePolicy {
    fn default() -> Self {
        Self { stop_after: Some(Duration::from_secs(600)) }
    }
}

/// Which models it shares room with, and who goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// `group`: the groups it belongs to, in order and without repetition.
    pub groups: Vec<Arc<str>>,
    /// `priority`: of the members of a full group, the lowest is stopped first.
    pub priority: i32,
    /// `evict`.
    pub evict: Evict,
}

/// `evict`: whether an idle instance may be stopped to make room for another model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evict {
    /// It may, once its requests have ended.
    #[default]
    Idle,
    /// Never.
    Never,
}

impl Evict {
    /// Every word, for suggestions and schemas.
    pub const ALL: [Self; 2] = [Self::Idle, Self::Never];

    /// The word as definitions spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Never => "never",
        }
    }
}

/// `[serve]`: how the gateway offers the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServePolicy {
    /// Whether `GET /v1/models` lists it. A request that names it is answered anyway.
    pub listed: bool,
    /// Requests that its instance answers at once; more of them wait. `None`: any
    /// number, and llama-server queues them.
    pub max_in_flight: Option<u32>,
}

impl Default for ServePolicy {
    fn default() -> Self {
        Self { listed: true, max_in_flight: None }
    }
}

/// One table of `_groups.toml`: models that share room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many of its members run at once, at most.
    pub max_running: usize,
    /// Where that is set.
    pub origin: Origin,
}

/// Everything in the directory, valid and invalid.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The directory, absolute and lexically resolved.
    pub dir: PathBuf,
    /// The valid definitions.
    pub definitions: BTreeMap<ModelName, Arc<Definition>>,
    /// The groups of `_groups.toml`, by name.
    pub groups: BTreeMap<Arc<str>, Group>,
    /// The files that are invalid: their models stay as they are.
    pub unresolved: Vec<Unresolved>,
    /// Every problem found, in file order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Desired {
    /// Returns the models that an unusable file stands for: the one recorded from
    /// it, and the one with its name unless another file declares it.
    pub fn stands_for<'a>(
        &'a self,
        unresolved: &'a Unresolved,
        recorded: Option<&'a ModelName>,
    ) -> impl Iterator<Item = &'a ModelName> {
        let named = unresolved.name.as_ref().filter(|name| !self.definitions.contains_key(*name));
        recorded.into_iter().chain(named.filter(|name| Some(*name) != recorded))
    }
}

/// A definition file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The file, absolute and lexically resolved.
    pub path: Arc<str>,
    /// The file as people see it.
    pub file: Arc<str>,
    /// The model it would declare, if that much can be read: the model is protected
    /// by name as well as by path.
    pub name: Option<ModelName>,
    /// The first problem, in short.
    pub problem: String,
    /// The file itself is fine, but depends on a llama-server whose options are
    /// unknown.
    pub llama_server: Option<Unusable>,
}

/// Why a llama-server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong, with the program's name and the next step.
    pub problem: String,
    /// It was asked, and has not answered yet.
    pub is_pending: bool,
}

impl From<String> for Unusable {
    /// A llama-server that waiting does not help.
    fn from(problem: String) -> Self {
        Self { problem, is_pending: false }
    }
}
