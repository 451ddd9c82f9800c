//! The policy: what definitions may ask of this host. Someone who can push to the
//! repository of definitions must not own the host.
//!
//! ```text
//!   /etc/herdsman/policy.toml -> file   its keys, each with its line
//!                                 |
//!                               Policy
//!                                 |
//!   definitions --- enforce ------+-> diagnostics; the definition is unresolved
//!   recorded specs  refusal ------+-> no start: no restart, no rollback
//!   `binary` ------ allows_binary-+-> it is not run, not even for its help
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `source` | where the policy is, read before every pass |
//! | `file` | its keys, with diagnostics as definitions have |
//! | `options` | what each option of llama-server can do to the host |
//! | `environment` | the same for variables |
//! | `check` | a spec against the policy |
//! | `links_out` | definitions that are links out of their directory |
//! | `problem` | what is refused, in words |
//!
//! Invariants:
//! - A policy allows nothing harmful that it does not mention: an empty one is the
//!   strictest.
//! - A policy that cannot be read is an error, never "no policy".
//! - Every start passes [`Policy::refusal`], whatever asked for it.

mod check;
mod environment;
mod file;
mod links_out;
mod options;
mod pattern;
mod problem;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use file::Key;
pub use problem::Breach;
pub use source::{PolicyError, PolicySource};

use pattern::Pattern;

/// What definitions may ask of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The file, as people see it.
    file: Arc<str>,
    /// The line of each key that is set.
    lines: BTreeMap<Key, u32>,
    /// The directories of each kind of path.
    roots: BTreeMap<Key, Vec<PathBuf>>,
    /// Addresses to listen on; `None`: loopback addresses.
    hosts: Option<Vec<String>>,
    /// Ports a definition may declare, both ends included.
    ports: (u16, u16),
    /// How many models there may be.
    max_models: Option<usize>,
    /// Where llama-server may download from.
    downloads: Vec<Pattern>,
    /// Options, by canonical key.
    allow_options: BTreeSet<String>,
    deny_options: BTreeSet<String>,
    /// Variables of `[env]`.
    allow_env: Vec<Pattern>,
    deny_env: Vec<Pattern>,
    /// Variables in herdsman's environment that `[secrets]` may name.
    secret_env: Vec<Pattern>,
    /// Users besides root who may own the definitions.
    owners: Vec<u32>,
    /// Why the policy is unknown.
    unknown: Option<String>,
}

/// Ports a definition may declare if the policy sets none: lower ones belong to
/// well-known services.
const PORTS: (u16, u16) = (1024, u16::MAX);

impl Policy {
    /// A policy that sets nothing.
    fn empty(file: Arc<str>) -> Self {
        Self {
            file,
            lines: BTreeMap::new(),
            roots: BTreeMap::new(),
            hosts: None,
            ports: PORTS,
            max_models: None,
            downloads: Vec::new(),
            allow_options: BTreeSet::new(),
            deny_options: BTreeSet::new(),
            allow_env: Vec::new(),
            deny_env: Vec::new(),
            secret_env: Vec::new(),
            owners: Vec::new(),
            unknown: None,
        }
    }

    /// Returns the policy for an unreadable file: it lets nothing start, and says
    /// why.
    #[must_use]
    pub fn unknown(why: &PolicyError) -> Self {
        Self { unknown: Some(why.to_string()), ..Self::empty("".into()) }
    }

    /// The file, as people see it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Users besides root who may own the definitions, by number.
    #[must_use]
    pub fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// The directories listed under `key`.
    fn roots(&self, key: Key) -> &[PathBuf] {
        self.roots.get(&key).map_or(&[], Vec::as_slice)
    }
}
