//! DESIRED: what the definition files say.

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
    /// The file, absolute and lexically resolved: what a model is recorded under.
    pub path: Arc<str>,
    /// The file as people see it.
    pub file: Arc<str>,
    /// `type`.
    pub model_type: ModelType,
    /// `state`.
    pub state: DesiredState,
    /// What an instance of it would be.
    pub spec: Spec,
    /// `[parameters]` merged with the defaults, by canonical option name, as
    /// typed values: what the row's `parameters` column holds.
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
    /// Where each field was stated: by the names [`super::FieldChange::field`] uses
    /// and `state`, `type`, `description`, `labels`, `aliases`, `name`.
    pub origins: Table<Arc<str>, Origin>,
    /// The hash of [`Definition::spec`].
    pub spec_hash: Memo<SpecHash>,
    /// The hash that v1 gave it on a port.
    pub former_hash: Memo<(Option<u16>, SpecHash)>,
    /// The digest of what is recorded of it.
    pub config_digest: Memo<String>,
}

/// Something computed from a value that does not change, once. A watcher looks
/// at thousands of definitions in every pass, nearly all of them as they were.
///
/// A copy may be changed, so it computes anew; and what is equal is equal
/// whether or not it was computed.
#[derive(Debug)]
pub struct Memo<T>(OnceLock<T>);

impl<T> Memo<T> {
    /// The result, computed if it was not before.
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

    /// Where `field` was stated; the file as a whole where nothing states it.
    #[must_use]
    pub fn origin(&self, field: &str) -> Origin {
        self.origins.get(field).cloned().unwrap_or_else(|| Origin::new(Arc::clone(&self.file), 0))
    }
}

/// `[ready]`: when an instance counts as ready, and when it is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyPolicy {
    /// How long a start may go on without progress; the hard limit is
    /// [`ReadyPolicy::HARD_LIMIT`] times this.
    pub timeout: Duration,
    /// How long a live server's `/health` may stay unanswered before it is
    /// killed and started again; `None`: for ever.
    pub unhealthy_after: Option<Duration>,
    /// Whether layers must really be on a GPU.
    pub require_gpu: bool,
}

impl ReadyPolicy {
    /// A start that makes progress is still given up after this many timeouts.
    pub const HARD_LIMIT: u32 = 6;
}

impl Default for ReadyPolicy {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(600), unhealthy_after: None, require_gpu: false }
    }
}

/// `[update]`: how one instance gives way to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// How long to wait at most for requests in flight before a stop.
    pub drain: Duration,
    /// What to do when a new generation does not become ready.
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
    /// Every word, for did-you-mean and schemas.
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

/// Everything the directory says, good and bad.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The directory, absolute and lexically resolved.
    pub dir: PathBuf,
    /// The valid definitions.
    pub definitions: BTreeMap<ModelName, Arc<Definition>>,
    /// The files that are not: their models stay as they are.
    pub unresolved: Vec<Unresolved>,
    /// Every problem found, in file order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Desired {
    /// The models that a file which cannot be used stands for: the one recorded
    /// from it, and the one of its name unless another file declares that.
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
    /// The model it would declare, where that much can be read: the model
    /// is protected by name as well as by path.
    pub name: Option<ModelName>,
    /// The first problem, in a few words.
    pub problem: String,
    /// Nothing is wrong with the file itself: what it says depends on a
    /// llama-server whose options are not known.
    pub llama_server: Option<Unusable>,
}

/// Why a llama-server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong, with the program's name and the next step.
    pub problem: String,
    /// It has been asked and its answer is still to come.
    pub is_pending: bool,
}

impl From<String> for Unusable {
    /// A llama-server that no wait makes usable.
    fn from(problem: String) -> Self {
        Self { problem, is_pending: false }
    }
}
