//! Asks llama-servers for commands that make no pass and can wait for the answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use crate::definition::{Catalogue, Catalogues, Knowledge, Programs};
use crate::owner::policy::Policy;

/// Longer than any of them has to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The llama-servers of this machine. Their answers are not cached.
pub struct LlamaServers(Binaries);

impl LlamaServers {
    /// Those that definitions name, and `default`, as far as `policy` lets them
    /// be run. Earlier answers are in `cache`.
    #[must_use]
    pub fn new(default: Option<&str>, cache: PathBuf, policy: Option<Arc<Policy>>) -> Self {
        let mut binaries = Binaries::new(default.map(str::to_owned), cache, false);
        binaries.policy = policy;
        Self(binaries)
    }
}

impl Catalogues for LlamaServers {
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.knowledge(binary).catalogue()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        self.0.knowledge(binary)
    }
}

impl Programs for LlamaServers {
    fn unusable(&self, binary: Option<&str>) -> Option<String> {
        self.0.find(binary).err().map(|unusable| unusable.problem)
    }

    fn wait_for_answers(&self) {
        self.0.settle(Instant::now() + PATIENCE);
        self.0.look_again();
    }
}
