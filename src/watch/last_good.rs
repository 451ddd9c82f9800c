//! What the definitions said when they could last be read.
//!
//! While they cannot be (git is at work, the directory is not mounted, a burst
//! of changes is not over), a server that crashes must come back all the same,
//! and nothing may be deleted. So the pass is made from what was read last, and
//! from the records for what never was; the directory itself stands as an
//! unresolved file, which blocks every deletion.
//!
//! Another pass, by hand or by cron, may read newer definitions meanwhile: what
//! it recorded since then counts, not what was read here before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Definition, Desired, ModelName, Records, Unresolved, meaning};

/// The definitions as last read, and why they are not newer.
#[derive(Debug, Default)]
pub struct LastGood {
    desired: Option<Arc<Desired>>,
    /// What was recorded when they were read.
    records: Arc<Records>,
    problem: Option<String>,
}

impl LastGood {
    /// What a pass is to be made from; `None` as reading: the files were not to
    /// be read.
    pub fn take_in<E: ToString>(
        &mut self,
        reading: Option<Result<Arc<Desired>, E>>,
        records: &Arc<Records>,
        dir: &Path,
    ) -> Arc<Desired> {
        match reading {
            Some(Ok(desired)) => {
                (self.problem, self.desired) = (None, Some(Arc::clone(&desired)));
                self.records = Arc::clone(records);
                return desired;
            }
            Some(Err(problem)) => self.problem = Some(problem.to_string()),
            None => {}
        }
        Arc::new(self.stale(records, dir))
    }

    /// Whether the definitions were ever read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.desired.is_some()
    }

    /// Why the definitions could not be read the last time they were to be.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn stale(&self, records: &Records, dir: &Path) -> Desired {
        let problem = self.problem.clone().unwrap_or_else(|| "it is being changed".to_owned());
        let dir: Arc<str> = dir.to_string_lossy().into();
        let unresolved = |path: Arc<str>, name| {
            let (file, problem) = (Arc::clone(&dir), problem.clone());
            Unresolved { path, file, name, problem, llama_server: None }
        };
        let mut stale = match &self.desired {
            Some(desired) => Desired::clone(desired),
            None => Desired { dir: dir.as_ref().into(), definitions: BTreeMap::new(), ..Desired::default() },
        };
        stale.definitions.retain(|name, definition| self.still_counts(name, definition, records));
        let undefined = records.models.iter().filter(|(name, _)| !stale.definitions.contains_key(*name));
        let known: Vec<_> = stale.unresolved.iter().map(|file| Arc::clone(&file.path)).collect();
        let undefined = undefined.filter(|(_, record)| !known.iter().any(|path| **path == *record.source));
        stale
            .unresolved
            .extend(undefined.map(|(name, record)| unresolved(record.source.as_str().into(), Some(name.clone()))));
        stale.unresolved.push(unresolved(Arc::clone(&dir), None));
        stale
    }

    /// Whether what was read of a model is what is recorded now, or nobody has
    /// recorded anything else since then.
    fn still_counts(&self, name: &ModelName, definition: &Definition, now: &Records) -> bool {
        // Whoever wanted another state by hand may have read a newer definition.
        let by_hand = now.overrides.get(name).and_then(|overrides| overrides.state.as_ref());
        if by_hand.is_some_and(|by_hand| by_hand.definition != meaning(definition)) {
            return false;
        }
        match (self.records.models.get(name), now.models.get(name)) {
            (then, None) => then.is_none(),
            (then, Some(now)) => {
                let unchanged =
                    then.is_some_and(|then| then.generation.number == now.generation.number && then.state == now.state);
                let port = now.port.map(|port| port.port);
                unchanged || now.state == definition.state && now.generation.hash == definition.spec.hash(port)
            }
        }
    }
}
